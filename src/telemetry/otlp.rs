//! Traces for a collector: hands what [`crate::trace`] recorded to OpenTelemetry's crates, which make batches of
//! it and send them as protobuf over HTTP (OTLP 1, <https://opentelemetry.io/docs/specs/otlp/#otlphttp>).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::resource::TelemetryResourceDetector;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SamplingDecision, ShouldSample as _, SpanData,
    SpanEvents, SpanLinks, SpanProcessor as _,
};
use tokio::runtime::Handle;
use url::Url;

use crate::domain::RequestId;
use crate::trace::{Kind, Recorder, Span};

/// Spans that wait to be sent; those beyond are dropped.
const WAITING: usize = 4096;
/// Spans of one request to the collector.
const BATCH: usize = 512;
/// What waits is sent this often.
const DELAY: Duration = Duration::from_secs(1);
/// The collector has so long to take a batch, and this is how long a batch is tried again.
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
    /// The exporter cannot be made. Its text is left out: it has the address, which may hold a password.
    #[error("cannot set up the sending of traces to this address")]
    Exporter,
    /// Something else records already.
    #[error("traces are set up already")]
    Twice,
}

impl From<ExporterBuildError> for TraceError {
    fn from(_: ExporterBuildError) -> Self {
        Self::Exporter
    }
}

/// Sends traces until it is closed.
#[derive(Debug)]
pub struct Exporter {
    processor: Arc<BatchSpanProcessor>,
}

#[derive(Debug)]
struct Queue {
    processor: Arc<BatchSpanProcessor>,
    sampler: Sampler,
    scope: InstrumentationScope,
}

impl Recorder for Queue {
    fn samples(&self, request: RequestId) -> bool {
        samples(&self.sampler, request)
    }

    fn record(&self, span: Span) {
        self.processor.on_end(data(span, self.scope.clone()));
    }
}

fn samples(sampler: &Sampler, request: RequestId) -> bool {
    let id = TraceId::from(request.bits());
    let result = sampler.should_sample(None, id, "", &SpanKind::Server, &[], &[]);
    result.decision == SamplingDecision::RecordAndSample
}

impl Exporter {
    /// Records every request of this process from now on. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`TraceError`].
    pub fn start(target: TraceTarget) -> Result<Self, TraceError> {
        // A second call finds the provider installed, which is what it wants.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .timeout(WITHIN)
            .build()?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Client { client, runtime: Handle::current() })
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(target.endpoint)
            .with_headers(target.headers.into_iter().map(|(name, Secret(value))| (name, value)).collect())
            .with_timeout(WITHIN)
            .build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(WAITING)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(DELAY)
            .build();
        let exporter = Told { exporter, dropped: AtomicU64::new(0) };
        let mut processor = BatchSpanProcessor::new(exporter, batches);
        processor.set_resource(&resource(target.service));
        let processor = Arc::new(processor);
        let queue = Queue {
            processor: Arc::clone(&processor),
            sampler: Sampler::TraceIdRatioBased(target.ratio),
            scope: InstrumentationScope::builder("closeby").build(),
        };
        if !crate::trace::record_with(Box::new(queue)) {
            return Err(TraceError::Twice);
        }
        Ok(Self { processor })
    }

    /// Records nothing more, and sends what waits, for so long at most.
    pub async fn close(self, deadline: Duration) {
        let closing = move || self.processor.shutdown_with_timeout(deadline);
        if !matches!(tokio::task::spawn_blocking(closing).await, Ok(Ok(()))) {
            tracing::warn!("some traces were not sent before the stop");
        }
    }
}

fn resource(service: String) -> Resource {
    Resource::builder_empty()
        .with_detector(Box::new(TelemetryResourceDetector))
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build()
}

/// What is sent of a span.
fn data(span: Span, scope: InstrumentationScope) -> SpanData {
    // One process can have both roles, so this says nothing of the resource.
    let mut attributes = vec![KeyValue::new("closeby.role", span.role)];
    attributes.extend(span.texts.into_iter().map(|(key, value)| KeyValue::new(key, value)));
    attributes
        .extend(span.status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))));
    let id = TraceId::from(span.of.request.bits());
    SpanData {
        span_context: SpanContext::new(
            id,
            SpanId::from(span.of.span),
            TraceFlags::SAMPLED,
            false,
            TraceState::NONE,
        ),
        parent_span_id: span.parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: span.parent.is_some() && span.kind == Kind::Server,
        span_kind: match span.kind {
            Kind::Internal => SpanKind::Internal,
            Kind::Server => SpanKind::Server,
        },
        name: span.name.into(),
        start_time: span.started,
        end_time: span.ended,
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        // An error is what this server did wrong, not what it was asked wrongly.
        status: match span.status {
            Some(500..) => Status::error(""),
            _ => Status::Unset,
        },
        instrumentation_scope: scope,
    }
}

/// Says in the log when the collector begins to take nothing, and when it takes traces again: the crates say it
/// of every batch, or not at all.
#[derive(Debug)]
struct Told<E> {
    exporter: E,
    /// Spans that were lost since the collector took the last ones.
    dropped: AtomicU64,
}

impl<E: opentelemetry_sdk::trace::SpanExporter> opentelemetry_sdk::trace::SpanExporter for Told<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len() as u64;
        let result = self.exporter.export(batch).await;
        match &result {
            Ok(()) => {
                let dropped = self.dropped.swap(0, Ordering::Relaxed);
                if dropped > 0 {
                    tracing::info!(dropped, "the collector takes traces again");
                }
            }
            Err(why) => {
                if self.dropped.fetch_add(spans, Ordering::Relaxed) == 0 {
                    tracing::warn!(%why, "the collector takes no traces; they are dropped");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Our HTTP client, for a caller that is outside of the runtime: batches are sent by a thread of their own.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (parts, body) = request.into_parts();
        // Made anew from the address, because a name and a password in it count only so.
        let call = self.client.request(parts.method, parts.uri.to_string()).headers(parts.headers).body(body);
        let sending = self.runtime.spawn(async move {
            let mut answer = call.send().await?;
            let (status, headers) = (answer.status(), std::mem::take(answer.headers_mut()));
            // Read to its end, so that the connection can be used again; nobody looks at it.
            while answer.chunk().await?.is_some() {}
            Ok((status, headers))
        });
        let (status, headers) = sending.await?.map_err(|error: reqwest::Error| {
            // The error's own text has the address, which may hold a password.
            let error = error.without_url();
            tracing::debug!(?error, "traces did not reach the collector");
            error
        })?;
        let mut answer = Response::new(Bytes::new());
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::UNIX_EPOCH;

    use opentelemetry::Value;

    use super::*;

    #[test]
    fn a_part_of_all_requests_is_recorded() {
        // Ids are random: these are spread as evenly as those.
        let ids = (1..=1000_u128).map(|id| RequestId::new(id * (u128::MAX / 1000)).unwrap());
        let of = |ratio| ids.clone().filter(|id| samples(&Sampler::TraceIdRatioBased(ratio), *id)).count();
        assert_eq!((of(0.0), of(1.0)), (0, 1000));
        assert!((200..300).contains(&of(0.25)), "{}", of(0.25));
    }

    #[test]
    fn a_span_is_handed_on_with_the_ids_that_logs_have() {
        let span = Span {
            of: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap(),
            parent: Some(1),
            role: "central",
            name: "GET /healthz".to_owned(),
            kind: Kind::Server,
            started: UNIX_EPOCH + Duration::from_nanos(5),
            ended: UNIX_EPOCH + Duration::from_secs(2),
            texts: vec![("http.route", "/healthz".to_owned())],
            status: Some(500),
        };
        let scope = InstrumentationScope::builder("closeby").build();
        let written = data(span.clone(), scope.clone());
        assert_eq!(written.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(written.span_context.span_id().to_string(), "00f067aa0ba902b7");
        // One that is not sampled would be left out without a word.
        assert!(written.span_context.is_sampled());
        assert_eq!(written.parent_span_id.to_string(), "0000000000000001");
        assert!(written.parent_span_is_remote);
        assert_eq!((written.start_time, written.end_time), (span.started, span.ended));
        assert_eq!((&written.span_kind, &written.status), (&SpanKind::Server, &Status::error("")));
        let said = |key: &str| {
            let found = written.attributes.iter().find(|attribute| attribute.key.as_str() == key);
            found.map(|attribute| attribute.value.clone())
        };
        assert_eq!(said("closeby.role"), Some(Value::from("central")));
        assert_eq!(said("http.route"), Some(Value::from("/healthz")));
        assert_eq!(said("http.response.status_code"), Some(Value::I64(500)));

        let first = data(Span { parent: None, kind: Kind::Internal, status: Some(499), ..span }, scope);
        assert_eq!(first.parent_span_id, SpanId::INVALID);
        assert!(!first.parent_span_is_remote);
        assert_eq!((first.span_kind, first.status), (SpanKind::Internal, Status::Unset));
    }
}
