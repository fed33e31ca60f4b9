//! Traces for a collector, as OpenTelemetry's protocol in JSON over HTTP (OTLP 1,
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>).
//!
//! Written here and not taken from the `opentelemetry` crates: what is sent are a few fields of what
//! [`crate::trace`] knows anyway, and those crates would bring eighteen others and spans of their own.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use url::Url;

use crate::domain::RequestId;
use crate::trace::{Kind, Recorder, Span};

/// Spans that wait to be sent; those beyond are dropped, and counted in the log.
const WAITING: usize = 4096;
/// Spans of one request to the collector.
const BATCH: usize = 512;
/// A batch is sent this long after its first span.
const DELAY: Duration = Duration::from_secs(1);
/// The collector has so long to take a batch.
const WITHIN: Duration = Duration::from_secs(10);

/// Where traces go.
#[derive(Debug, Clone)]
pub struct TraceTarget {
    /// The address that takes spans: `…/v1/traces`.
    pub endpoint: Url,
    /// Sent along, as the collector wants to know who sends. They can be secret.
    pub headers: Vec<(String, Secret)>,
    /// What this service is called there.
    pub service: String,
    /// Which part of the requests is recorded, from 0 to 1, where no caller decided.
    pub ratio: f64,
}

/// A header's value that is in no log.
#[derive(Clone)]
pub struct Secret(pub String);

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// Why traces cannot be sent at all.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The HTTP client cannot be made.
    #[error("cannot set up the sending of traces: {0}")]
    Http(#[from] reqwest::Error),
    /// Something else records already.
    #[error("traces are set up already")]
    Twice,
}

/// Sends traces until it is closed.
#[derive(Debug)]
pub struct Exporter {
    queue: Queue,
    sending: JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Queue {
    spans: Arc<Mutex<Option<mpsc::Sender<Span>>>>,
    dropped: Arc<AtomicU64>,
    /// Ids below this are recorded: they are random, so it is a part of all (`TraceIdRatioBased`).
    below: u128,
}

impl Recorder for Queue {
    fn samples(&self, request: RequestId) -> bool {
        request.bits() <= self.below
    }

    fn record(&self, span: Span) {
        let spans = self.spans.lock().unwrap_or_else(PoisonError::into_inner);
        if spans.as_ref().is_some_and(|spans| spans.try_send(span).is_err()) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Exporter {
    /// Records every request of this process from now on. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn start(target: TraceTarget) -> Result<Self, TraceError> {
        // A second call finds the provider installed, which is what it wants.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(WITHIN)
            .build()?;
        let (sender, receiver) = mpsc::channel(WAITING);
        let below = below(target.ratio);
        let queue = Queue { spans: Arc::new(Mutex::new(Some(sender))), dropped: Arc::default(), below };
        if !crate::trace::record_with(Box::new(queue.clone())) {
            return Err(TraceError::Twice);
        }
        let sending = tokio::spawn(send_all(http, target, receiver, Arc::clone(&queue.dropped)));
        Ok(Self { queue, sending })
    }

    /// Records nothing more, and sends what waits, for so long at most.
    pub async fn close(self, deadline: Duration) {
        drop(self.queue.spans.lock().unwrap_or_else(PoisonError::into_inner).take());
        if tokio::time::timeout(deadline, self.sending).await.is_err() {
            tracing::warn!("some traces were not sent before the stop");
        }
    }
}

/// The last id that is in this part of all; none but 0, which is no id, for nothing.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn below(ratio: f64) -> u128 {
    if ratio >= 1.0 { u128::MAX } else { (ratio.max(0.0) * u128::MAX as f64) as u128 }
}

async fn send_all(
    http: reqwest::Client,
    target: TraceTarget,
    mut spans: mpsc::Receiver<Span>,
    dropped: Arc<AtomicU64>,
) {
    let mut has_failed = false;
    while let Some(first) = spans.recv().await {
        let mut batch = vec![first];
        let more = async {
            while batch.len() < BATCH {
                let Some(span) = spans.recv().await else { break };
                batch.push(span);
            }
        };
        let _ = tokio::time::timeout(DELAY, more).await;
        match send(&http, &target, &batch).await {
            Ok(()) if has_failed => {
                has_failed = false;
                let dropped = dropped.swap(0, Ordering::Relaxed);
                tracing::info!(dropped, "the collector takes traces again");
            }
            Ok(()) => {}
            Err(why) => {
                dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
                if !has_failed {
                    tracing::warn!(%why, "the collector takes no traces; they are dropped");
                }
                has_failed = true;
            }
        }
    }
}

async fn send(http: &reqwest::Client, target: &TraceTarget, batch: &[Span]) -> Result<(), String> {
    let mut call = http.post(target.endpoint.clone()).json(&document(&target.service, batch));
    for (name, value) in &target.headers {
        call = call.header(name, &value.0);
    }
    // The error's own text has the address, which may hold a password.
    let answer = call.send().await.map_err(|error| error.without_url().to_string())?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
}

/// An `ExportTraceServiceRequest`, one resource for each role that this process has.
fn document(service: &str, batch: &[Span]) -> Value {
    let mut roles: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    for span in batch {
        roles.entry(span.role).or_default().push(written(span));
    }
    let resources: Vec<Value> = roles
        .into_iter()
        .map(|(role, spans)| {
            json!({
                "resource": { "attributes": [
                    text("service.name", service),
                    text("service.version", env!("CARGO_PKG_VERSION")),
                    text("closeby.role", role),
                ]},
                "scopeSpans": [{ "scope": { "name": "closeby" }, "spans": spans }],
            })
        })
        .collect();
    json!({ "resourceSpans": resources })
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// Ids are hexadecimal, 64-bit numbers are strings, enums are numbers (OTLP's JSON mapping).
fn written(span: &Span) -> Value {
    let mut attributes: Vec<Value> = span.texts.iter().map(|(key, value)| text(key, value)).collect();
    if let Some(status) = span.status {
        attributes.push(json!({
            "key": "http.response.status_code", "value": { "intValue": status.to_string() }
        }));
    }
    let mut written = json!({
        "traceId": span.of.request.to_string(),
        "spanId": format!("{:016x}", span.of.span),
        "name": span.name,
        "kind": match span.kind { Kind::Internal => 1, Kind::Server => 2 },
        "startTimeUnixNano": nanos(span.started).to_string(),
        "endTimeUnixNano": nanos(span.ended).to_string(),
        "attributes": attributes,
        // An error is what this server did wrong, not what it was asked wrongly.
        "status": { "code": if span.status.is_some_and(|status| status >= 500) { 2 } else { 0 } },
    });
    if let Some(parent) = span.parent {
        written["parentSpanId"] = Value::String(format!("{parent:016x}"));
    }
    written
}

fn nanos(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_part_of_all_requests_is_recorded() {
        assert_eq!((below(0.0), below(1.0), below(7.0), below(-1.0)), (0, u128::MAX, u128::MAX, 0));
        assert_eq!(below(0.5).leading_zeros(), 0);
        assert_eq!(below(0.25).leading_zeros(), 1);
    }

    #[test]
    fn a_span_is_written_as_the_protocol_has_it() {
        let span = Span {
            of: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap(),
            parent: Some(1),
            role: "central",
            name: "GET /healthz".to_owned(),
            kind: Kind::Server,
            started: UNIX_EPOCH + Duration::from_nanos(5),
            ended: UNIX_EPOCH + Duration::from_secs(2),
            texts: vec![("http.route", "/healthz".to_owned())],
            status: Some(503),
        };
        let document = document("closeby", &[span]);
        let written = &document["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
        assert_eq!(written["traceId"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(
            (&written["spanId"], &written["parentSpanId"]),
            (&json!("00f067aa0ba902b7"), &json!("0000000000000001"))
        );
        assert_eq!(
            (&written["startTimeUnixNano"], &written["endTimeUnixNano"]),
            (&json!("5"), &json!("2000000000"))
        );
        assert_eq!((&written["kind"], &written["status"]["code"]), (&json!(2), &json!(2)));
        assert_eq!(written["attributes"][1]["value"]["intValue"], "503");
        let role = &document["resourceSpans"][0]["resource"]["attributes"][2];
        assert_eq!(
            (&role["key"], &role["value"]["stringValue"]),
            (&json!("closeby.role"), &json!("central"))
        );
    }
}
