//! `deploy/nginx.conf` and `deploy/Caddyfile`, in a real nginx and a real Caddy before a real central.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use futures_util::StreamExt as _;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use reqwest::{StatusCode, Version};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::support::{Cluster, Options, content, free_at, location, poll};

/// An address at which no other test takes ports.
const HOST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 6);

/// Ended with the test.
struct Proxy(Child);

impl Proxy {
    fn run(command: &mut Command, package: &str) -> Self {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        Self(child.unwrap_or_else(|error| panic!("{error}: install {package}, as scripts/test does")))
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Its workers end with it, unless it is killed.
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// Where things are in one test.
struct Site {
    /// Certificate and key, as `fullchain.pem` and `key.pem`, and all that the proxy writes.
    folder: PathBuf,
    central: SocketAddr,
    plain: SocketAddr,
    secure: SocketAddr,
}

/// A file as it is, with this test's names in it.
fn with_names(file: &str, names: &[(&str, String)]) -> String {
    let mut file = file.to_owned();
    for (given, here) in names {
        assert!(file.contains(given), "{given}");
        file = file.replace(given, here);
    }
    file
}

fn nginx(site: &Site) -> Proxy {
    let Site { folder, central, plain, secure } = site;
    let names = [
        ("server 127.0.0.1:8080;", format!("server {central};")),
        ("listen 80;", format!("listen {plain};")),
        ("listen 443 ssl", format!("listen {secure} ssl")),
        ("https://$host$request_uri", format!("https://{secure}$request_uri")),
        ("server_name files.example;", format!("server_name {HOST};")),
        ("/etc/closeby/tls", folder.display().to_string()),
    ];
    let file = with_names(include_str!("../../deploy/nginx.conf"), &names);
    let at = folder.display();
    let whole = format!(
        "daemon off; pid {at}/pid; error_log {at}/error.log; worker_processes 1; events {{}}\n\
         http {{ access_log off; client_body_temp_path {at}/body; proxy_temp_path {at}/proxy; \
         fastcgi_temp_path {at}/f; uwsgi_temp_path {at}/u; scgi_temp_path {at}/s;\n{file}}}"
    );
    fs::write(folder.join("nginx.conf"), whole).unwrap();
    let program = if Path::new("/usr/sbin/nginx").exists() { "/usr/sbin/nginx" } else { "nginx" };
    let mut command = Command::new(program);
    Proxy::run(command.arg("-c").arg(folder.join("nginx.conf")).arg("-p").arg(folder), "nginx-light")
}

fn caddy(site: &Site) -> Proxy {
    let Site { folder, central, plain, secure } = site;
    let names = [
        ("files.example {", format!("{HOST} {{\n\tbind {HOST}")),
        ("/etc/closeby/tls", folder.display().to_string()),
        ("reverse_proxy 127.0.0.1:8080", format!("reverse_proxy {central}")),
    ];
    let file = with_names(include_str!("../../deploy/Caddyfile"), &names);
    let global = format!(
        "{{\n\tadmin off\n\thttp_port {}\n\thttps_port {}\n\tservers {{\n\t\tprotocols h1 h2\n\t}}\n}}\n",
        plain.port(),
        secure.port()
    );
    fs::write(folder.join("Caddyfile"), global + &file).unwrap();
    let mut command = Command::new("caddy");
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
    Proxy::run(command.env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder), "caddy")
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_nginx_as_they_come_and_addresses_are_the_persons() {
    passes(nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_pass_caddy_as_they_come_and_addresses_are_the_persons() {
    passes(caddy).await;
}

async fn passes(start: fn(&Site) -> Proxy) {
    let (plain, secure) = (free_at(HOST), free_at(HOST));
    let options = Options { public_url: Some(format!("https://{secure}")), ..Options::default() };
    let cluster = Cluster::with(options).await;
    let folder = cluster.scratch("proxy");
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([HOST.to_string()]).unwrap();
    fs::write(folder.join("fullchain.pem"), cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
    let proxy = start(&Site { folder, central: cluster.central_address(), plain, secure });
    let http = reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(cert.pem().as_bytes()).unwrap()])
        .build()
        .unwrap();
    let base = format!("https://{secure}");
    let page = poll("the proxy", || async { http.get(&base).send().await.ok() }).await;
    assert_eq!((page.status(), page.version()), (StatusCode::OK, Version::HTTP_2));
    let answer = http.get(format!("http://{plain}/files?query=x")).send().await.unwrap();
    // Caddy takes its own port for one that another machine maps to 443, and does not say it.
    let led = location(&answer).replace(&base, &format!("https://{HOST}"));
    assert_eq!(led, format!("https://{HOST}/files?query=x"));
    for path in ["/metrics", "/cluster/v1/heartbeat"] {
        assert_eq!(http.get(format!("{base}{path}")).send().await.unwrap().status(), StatusCode::NOT_FOUND);
    }

    // The first half is on its way to two nodes while the second is not sent yet.
    let bytes = content(9401, 9_000_000);
    let (parts, waiting) = mpsc::channel::<std::io::Result<Vec<u8>>>(1);
    let body = futures_util::stream::unfold(waiting, |mut waiting| async {
        waiting.recv().await.map(|part| (part, waiting))
    });
    let upload = http.post(format!("{base}/api/v1/files?name=through.bin"));
    let upload = tokio::spawn(upload.body(reqwest::Body::wrap_stream(body.boxed())).send());
    parts.send(Ok(bytes[..6_000_000].to_vec())).await.unwrap();
    poll("bytes on two nodes", || async {
        let nodes = cluster.places().iter().filter(|place| {
            let held = cluster.files_on(place);
            held.iter().filter_map(|file| fs::metadata(file).ok()).any(|file| file.len() > 3_000_000)
        });
        (nodes.count() == 2).then_some(())
    })
    .await;
    parts.send(Ok(bytes[6_000_000..].to_vec())).await.unwrap();
    drop(parts);
    let object: Value = upload.await.unwrap().unwrap().json().await.unwrap();
    let link = object["url"].as_str().unwrap();
    assert!(link.starts_with(&base), "{object}");

    // A claim moves nobody: what counts is the address that came to the proxy, which has no place.
    let sha1 = object["sha1"].as_str().unwrap();
    let asked =
        http.get(format!("{base}/api/v1/blobs/{sha1}/replicas")).header("x-forwarded-for", "203.5.76.1");
    let claimed = "0123456789abcdef0123456789abcdef";
    let answer =
        asked.header("traceparent", format!("00-{claimed}-0123456789abcdef-01")).send().await.unwrap();
    assert_ne!(answer.headers()["x-request-id"], claimed);
    let choice: Value = answer.json().await.unwrap();
    assert_eq!(choice["client"]["known_by"], "central", "{choice}");
    drop(proxy);
    cluster.stop().await;
}
