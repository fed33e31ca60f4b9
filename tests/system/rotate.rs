//! The two secrets are changed while the cluster works, by the commands that `docs/operations.md`
//! tells, with the real binary.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use closeby::domain::KeyId;
use closeby::tickets::SigningRoot;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::{LoggedProcess, content, free, location, poll};

const BINARY: &str = env!("CARGO_BIN_EXE_closeby");
const OPERATIONS: &str = include_str!("../../docs/operations.md");

/// A central and nodes that have their secrets in files.
struct Servers {
    dir: TempDir,
    base: String,
    http: reqwest::Client,
    central: LoggedProcess,
    nodes: Vec<(&'static str, LoggedProcess)>,
}

impl Servers {
    async fn start(places: &[&'static str]) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .build()
            .unwrap();
        let (dir, address) = (TempDir::new().unwrap(), free());
        let base = format!("http://{address}");
        let data = dir.path().join("central");
        let arguments =
            ["central", "--listen", &address.to_string(), "--public-url", &base, "--place", "new-york"];
        let central = LoggedProcess::start(
            dir.path().join("central.log"),
            &[&arguments[..], &["--data", data.to_str().unwrap()]].concat(),
            &[("CLOSEBY_ACCESS__UPLOAD", "anyone")],
        );
        let mut servers = Self { dir, base, http, central, nodes: Vec::new() };
        poll("central's secrets", || async { servers.secret("join-secret").exists().then_some(()) }).await;
        for place in places {
            servers.copy_secret(place);
            servers.start_node(place);
        }
        servers.wait_for_nodes(places.len()).await;
        servers
    }

    /// A secret's file of central.
    fn secret(&self, name: &str) -> PathBuf {
        self.dir.path().join("central").join(name)
    }

    /// The join secret's file of a node.
    fn join_secret_of(&self, node: &str) -> PathBuf {
        self.dir.path().join(format!("{node}.join-secret"))
    }

    fn copy_secret(&self, node: &str) {
        fs::copy(self.secret("join-secret"), self.join_secret_of(node)).unwrap();
    }

    fn start_node(&mut self, place: &'static str) {
        let address = free();
        let (listen, url) = (address.to_string(), format!("http://{address}"));
        let (data, secret) = (self.dir.path().join(place), self.join_secret_of(place));
        let (data, secret) = (data.to_str().unwrap(), secret.to_str().unwrap());
        let options = [
            ("--listen", listen.as_str()),
            ("--public-url", &url),
            ("--place", place),
            ("--failure-domain", place),
            ("--central-url", &self.base),
            ("--data", data),
            ("--join-secret-file", secret),
        ];
        let options = options.iter().flat_map(|(name, value)| [*name, *value]);
        let arguments: Vec<&str> = std::iter::once("node").chain(options).collect();
        let host = address.ip().to_string();
        let variables = [("CLOSEBY_RESERVE_BYTES", "0"), ("CLOSEBY_INTERNAL_ADDRESS", host.as_str())];
        let node = LoggedProcess::start(self.dir.path().join(format!("{place}.log")), &arguments, &variables);
        self.nodes.push((place, node));
    }

    fn node(&self, place: &str) -> &LoggedProcess {
        &self.nodes.iter().find(|(name, _)| *name == place).unwrap().1
    }

    async fn stop_node(&mut self, place: &str) {
        let at = self.nodes.iter().position(|(name, _)| *name == place).unwrap();
        self.nodes.remove(at).1.end().await;
    }

    async fn wait_for_nodes(&self, count: usize) {
        poll("healthy nodes", || async {
            let nodes = self.http.get(format!("{}/api/v1/nodes", self.base)).send().await.ok()?;
            let nodes: Value = nodes.json().await.ok()?;
            let healthy = nodes["nodes"].as_array()?.iter().filter(|node| node["healthy"] == true).count();
            (healthy == count).then_some(())
        })
        .await;
    }

    fn identity_of(&self, place: &str) -> PathBuf {
        self.dir.path().join(place).join("identity.json")
    }

    /// The ids of the keys that a node has.
    fn keys_of(&self, place: &str) -> Vec<u64> {
        let identity: Value = serde_json::from_slice(&fs::read(self.identity_of(place)).unwrap()).unwrap();
        identity["keys"].as_array().unwrap().iter().map(|key| key["id"].as_u64().unwrap()).collect()
    }

    /// Gives a node that is stopped the key that it would have had before roots had ids.
    fn give_first_key(&self, place: &str) {
        let mut identity: Value =
            serde_json::from_slice(&fs::read(self.identity_of(place)).unwrap()).unwrap();
        let root: SigningRoot = fs::read_to_string(self.secret("signing-root")).unwrap().parse().unwrap();
        let key = root.node_key(identity["node"].as_str().unwrap().parse().unwrap(), KeyId(1));
        identity["keys"] = json!([{ "id": 1, "key": hex::encode(key.expose_bytes()) }]);
        fs::write(self.identity_of(place), identity.to_string()).unwrap();
    }

    async fn end(self) {
        for (_, node) in self.nodes {
            node.end().await;
        }
        self.central.end().await;
    }
}

/// Uploads a file and downloads it, as a person would; what fails is said.
async fn round(http: &reqwest::Client, base: &str, seed: u64) -> Result<(), String> {
    let bytes = content(seed, 100_000);
    let url = format!("{base}/api/v1/files?name={seed}.bin");
    let answer =
        http.post(url).body(bytes.clone()).send().await.map_err(|error| format!("upload: {error}"))?;
    if answer.status() != StatusCode::CREATED {
        return Err(format!("upload: {}", answer.text().await.unwrap_or_default()));
    }
    let object: Value = answer.json().await.map_err(|error| error.to_string())?;
    let link = object["url"].as_str().unwrap();
    let answer = http.get(link).send().await.map_err(|error| format!("link: {error}"))?;
    if answer.status() != StatusCode::FOUND {
        return Err(format!("link: {}", answer.text().await.unwrap_or_default()));
    }
    fetch(http, &location(&answer), &bytes).await
}

async fn fetch(http: &reqwest::Client, node: &str, bytes: &[u8]) -> Result<(), String> {
    let answer = http.get(node).send().await.map_err(|error| format!("download: {error}"))?;
    let status = answer.status();
    let got = answer.bytes().await.map_err(|error| format!("download: {error}"))?;
    if status == StatusCode::OK && got == bytes { Ok(()) } else { Err(format!("download: {status}")) }
}

/// People who upload and download all the time.
struct Load {
    stop: CancellationToken,
    rounds: Arc<AtomicUsize>,
    failures: Arc<Mutex<Vec<String>>>,
    people: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(servers: &Servers, seed: u64) -> Self {
        let (stop, rounds, failures) = (CancellationToken::new(), Arc::default(), Arc::default());
        let mut load = Self { stop, rounds, failures, people: Vec::new() };
        for person in 0..2 {
            let (http, base) = (servers.http.clone(), servers.base.clone());
            let (rounds, failures) = (Arc::clone(&load.rounds), Arc::clone(&load.failures));
            let stop = load.stop.clone();
            load.people.push(tokio::spawn(async move {
                let mut pace = tokio::time::interval(Duration::from_millis(50));
                for number in 0.. {
                    pace.tick().await;
                    if stop.is_cancelled() {
                        return;
                    }
                    match round(&http, &base, seed + person * 100_000 + number).await {
                        Ok(()) => drop(rounds.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => failures.lock().unwrap().push(error),
                    }
                }
            }));
        }
        load
    }

    /// Waits for some more rounds, in what is the case now.
    async fn goes_on(&self) {
        let wanted = self.rounds.load(Ordering::Relaxed) + 20;
        poll("more rounds", || async { (self.rounds.load(Ordering::Relaxed) >= wanted).then_some(()) }).await;
        assert_eq!(*self.failures.lock().unwrap(), Vec::<String>::new());
    }

    async fn end(self) {
        self.stop.cancel();
        for person in self.people {
            person.await.unwrap();
        }
        assert_eq!(*self.failures.lock().unwrap(), Vec::<String>::new());
    }
}

/// `closeby secret …`, which the documentation tells.
fn secret(action: &str, file: &Path) -> Output {
    assert!(OPERATIONS.contains(&format!("closeby secret {action} ")), "it is not documented");
    Command::new(BINARY).args(["secret", action]).arg(file).env_clear().output().unwrap()
}

fn change(action: &str, file: &Path) {
    let output = secret(action, file);
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_signing_root_is_changed_while_people_upload_and_download() {
    let mut servers = Servers::start(&["toronto", "amsterdam", "bangalore", "singapore"]).await;
    servers.stop_node("singapore").await;
    // As a cluster of 0.1 is when it is updated.
    servers.stop_node("amsterdam").await;
    servers.give_first_key("amsterdam");
    servers.start_node("amsterdam");
    servers.wait_for_nodes(3).await;
    assert_eq!(servers.keys_of("amsterdam"), [1], "it needs nothing");
    let bytes = content(9401, 50_000);
    let url = format!("{}/api/v1/files?name=before.bin", servers.base);
    let object: Value =
        servers.http.post(url).body(bytes.clone()).send().await.unwrap().json().await.unwrap();
    let before = location(&servers.http.get(object["url"].as_str().unwrap()).send().await.unwrap());
    let load = Load::start(&servers, 9_410_000);
    load.goes_on().await;

    let (file, kept) = (servers.secret("signing-root"), servers.dir.path().join("signing-root.before"));
    fs::copy(&file, &kept).unwrap();
    change("rotate", &file);
    servers.central.will_say("a node has its key of the new signing root").await;
    // All but the one that is away.
    servers.central.will_say("waiting=1").await;
    load.goes_on().await;
    fetch(&servers.http, &before, &bytes).await.unwrap();
    assert_eq!(servers.keys_of("amsterdam").len(), 2, "links under the first one are of use");

    change("retire", &file);
    poll("the former root's end", || async {
        let log = fs::read_to_string(servers.central.log()).unwrap();
        log.contains("beside_a_former_one=false").then_some(())
    })
    .await;
    load.goes_on().await;
    fetch(&servers.http, &before, &bytes).await.unwrap();
    servers.wait_for_nodes(3).await;

    servers.start_node("singapore");
    let help = "comes from no signing root that central has";
    servers.node("singapore").will_say(help).await;
    let documented = OPERATIONS.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(servers.central.says(help) && documented.contains(help));
    // As it is documented: the root from before, below the one in use.
    let mut text = File::options().append(true).open(&file).unwrap();
    write!(text, "former: {}", fs::read_to_string(&kept).unwrap()).unwrap();
    servers.wait_for_nodes(4).await;
    servers.central.will_say("every node has its key of the new signing root").await;
    change("retire", &file);
    poll("the former root's end", || async {
        let log = fs::read_to_string(servers.central.log()).unwrap();
        (log.matches("beside_a_former_one=false").count() == 2).then_some(())
    })
    .await;
    load.goes_on().await;
    servers.wait_for_nodes(4).await;
    fetch(&servers.http, &before, &bytes).await.unwrap();
    load.end().await;
    servers.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_join_secret_is_changed_and_the_former_one_joins_until_it_is_retired() {
    let mut servers = Servers::start(&["toronto", "amsterdam"]).await;
    let file = servers.secret("join-secret");
    for late in ["bangalore", "singapore"] {
        servers.copy_secret(late);
    }
    change("rotate", &file);
    servers.central.will_say("a secret was changed and is in use").await;
    // With the former one, and with the whole of the new file.
    servers.start_node("bangalore");
    servers.wait_for_nodes(3).await;
    servers.copy_secret("new-york");
    servers.start_node("new-york");
    servers.wait_for_nodes(4).await;
    change("retire", &file);
    servers.central.will_say("beside_a_former_one=false").await;
    servers.start_node("singapore");
    servers.node("singapore").will_say("the join secret is wrong").await;
    // Put right while it tries.
    servers.copy_secret("singapore");
    servers.wait_for_nodes(5).await;
    servers.end().await;
}

#[test]
fn a_secret_is_changed_in_place_and_stays_its_owners() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("signing-root");
    let read = || fs::read_to_string(&file).unwrap();
    let err = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let missing = secret("rotate", &file);
    assert_eq!(missing.status.code(), Some(1), "{missing:?}");
    let old = "0123456789abcdef".repeat(4);
    fs::write(&file, format!("{old}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
    let nothing = secret("retire", &file);
    assert!(nothing.status.code() == Some(1) && err(&nothing).contains("no former secret"), "{nothing:?}");

    let output = secret("rotate", &file);
    assert!(output.status.success(), "{output:?}");
    let text = read();
    let (new, former) = text.split_once("\nformer: ").unwrap();
    assert_eq!((new.len(), former.trim()), (64, old.as_str()));
    assert_ne!(new, old);
    assert!(!String::from_utf8_lossy(&output.stdout).contains(new), "it is never shown");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "whoever could read it still can");
    let twice = secret("rotate", &file);
    assert!(twice.status.code() == Some(1) && err(&twice).contains("former secret still"), "{twice:?}");
    assert_eq!(read(), text);

    let new = new.to_owned();
    change("retire", &file);
    assert_eq!(read(), format!("{new}\n"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
}
