//! Requests at the edge of what HTTP allows, and senders that stop in the middle of them.

use std::time::Duration;

use closeby::config::Limits;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Cluster, DEADLINE, Options, content, places, poll};

fn two_places() -> Options {
    Options { places: vec!["toronto", "amsterdam"], ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_digest_on_a_second_line_counts_too() {
    let cluster = Cluster::with(two_places()).await;
    let right = "sha=:qZk+NkcGgWq6PiVxeFDCbJzQ2J0=:";
    let wrong = "sha-256=:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=:";
    let send = |second: &'static str| {
        cluster
            .post("/api/v1/files?name=a")
            .header("repr-digest", right)
            .header("repr-digest", second)
            .body("abc")
            .send()
    };
    assert_eq!(send(wrong).await.unwrap().status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send("md5=:AAAA:;p=1").await.unwrap().status(), StatusCode::CREATED);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_method_is_told_what_is_allowed() {
    let cluster = Cluster::with(two_places()).await;
    for (method, path, allow) in [
        (Method::DELETE, "/api/v1/files", "GET, HEAD, POST"),
        (Method::GET, "/api/v1/precheck", "POST"),
        (Method::POST, "/files", "GET, HEAD"),
        (Method::GET, "/upload", "POST"),
        (Method::POST, "/d/xyz", "GET, HEAD"),
    ] {
        let answer = cluster
            .http
            .request(method, format!("{}{path}", cluster.base))
            .header("accept", "text/html")
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
        assert_eq!(answer.headers()["allow"], allow, "{path}");
    }
    let head = cluster.http.head(format!("{}/api/v1/nodes", cluster.base)).send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_before_a_name_is_dropped_and_no_name_is_refused() {
    let cluster = Cluster::with(two_places()).await;
    let put = |path: &str| cluster.http.put(format!("{}{path}", cluster.base)).body("deep").send();
    let stored = put("/folder/of/mine/deep.txt").await.unwrap();
    assert_eq!(stored.status(), StatusCode::CREATED);
    assert!(stored.text().await.unwrap().ends_with("/deep.txt\n"));
    for path in ["/", "/folder/"] {
        let refused = put(path).await.unwrap();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{path}");
        let problem: Value = refused.json().await.unwrap();
        assert_eq!(problem["type"], "/problems/invalid-name", "{path}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_without_room_says_when_to_come_back() {
    let cluster = Cluster::with(Options { places: vec!["toronto"], ..Options::default() }).await;
    for accept in ["application/json", "text/html"] {
        let body =
            "--XX\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nabc\r\n--XX--\r\n";
        let answer = cluster
            .post("/upload")
            .header("content-type", "multipart/form-data; boundary=XX")
            .header("accept", accept)
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(answer.headers().contains_key("retry-after"), "{accept}");
    }
    let other =
        cluster.post("/upload").header("content-type", "text/plain").body("abc").send().await.unwrap();
    assert_eq!(other.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_stops_in_its_middle_is_cut() {
    let limits = Limits { stalled_after: Duration::from_secs(1), ..Limits::default() };
    let cluster = Cluster::with(Options { limits, ..two_places() }).await;
    let host = cluster.base.trim_start_matches("http://");
    let form = "content-type: multipart/form-data; boundary=XX\r\n";
    let json = "content-type: application/json\r\n";
    let part = |name: &str| format!("--XX\r\ncontent-disposition: form-data; {name}\r\n\r\nabc");
    for (path, kind, begin) in [
        ("/api/v1/precheck", json, "{\"files\":".to_owned()),
        ("/cluster/v1/challenge", json, "{".to_owned()),
        ("/upload", form, "--XX\r\n".to_owned()),
        ("/upload", form, part("name=\"other\"")),
        ("/upload", form, part("name=\"file\"; filename=\"..\"")),
        ("/upload", form, part("name=\"file\"; filename=\"good\"")),
    ] {
        let mut socket = TcpStream::connect(host).await.unwrap();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: {host}\r\n{kind}content-length: 1000\r\n\r\n{begin}");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        let read = tokio::time::timeout(Duration::from_secs(30), socket.read_exact(&mut answer)).await;
        read.unwrap_or_else(|_| panic!("{path} {begin}: no answer")).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 4"), "{path} {begin}: {}", String::from_utf8_lossy(&answer));
    }
    cluster.wait_until_empty(DEADLINE).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_kept_from_one_heartbeat_to_the_next() {
    let cluster = Cluster::with(two_places()).await;
    let mut idle = TcpStream::connect(cluster.central_address()).await.unwrap();
    ask_health(&mut idle).await;
    let beaten = || async {
        let nodes: Value = cluster.get("/api/v1/nodes").send().await.ok()?.json().await.ok()?;
        Some(nodes["nodes"][0]["seen_at"].clone())
    };
    let mut last = beaten().await;
    for beat in ["a heartbeat", "the one after it"] {
        last = poll(beat, || async { beaten().await.filter(|now| Some(now) != last.as_ref()) }).await.into();
    }
    ask_health(&mut idle).await;
    cluster.stop().await;
}

async fn ask_health(connection: &mut TcpStream) {
    connection.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    connection.read_exact(&mut answer).await.expect("it is still open");
    assert_eq!(&answer, b"HTTP/1.1 200");
    // The rest of it.
    let mut rest = [0; 4096];
    assert_ne!(connection.read(&mut rest).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn content_that_no_reachable_server_has_is_stored_anew_under_its_link() {
    let mut cluster = Cluster::start().await;
    let bytes = content(77, 200_000);
    let object = cluster.store("away.bin", bytes.clone()).await;
    let holders: Vec<&'static str> = ["toronto", "amsterdam", "bangalore", "singapore"]
        .into_iter()
        .filter(|place| places(&object).contains(&(*place).to_owned()))
        .collect();
    for place in &holders {
        cluster.stop_node(place).await;
    }
    let question = json!({ "files": [{ "size": bytes.len(), "sha1": object["sha1"] }] });
    let answer: Value =
        cluster.post("/api/v1/precheck").json(&question).send().await.unwrap().json().await.unwrap();
    assert_eq!(answer["files"][0]["state"], "send");
    let (status, again) = cluster.upload("again.bin", bytes).await;
    assert_eq!((status, &again["status"]), (StatusCode::OK, &json!("duplicate")), "{again}");
    assert_eq!(again["url"], object["url"]);
    let path = object["url"].as_str().unwrap().trim_start_matches(&cluster.base).to_owned();
    assert_eq!(cluster.get(&path).send().await.unwrap().status(), StatusCode::FOUND);
    cluster.stop().await;
}
