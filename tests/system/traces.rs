//! Traces, as a collector takes them.

use std::sync::{Arc, Mutex};

use reqwest::StatusCode;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{Cluster, Options, content, poll};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// One span, with the role of who did it.
#[derive(Clone, Debug)]
struct Taken {
    role: String,
    span: Value,
}

type Spans = Arc<Mutex<Vec<Taken>>>;

/// A collector that keeps what it takes; ended with its handle.
async fn collector() -> (std::net::SocketAddr, Spans, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (address, spans) = (listener.local_addr().unwrap(), Spans::default());
    let kept = Arc::clone(&spans);
    let serving = tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(take(connection, Arc::clone(&kept)));
        }
    });
    (address, spans, serving)
}

/// Answers every request of a connection.
async fn take(mut connection: TcpStream, spans: Spans) {
    let mut read = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if connection.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/json\r\n"), "{head}");
        let length = head.split_once("content-length: ").unwrap().1.split_once('\r').unwrap().0;
        let whole = end + length.parse::<usize>().unwrap();
        while read.len() < whole {
            assert!(connection.read_buf(&mut read).await.unwrap() > 0, "the body is whole");
        }
        let document: Value = serde_json::from_slice(&read[end..whole]).unwrap();
        read.drain(..whole);
        for resource in document["resourceSpans"].as_array().unwrap() {
            let attributes = resource["resource"]["attributes"].as_array().unwrap();
            let role = attributes.iter().find(|attribute| attribute["key"] == "closeby.role").unwrap();
            let role = role["value"]["stringValue"].as_str().unwrap();
            for span in resource["scopeSpans"][0]["spans"].as_array().unwrap() {
                spans.lock().unwrap().push(Taken { role: role.to_owned(), span: span.clone() });
            }
        }
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        connection.write_all(answer.as_bytes()).await.unwrap();
    }
}

fn named<'a>(spans: &'a [Taken], role: &str, name: &str) -> Vec<&'a Value> {
    spans
        .iter()
        .filter(|taken| taken.role == role && taken.span["name"] == name)
        .map(|taken| &taken.span)
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_upload_is_one_trace_over_central_and_both_nodes() {
    let (address, spans, serving) = collector().await;
    let options = Options {
        places: vec!["toronto", "amsterdam"],
        killable: true,
        killable_nodes: true,
        collector: Some(address),
        ..Options::default()
    };
    let cluster = Cluster::with(options).await;
    let request = cluster.post("/api/v1/files?name=one.bin").header("traceparent", PARENT);
    let answer = request.body(content(1, 100_000)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let of_upload = || -> Vec<Taken> {
        let spans = spans.lock().unwrap();
        spans.iter().filter(|taken| taken.span["traceId"] == ID).cloned().collect()
    };
    let taken = poll("six spans", || async { Some(of_upload()).filter(|taken| taken.len() >= 6) }).await;
    let [upload] = named(&taken, "central", "POST /api/v1/files")[..] else { panic!("{taken:?}") };
    assert_eq!(upload["parentSpanId"], "00f067aa0ba902b7");
    let [decide] = named(&taken, "central", "ledger decide_upload")[..] else { panic!("{taken:?}") };
    assert_eq!(decide["parentSpanId"], upload["spanId"]);
    for name in ["PUT /n/v1/sessions/{upload}", "POST /n/v1/sessions/{upload}/finish"] {
        let calls = named(&taken, "node", name);
        assert_eq!(calls.len(), 2, "{taken:?}");
        assert!(calls.iter().all(|call| call["parentSpanId"] == upload["spanId"]), "{taken:?}");
    }
    let nanos = |span: &Value, name: &str| span[name].as_str().unwrap().parse::<u128>().unwrap();
    assert!(nanos(decide, "startTimeUnixNano") <= nanos(decide, "endTimeUnixNano"));
    assert!(nanos(upload, "startTimeUnixNano") <= nanos(decide, "startTimeUnixNano"));
    // What was recorded shortly before a stop is sent, too.
    let last = PARENT.replace("4bf9", "5bf9");
    let answer = cluster.get("/healthz").header("traceparent", last).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    cluster.stop().await;
    let last = ID.replace("4bf9", "5bf9");
    assert!(spans.lock().unwrap().iter().any(|taken| taken.span["traceId"] == last.as_str()));
    serving.abort();
}
