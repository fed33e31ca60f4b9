//! Traces, as a collector takes them.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::{Span, span::SpanKind};
use prost::Message as _;
use reqwest::StatusCode;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::{Cluster, LoggedProcess, Options, content, free, poll};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A collector that keeps what it takes.
struct Collector {
    address: SocketAddr,
    /// The heads of what it was asked.
    heads: Mutex<Vec<String>>,
    spans: Mutex<Vec<Span>>,
    /// What it answers.
    status: AtomicU16,
}

impl Collector {
    /// Ended with the handle.
    async fn start(at: SocketAddr, status: u16) -> (Arc<Self>, JoinHandle<()>) {
        let listener = TcpListener::bind(at).await.unwrap();
        let collector = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            heads: Mutex::default(),
            spans: Mutex::default(),
            status: AtomicU16::new(status),
        });
        let kept = Arc::clone(&collector);
        let serving = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&kept).take(connection));
            }
        });
        (collector, serving)
    }

    /// Answers every request of a connection.
    async fn take(self: Arc<Self>, mut connection: TcpStream) {
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
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let small = head.to_ascii_lowercase();
            let length = small.split_once("content-length: ").unwrap().1.split_once('\r').unwrap().0;
            let whole = end + length.parse::<usize>().unwrap();
            while read.len() < whole {
                assert!(connection.read_buf(&mut read).await.unwrap() > 0, "the body is whole");
            }
            let sent = ExportTraceServiceRequest::decode(&read[end..whole]).unwrap();
            read.drain(..whole);
            // Before the test can see that it came, and say what the next one is answered.
            let status = self.status.load(Ordering::SeqCst);
            self.heads.lock().unwrap().push(head);
            if status == 200 {
                for resource in sent.resource_spans {
                    let of = resource.resource.unwrap().attributes;
                    assert_eq!(text(&of, "service.name").as_deref(), Some("closeby"), "{of:?}");
                    assert!(text(&of, "service.version").is_some(), "{of:?}");
                    let spans = resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
                    self.spans.lock().unwrap().extend(spans);
                }
            }
            let answer = format!("HTTP/1.1 {status} Said\r\ncontent-length: 0\r\n\r\n");
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    fn spans_of(&self, id: &str) -> Vec<Span> {
        let spans = self.spans.lock().unwrap();
        spans.iter().filter(|span| hex::encode(&span.trace_id) == id).cloned().collect()
    }
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.clone()?.value? {
        Value::StringValue(text) => Some(text),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

fn named<'a>(spans: &'a [Span], role: &str, name: &str) -> Vec<&'a Span> {
    let is_it =
        |span: &&Span| text(&span.attributes, "closeby.role").as_deref() == Some(role) && span.name == name;
    spans.iter().filter(is_it).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_upload_is_one_trace_over_central_and_both_nodes() {
    let (collector, serving) = Collector::start((Ipv4Addr::LOCALHOST, 0).into(), 200).await;
    let options = Options {
        places: vec!["toronto", "amsterdam"],
        killable: true,
        killable_nodes: true,
        collector: Some(collector.address),
        ..Options::default()
    };
    let cluster = Cluster::with(options).await;
    let request = cluster.post("/api/v1/files?name=one.bin").header("traceparent", PARENT);
    let answer = request.body(content(1, 100_000)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let taken =
        poll("six spans", || async { Some(collector.spans_of(ID)).filter(|taken| taken.len() >= 6) }).await;
    let [upload] = named(&taken, "central", "POST /api/v1/files")[..] else { panic!("{taken:?}") };
    assert_eq!(hex::encode(&upload.parent_span_id), "00f067aa0ba902b7");
    assert_eq!(upload.kind(), SpanKind::Server);
    assert_eq!(text(&upload.attributes, "http.response.status_code").as_deref(), Some("201"));
    let [decide] = named(&taken, "central", "ledger decide_upload")[..] else { panic!("{taken:?}") };
    assert_eq!(decide.parent_span_id, upload.span_id);
    assert_eq!(decide.kind(), SpanKind::Internal);
    for name in ["PUT /n/v1/sessions/{upload}", "POST /n/v1/sessions/{upload}/finish"] {
        let calls = named(&taken, "node", name);
        assert_eq!(calls.len(), 2, "{taken:?}");
        assert!(calls.iter().all(|call| call.parent_span_id == upload.span_id), "{taken:?}");
    }
    assert!(decide.start_time_unix_nano <= decide.end_time_unix_nano);
    assert!(upload.start_time_unix_nano <= decide.start_time_unix_nano);
    // What was recorded shortly before a stop is sent, too.
    let last = PARENT.replace("4bf9", "5bf9");
    let answer = cluster.get("/healthz").header("traceparent", last).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    cluster.stop().await;
    assert_eq!(collector.spans_of(&ID.replace("4bf9", "5bf9")).len(), 1);
    for head in &*collector.heads.lock().unwrap() {
        let head = head.to_ascii_lowercase();
        assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    }
    serving.abort();
}

/// A central whose log is kept.
struct Central {
    process: LoggedProcess,
    base: String,
    _dir: TempDir,
}

impl Central {
    async fn start(variables: &[(&str, &str)]) -> Self {
        let dir = TempDir::new().unwrap();
        let address = free();
        let (listen, base) = (address.to_string(), format!("http://{address}"));
        let data = dir.path().join("central");
        let arguments =
            ["central", "--listen", &listen, "--public-url", &base, "--place", "new-york", "--data"];
        let process = LoggedProcess::start(
            dir.path().join("central.log"),
            &[&arguments[..], &[data.to_str().unwrap()]].concat(),
            &[&[("CLOSEBY_LOG", "trace"), ("CLOSEBY_LOG_FORMAT", "json")], variables].concat(),
        );
        let central = Self { process, base, _dir: dir };
        poll("central", || async { central.ask().await.ok() }).await;
        central
    }

    /// One request, which is one span.
    async fn ask(&self) -> reqwest::Result<()> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        client.get(format!("{}/api/v1/nodes", self.base)).send().await.map(drop)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.process.log()).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_is_named_once_and_no_secret_is() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let at = free();
    let endpoint = format!("http://closeby:password@{at}");
    let central = Central::start(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-tenant-key=very%20secret"),
    ])
    .await;
    let (none, again) = ("the collector takes no traces", "the collector takes traces again");
    central.process.will_say(none).await;
    // One that is there and refuses is the same to those who read the log.
    let (collector, serving) = Collector::start(at, 400).await;
    central.ask().await.unwrap();
    poll("a batch", || async { (!collector.heads.lock().unwrap().is_empty()).then_some(()) }).await;
    assert!(!central.process.says(again));
    collector.status.store(200, Ordering::SeqCst);
    central.ask().await.unwrap();
    central.process.will_say(again).await;
    assert_eq!(collector.spans.lock().unwrap().len(), 1);
    let log = central.log();
    assert_eq!((log.matches(none).count(), log.matches(again).count()), (1, 1), "{log}");
    let heads = collector.heads.lock().unwrap().join("");
    assert!(heads.contains("x-tenant-key: very secret\r\n"), "{heads}");
    // `closeby:password`, as the address has them.
    assert!(heads.contains("Y2xvc2VieTpwYXNzd29yZA=="), "{heads}");
    for secret in ["very secret", "very%20secret", "closeby:password", "Y2xvc2VieTpwYXNzd29yZA"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
    central.process.end().await;
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_does_not_keep_a_server_from_stopping() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Connections are made, but nobody reads them.
    let deaf = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let endpoint = format!("http://{}", deaf.local_addr().unwrap());
    let Central { process, _dir, .. } = Central::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    let log = process.log().to_owned();
    process.end().await;
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains("some traces were not sent before the stop"), "{log}");
}
