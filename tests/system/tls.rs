//! TLS in the binary: people come by it, machines beside us by the plain listener, and a new
//! certificate is taken up while connections go on.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use closeby::config::{CentralConfig, Limits, NodeConfig, NodeLimits, Tls};
use closeby::domain::{Access, Place};
use closeby::role::central::{Central, Links};
use closeby::role::node::Node;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{StatusCode, Version};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::support::{STOP, content, location, poll};

/// An address at which no other test takes ports, so that one that was free stays so.
const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 5);
const SECRET: &str = "a-secret-for-the-tests-of-tls-a-secret";

fn free() -> SocketAddr {
    TcpListener::bind((HOST, 0)).unwrap().local_addr().unwrap()
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
            listen: plain,
            public_url: all.base.parse().unwrap(),
            data: all.data("central"),
            join_secret: SECRET.parse().unwrap(),
            signing_root: SECRET.parse().unwrap(),
            networks: vec!["127.0.0.0/8".parse().unwrap()],
            geoip: None,
            geoip_private: false,
            trusted_proxies: Vec::new(),
            client_address_headers: Vec::new(),
            place: Place::city("new-york").unwrap(),
            access: Access::OPEN,
            tls: Some(all.tls(secure)),
            stop: STOP,
            node_out_after: Duration::from_secs(3600),
            limits: Limits::default(),
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
