//! TLS in the binary: people come by it, machines beside us by the plain listener, and a new
//! certificate is taken up while connections go on.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use closeby::config::{CentralConfig, Limits, NodeConfig, NodeLimits, Tls};
use closeby::domain::{Access, Place};
use closeby::role::central::{Central, Links};
use closeby::role::node::Node;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{StatusCode, Version};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::support::{LoggedProcess, STOP, content, free_at, location, poll};

/// An address at which no other test takes ports, so that one that was free stays so.
const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
const SECRET: &str = "a-secret-for-the-tests-of-tls-a-secret";

/// Where nodes are called by name; beside [`HOST`], so that it can be seen what comes to which port.
const CALLED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);

fn free() -> SocketAddr {
    free_at(HOST)
}

/// A central's configuration without TLS for people; its calls believe the authority in `ca_file`.
fn central(listen: SocketAddr, public_url: &str, data: PathBuf, ca_file: PathBuf) -> CentralConfig {
    CentralConfig {
        listen,
        public_url: public_url.parse().unwrap(),
        data,
        join_secret: SECRET.parse().unwrap(),
        signing_root: SECRET.parse().unwrap(),
        networks: vec!["127.0.0.0/8".parse().unwrap()],
        ca_file: Some(ca_file),
        geoip: None,
        geoip_private: false,
        trusted_proxies: Vec::new(),
        client_address_headers: Vec::new(),
        place: Place::city("new-york").unwrap(),
        access: Access::OPEN,
        tls: None,
        stop: STOP,
        node_out_after: Duration::from_secs(3600),
        limits: Limits::default(),
    }
}

/// Certificate and key as an operator renews them, and the certificate for clients to believe.
fn renew(folder: &Path) -> reqwest::Certificate {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_string()]).unwrap();
    for (name, text) in [("cert.pem", cert.pem()), ("key.pem", signing_key.serialize_pem())] {
        fs::write(folder.join("new"), text).unwrap();
        fs::rename(folder.join("new"), folder.join(name)).unwrap();
    }
    reqwest::Certificate::from_pem(cert.pem().as_bytes()).unwrap()
}

fn client(believed: &reqwest::Certificate) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_certs_only([believed.clone()])
        .build()
        .unwrap()
}

/// A central and two nodes whose people come by TLS.
struct Secured {
    plain: SocketAddr,
    base: String,
    dir: TempDir,
    stop: CancellationToken,
    roles: JoinSet<()>,
}

impl Secured {
    fn tls(&self, listen: SocketAddr) -> Tls {
        Tls {
            listen,
            certificate_file: self.dir.path().join("cert.pem"),
            key_file: self.dir.path().join("key.pem"),
            redirect: true,
            hsts: Some(Duration::from_secs(3600)),
        }
    }

    fn data(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Beside it the certificate that it has.
    async fn start() -> (Self, reqwest::Certificate) {
        let (plain, secure) = (free(), free());
        let mut all = Self {
            plain,
            base: format!("https://{secure}"),
            dir: TempDir::new().unwrap(),
            stop: CancellationToken::new(),
            roles: JoinSet::new(),
        };
        let certificate = renew(all.dir.path());
        let config = CentralConfig {
            tls: Some(all.tls(secure)),
            ..central(plain, &all.base, all.data("central"), all.data("cert.pem"))
        };
        let (central, stop) = (Central::bind(config, Links::Fixed).unwrap(), all.stop.clone());
        all.roles.spawn(async move { central.run(stop).await.unwrap() });
        for name in ["toronto", "amsterdam"] {
            let place = Place::city(name).unwrap();
            let secure = free();
            let config = NodeConfig {
                listen: free(),
                public_url: format!("https://{secure}").parse().unwrap(),
                data: all.data(name),
                central_url: format!("http://{plain}").parse().unwrap(),
                ca_file: Some(all.data("cert.pem")),
                cluster_tls: true,
                join_secret: SECRET.parse().unwrap(),
                failure_domain: place.name.clone(),
                place,
                tls: Some(all.tls(secure)),
                stop: STOP,
                internal_address: Some(HOST.into()),
                reserve_bytes: 0,
                limits: NodeLimits::default(),
            };
            let (node, stop) = (Node::bind(config).unwrap(), all.stop.clone());
            all.roles.spawn(async move { node.run(stop).await.unwrap() });
        }
        let http = client(&certificate);
        // What watches over a server asks the plain listener.
        poll("both nodes", || async {
            let answer = http.get(format!("http://{plain}/readyz")).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        (all, certificate)
    }

    async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.roles.join_next().await {
            ended.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_come_by_tls_and_are_sent_there() {
    let (all, certificate) = Secured::start().await;
    let http = client(&certificate);
    let plain = format!("http://{}", all.plain);
    for request in
        [http.get(format!("{plain}/files?query=a%20b")), http.put(format!("{plain}/a.txt")).body("a")]
    {
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PERMANENT_REDIRECT);
        assert!(location(&answer).starts_with(&format!("{}/", all.base)));
    }
    let answer = http.get(format!("{plain}/files?query=a%20b")).send().await.unwrap();
    assert_eq!(location(&answer), format!("{}/files?query=a%20b", all.base));
    assert!(!answer.headers().contains_key("strict-transport-security"), "meaningless over plain HTTP");

    let page = http.get(&all.base).send().await.unwrap();
    assert_eq!((page.status(), page.version()), (StatusCode::OK, Version::HTTP_2));
    assert_eq!(page.headers()["strict-transport-security"], "max-age=3600");

    let bytes = content(9101, 3_000_000);
    let url = format!("{}/api/v1/files?name=by-tls.bin", all.base);
    let answer = http.post(url).body(bytes.clone()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let object: Value = answer.json().await.unwrap();
    let link = object["url"].as_str().unwrap();
    assert!(link.starts_with(&all.base), "{link}");
    let node = location(&http.get(link).send().await.unwrap());
    assert!(node.starts_with("https://"));
    let answer = http.get(&node).send().await.unwrap();
    assert_eq!((answer.status(), answer.version()), (StatusCode::OK, Version::HTTP_2));
    assert_eq!(answer.bytes().await.unwrap(), bytes);
    all.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_is_taken_up_while_a_download_goes_on() {
    let (all, old) = Secured::start().await;
    let http = client(&old);
    // More than what fits between the two ends of a connection.
    let bytes = content(9102, 40_000_000);
    let url = format!("{}/api/v1/files?name=long.bin", all.base);
    let object: Value = http.post(url).body(bytes.clone()).send().await.unwrap().json().await.unwrap();
    let node = location(&http.get(object["url"].as_str().unwrap()).send().await.unwrap());
    let mut going_on = http.get(&node).send().await.unwrap();
    let mut received = going_on.chunk().await.unwrap().unwrap().to_vec();

    let new = renew(all.dir.path());
    for address in [all.base.as_str(), node.as_str()] {
        poll("the new certificate", || async { client(&new).head(address).send().await.ok() }).await;
        assert!(client(&old).head(address).send().await.is_err(), "the old one is out of use");
    }
    while let Some(chunk) = going_on.chunk().await.unwrap() {
        received.extend_from_slice(&chunk);
    }
    assert!(received == bytes, "the download began with the old certificate");
    all.end().await;
}

/// Counts what comes to a node's plain port, where central and other nodes would call it.
struct Watch {
    count: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Watch {
    /// Hands on what comes there, so that nothing but the count tells it. Beside it the plain port.
    async fn start() -> (Self, SocketAddr) {
        let (plain, listener) = loop {
            let plain = free();
            // Another node may have the port there.
            if let Ok(listener) = tokio::net::TcpListener::bind((CALLED, plain.port())).await {
                break (plain, listener);
            }
        };
        let count: Arc<AtomicUsize> = Arc::default();
        let counted = Arc::clone(&count);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut caller, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                connections.spawn(async move {
                    let Ok(mut node) = tokio::net::TcpStream::connect(plain).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut caller, &mut node).await;
                });
            }
        });
        (Self { count, task }, plain)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An authority of one's own.
struct Authority {
    pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut parameters = rcgen::CertificateParams::new([]).unwrap();
        parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = parameters.self_signed(&key).unwrap().pem();
        Self { pem, issuer: rcgen::Issuer::new(parameters, key) }
    }

    /// Certificate and key for a name, as an operator puts them in place.
    fn give(&self, name: &str, folder: &Path) {
        let key = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        fs::create_dir_all(folder).unwrap();
        for (file, text) in [("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())] {
            fs::write(folder.join("new"), text).unwrap();
            fs::rename(folder.join("new"), folder.join(file)).unwrap();
        }
    }
}

fn name_of(place: &str) -> String {
    format!("{place}.files.test")
}

/// A central, and nodes that have names, TLS and certificates of one's own authority.
struct Named {
    base: String,
    http: reqwest::Client,
    authority: Authority,
    dir: TempDir,
    watches: Vec<Watch>,
    /// Each node, with what stops it.
    nodes: Vec<(&'static str, CancellationToken, JoinHandle<()>)>,
    central: (CancellationToken, JoinHandle<()>),
}

impl Named {
    async fn start(places: &[&'static str]) -> Self {
        let (dir, plain, authority) = (TempDir::new().unwrap(), free(), Authority::new());
        let ca = dir.path().join("ca.pem");
        fs::write(&ca, &authority.pem).unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .tls_certs_only([reqwest::Certificate::from_pem(authority.pem.as_bytes()).unwrap()]);
        let base = format!("http://{plain}");
        let config = central(plain, &base, dir.path().join("central"), ca.clone());
        let (stop, central) = (CancellationToken::new(), Central::bind(config, Links::Fixed).unwrap());
        let token = stop.clone();
        let central = (stop, tokio::spawn(async move { central.run(token).await.unwrap() }));
        let (mut nodes, mut watches) = (Vec::new(), Vec::new());
        for place in places {
            let ((watch, listen), secure) = (Watch::start().await, free_at(CALLED));
            authority.give(&name_of(place), &dir.path().join(format!("{place}.tls")));
            watches.push(watch);
            http = http.resolve(&name_of(place), secure);
            let config = Self::node(place, (listen, secure), dir.path(), &base);
            let (stop, node) = (CancellationToken::new(), Node::bind(config).unwrap());
            let token = stop.clone();
            nodes.push((*place, stop, tokio::spawn(async move { node.run(token).await.unwrap() })));
        }
        let http = http.build().unwrap();
        let all = Self { base, http, authority, dir, watches, nodes, central };
        all.wait_for_nodes(places.len()).await;
        all
    }

    fn node(place: &str, (listen, secure): (SocketAddr, SocketAddr), dir: &Path, base: &str) -> NodeConfig {
        let folder = dir.join(format!("{place}.tls"));
        let public_url = format!("https://{}:{}", name_of(place), secure.port());
        let (data, place) = (dir.join(place), Place::city(place).unwrap());
        NodeConfig {
            listen,
            public_url: public_url.parse().unwrap(),
            data,
            central_url: base.parse().unwrap(),
            ca_file: Some(dir.join("ca.pem")),
            cluster_tls: true,
            join_secret: SECRET.parse().unwrap(),
            failure_domain: place.name.clone(),
            place,
            tls: Some(Tls {
                listen: secure,
                certificate_file: folder.join("cert.pem"),
                key_file: folder.join("key.pem"),
                redirect: true,
                hsts: None,
            }),
            stop: STOP,
            internal_address: Some(CALLED.into()),
            reserve_bytes: 0,
            limits: NodeLimits::default(),
        }
    }

    async fn healthy(&self) -> Option<Vec<String>> {
        let nodes = self.http.get(format!("{}/api/v1/nodes", self.base)).send().await.ok()?;
        let nodes: Value = nodes.json().await.ok()?;
        let healthy = nodes["nodes"].as_array()?.iter().filter(|node| node["healthy"] == true);
        Some(healthy.map(|node| node["place"]["name"].as_str().unwrap().to_lowercase()).collect())
    }

    async fn wait_for_nodes(&self, count: usize) {
        poll("healthy nodes", || async { (self.healthy().await?.len() == count).then_some(()) }).await;
    }

    async fn send(&self, name: &str, bytes: &[u8]) -> (StatusCode, Value) {
        let url = format!("{}/api/v1/files?name={name}", self.base);
        let answer = self.http.post(url).body(bytes.to_vec()).send().await.unwrap();
        (answer.status(), answer.json().await.unwrap())
    }

    async fn store(&self, name: &str, bytes: &[u8]) -> Value {
        let (status, object) = self.send(name, bytes).await;
        assert_eq!(status, StatusCode::CREATED, "{object}");
        object
    }

    async fn download(&self, object: &Value) -> Vec<u8> {
        let node = location(&self.http.get(object["url"].as_str().unwrap()).send().await.unwrap());
        assert!(node.starts_with("https://"), "{node}");
        let answer = self.http.get(node).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        answer.bytes().await.unwrap().to_vec()
    }

    fn plain_calls(&self) -> usize {
        self.watches.iter().map(|watch| watch.count.load(Ordering::Relaxed)).sum()
    }

    async fn end(self) {
        for (_, stop, node) in self.nodes {
            stop.cancel();
            node.await.unwrap();
        }
        self.central.0.cancel();
        self.central.1.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn central_and_nodes_call_each_other_by_tls_alone() {
    let mut all = Named::start(&["toronto", "amsterdam", "singapore"]).await;
    let bytes = content(9103, 3_000_000);
    let object = all.store("whole.bin", &bytes).await;
    assert!(all.download(&object).await == bytes);
    // A resumable upload that loses a node between two parts: another one fills itself from the one left.
    let bytes = content(9104, 2_000_000);
    let made = all
        .http
        .post(format!("{}/api/v1/uploads", all.base))
        .header("tus-resumable", "1.0.0")
        .header("upload-length", bytes.len())
        .header("upload-metadata", "filename cGFydHMuYmlu")
        .send()
        .await
        .unwrap();
    assert_eq!(made.status(), StatusCode::CREATED);
    let upload = location(&made);
    let patch = |from: usize, part: &[u8]| {
        all.http
            .patch(&upload)
            .header("tus-resumable", "1.0.0")
            .header("upload-offset", from)
            .header("content-type", "application/offset+octet-stream")
            .body(part.to_vec())
            .send()
    };
    assert_eq!(patch(0, &bytes[..1_000_000]).await.unwrap().status(), StatusCode::NO_CONTENT);
    let has_session = |place: &&(&'static str, CancellationToken, JoinHandle<()>)| {
        let sessions = fs::read_dir(all.dir.path().join(place.0).join("sessions")).unwrap();
        sessions.count() > 0
    };
    let lost = all.nodes.iter().find(has_session).unwrap().0;
    let at = all.nodes.iter().position(|(place, ..)| *place == lost).unwrap();
    let (_, stop, node) = all.nodes.remove(at);
    stop.cancel();
    node.await.unwrap();
    all.wait_for_nodes(2).await;
    let patch = all
        .http
        .patch(&upload)
        .header("tus-resumable", "1.0.0")
        .header("upload-offset", 1_000_000)
        .header("content-type", "application/offset+octet-stream")
        .body(bytes[1_000_000..].to_vec());
    assert_eq!(patch.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    let object: Value = all.http.get(&upload).send().await.unwrap().json().await.unwrap();
    assert_eq!(object["status"], "stored", "{object}");
    assert!(all.download(&object).await == bytes);
    assert_eq!(all.plain_calls(), 0, "nothing went in the clear");
    all.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_wrong_certificate_is_not_used_until_it_has_a_right_one() {
    let mut all = Named::start(&["toronto", "amsterdam"]).await;
    let folder = all.dir.path().join("singapore.tls");
    all.authority.give("somebody-else.test", &folder);
    let ((watch, listen), secure) = (Watch::start().await, free_at(CALLED));
    all.watches.push(watch);
    let path = |name: &str| all.dir.path().join(name).to_str().unwrap().to_owned();
    let variables = [
        ("CLOSEBY_LISTEN", listen.to_string()),
        ("CLOSEBY_PUBLIC_URL", format!("https://{}:{}", name_of("singapore"), secure.port())),
        ("CLOSEBY_DATA", path("singapore")),
        ("CLOSEBY_CENTRAL_URL", all.base.clone()),
        ("CLOSEBY_PLACE", "singapore".to_owned()),
        ("CLOSEBY_RESERVE_BYTES", "0".to_owned()),
        ("CLOSEBY_INTERNAL_ADDRESS", CALLED.to_string()),
        ("CLOSEBY_CLUSTER__JOIN_SECRET", SECRET.to_owned()),
        ("CLOSEBY_CLUSTER__CA_FILE", path("ca.pem")),
        ("CLOSEBY_TLS__LISTEN", secure.to_string()),
        ("CLOSEBY_TLS__CERTIFICATE_FILE", path("singapore.tls/cert.pem")),
        ("CLOSEBY_TLS__KEY_FILE", path("singapore.tls/key.pem")),
    ];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let node = LoggedProcess::start(all.dir.path().join("singapore.log"), &["node"], &variables);
    node.will_say("invalid peer certificate").await;
    node.will_say("cluster.ca_file").await;
    assert_eq!(all.healthy().await.unwrap().len(), 2);
    let bytes = content(9105, 100_000);
    let object = all.store("without-it.bin", &bytes).await;
    assert!(all.download(&object).await == bytes);
    all.authority.give(&name_of("singapore"), &folder);
    all.wait_for_nodes(3).await;
    assert_eq!(all.plain_calls(), 0, "nothing falls back to plain calls");
    node.end().await;
    all.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_becomes_wrong_takes_the_node_out_of_use_and_no_upload_is_lost() {
    let all = Named::start(&["toronto", "amsterdam", "singapore"]).await;
    let folder = all.dir.path().join("singapore.tls");
    let nodes = all.http.get(format!("{}/api/v1/nodes", all.base)).send().await.unwrap();
    let nodes: Value = nodes.json().await.unwrap();
    let nodes = nodes["nodes"].as_array().unwrap();
    let url = nodes.iter().find(|node| node["place"]["name"] == "Singapore").unwrap()["public_url"].clone();
    let address =
        SocketAddr::from((CALLED, url.as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap()));
    all.authority.give("somebody-else.test", &folder);
    poll("the wrong certificate", || async {
        // A client of its own connects anew.
        let believed = reqwest::Certificate::from_pem(all.authority.pem.as_bytes()).unwrap();
        let name = name_of("singapore");
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([believed]).resolve(&name, address);
        http.build().unwrap().get(url.as_str().unwrap()).send().await.err()
    })
    .await;
    // More uploads at once than there are connections from before. One whose last call is the first that needs
    // a new connection is decided, but not confirmed.
    let unconfirmed = Mutex::new(Vec::new());
    let mut seed = 9_300_000;
    poll("the node out of use", || {
        seed += 100;
        let uploads = (seed..seed + 8).map(|seed| {
            let (all, unconfirmed) = (&all, &unconfirmed);
            async move {
                let (status, object) = all.send(&format!("{seed}.bin"), &content(seed, 50_000)).await;
                if status == StatusCode::CREATED {
                    return;
                }
                let detail = object["detail"].as_str().unwrap_or_default();
                assert!(detail.starts_with("the upload is decided"), "{status} {object}");
                unconfirmed.lock().unwrap().push(seed);
            }
        });
        let uploads = futures_util::future::join_all(uploads);
        let all = &all;
        async move {
            uploads.await;
            (!all.healthy().await?.contains(&"singapore".to_owned())).then_some(())
        }
    })
    .await;
    let object = all.store("without-it.bin", &content(9106, 50_000)).await;
    assert!(all.download(&object).await == content(9106, 50_000));
    // It beats, and is proved again each time: a new certificate is all that it takes.
    all.authority.give(&name_of("singapore"), &folder);
    all.wait_for_nodes(3).await;
    for seed in unconfirmed.into_inner().unwrap() {
        poll("an upload that was decided", || async {
            let (status, object) = all.send(&format!("{seed}.bin"), &content(seed, 50_000)).await;
            assert_ne!(status, StatusCode::CREATED, "it was decided: {object}");
            (status == StatusCode::OK).then_some(())
        })
        .await;
    }
    assert_eq!(all.plain_calls(), 0, "nothing falls back to plain calls");
    all.end().await;
}
