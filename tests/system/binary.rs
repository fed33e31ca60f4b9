//! The real binary, as a person runs it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{DEADLINE, content, poll};

const BINARY: &str = env!("CARGO_BIN_EXE_closeby");

/// A demo that is ended with the test.
struct Demo {
    child: Child,
    url: String,
}

impl Demo {
    async fn start(data: &Path) -> Self {
        let mut child = Command::new(BINARY)
            .args(["demo", "--port", "0", "--data"])
            .arg(data)
            .env_remove("CLOSEBY_SERVER")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                line.split_whitespace().find(|word| word.starts_with("http://")).map(ToOwned::to_owned)
            })
            .expect("it prints its address");
        // What it prints later must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let demo = Self { child, url };
        poll("four nodes", || async {
            let nodes: Value =
                reqwest::get(format!("{}/api/v1/nodes", demo.url)).await.ok()?.json().await.ok()?;
            let healthy = nodes["nodes"].as_array()?.iter().filter(|node| node["healthy"] == true).count();
            (healthy == 4).then_some(())
        })
        .await;
        demo
    }

    /// Where people download from one of its nodes.
    async fn node_url(&self) -> String {
        let url = format!("{}/api/v1/nodes", self.url);
        let nodes: Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        nodes["nodes"][0]["public_url"].as_str().unwrap().to_owned()
    }

    /// As Ctrl-C does.
    fn interrupt(mut self) -> Duration {
        let begun = Instant::now();
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return begun.elapsed();
            }
            assert!(begun.elapsed() < DEADLINE, "it does not stop");
            std::thread::yield_now();
        }
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).current_dir(folder).env_remove("CLOSEBY_SERVER").output().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_keeps_a_file_over_a_restart_and_the_client_gets_it_back() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let folder = tempfile::TempDir::new().unwrap();
    let data = folder.path().join("data");
    let bytes = content(77, 6_000_000);
    std::fs::write(folder.path().join("a file.bin"), &bytes).unwrap();
    std::fs::write(folder.path().join("same.bin"), &bytes).unwrap();

    let demo = Demo::start(&data).await;
    let put = run(folder.path(), &["put", "a file.bin", "--server", &demo.url]);
    assert_eq!(put.status.code(), Some(0), "{}", err(&put));
    let link = out(&put).trim().to_owned();
    assert!(link.starts_with(&format!("{}/d/", demo.url)) && link.ends_with("/a%20file.bin"), "{link}");
    let again = run(folder.path(), &["put", "same.bin", "--json", "--server", &demo.url]);
    assert_eq!(again.status.code(), Some(0), "{}", err(&again));
    let object: Value = serde_json::from_str(&out(&again)).unwrap();
    assert_eq!((&object["status"], object["url"].as_str()), (&"duplicate".into(), Some(link.as_str())));
    let took = demo.interrupt();
    assert!(took < Duration::from_secs(10), "stopping took {took:?}");

    let demo = Demo::start(&data).await;
    let sha1 = link.split("/d/").nth(1).unwrap().split('/').next().unwrap().to_owned();
    std::fs::create_dir(folder.path().join("into")).unwrap();
    let into = folder.path().join("into");
    let get = run(&into, &["get", &sha1, "--server", &demo.url]);
    assert_eq!(get.status.code(), Some(0), "{}", err(&get));
    assert!(std::fs::read(into.join("a file.bin")).unwrap() == bytes);
    let twice = run(&into, &["get", &sha1, "--server", &demo.url]);
    assert_eq!(twice.status.code(), Some(1), "nothing is overwritten: {}", err(&twice));
    assert_eq!(std::fs::read_dir(&into).unwrap().count(), 1);
    let named = run(&into, &["get", &sha1, "-o", "other name", "--server", &demo.url]);
    assert_eq!(named.status.code(), Some(0), "{}", err(&named));
    assert!(std::fs::read(into.join("other name")).unwrap() == bytes);
    let list = run(folder.path(), &["ls", "FILE", "--server", &demo.url]);
    assert!(out(&list).contains("a file.bin"), "{}", out(&list));
    let info = run(folder.path(), &["info", &sha1, "--server", &demo.url]);
    assert!(out(&info).contains(&sha1), "{}", out(&info));
    assert_eq!(run(folder.path(), &["health", "--server", &demo.url]).status.code(), Some(0));
    assert_eq!(run(folder.path(), &["health", "--alive", "--server", &demo.url]).status.code(), Some(0));
    let node = demo.node_url().await;
    let alive = run(folder.path(), &["health", "--alive", "--server", &node]);
    assert_eq!((alive.status.code(), out(&alive).trim()), (Some(0), "alive"), "{}", err(&alive));
    let ready = run(folder.path(), &["health", "--server", &node]);
    assert_eq!(ready.status.code(), Some(1), "a node takes no files by itself: {}", out(&ready));
    let url = demo.url.clone();
    demo.interrupt();
    assert_eq!(run(folder.path(), &["health", "--server", &url]).status.code(), Some(1));
    assert_eq!(run(folder.path(), &["put", "same.bin", "--server", &url]).status.code(), Some(1));
}

#[test]
fn health_does_not_wait_for_what_hangs() {
    let folder = tempfile::TempDir::new().unwrap();
    // It takes the connection, and nobody ever answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let begun = Instant::now();
    let health = run(folder.path(), &["health", "--alive", "--timeout", "1", "--server", &url]);
    assert_eq!(health.status.code(), Some(1));
    assert!(err(&health).contains("within 1 s"), "{}", err(&health));
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}

#[test]
fn wrong_usage_is_two_and_help_has_examples() {
    let folder = tempfile::TempDir::new().unwrap();
    for arguments in [&["put"][..], &["nonsense"], &["get"], &["demo", "--port", "x"]] {
        assert_eq!(run(folder.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
    for command in ["demo", "central", "node", "put", "get", "ls", "info", "health"] {
        let help = run(folder.path(), &[command, "--help"]);
        assert_eq!(help.status.code(), Some(0));
        assert!(out(&help).to_lowercase().contains("example"), "{command}: {}", out(&help));
    }
    let unknown = folder.path().join("central.toml");
    std::fs::write(&unknown, "public_url = \"http://files.example\"\nlisten_on = \"x\"\n").unwrap();
    let central = run(folder.path(), &["central", "--config", unknown.to_str().unwrap()]);
    assert_ne!(central.status.code(), Some(0));
    assert!(err(&central).contains("listen_on"), "{}", err(&central));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_port_is_said_plainly() {
    let folder = tempfile::TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let demo = run(folder.path(), &["demo", "--port", &port, "--data", "data"]);
    assert_eq!(demo.status.code(), Some(1));
    assert!(err(&demo).contains(&port) && err(&demo).contains("--port"), "{}", err(&demo));
    let mut nothing = String::new();
    assert_eq!((&demo.stdout[..]).read_to_string(&mut nothing).unwrap(), demo.stdout.len());
}
