//! What is counted, for Prometheus. Every family is there from the first scrape on.

use prometheus::{
    Encoder as _, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec,
    Opts, Registry, TextEncoder,
};

/// The classes of status, so that no label has a value that a client can make up.
const STATUSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// How uploads end.
const OUTCOMES: [&str; 4] = ["stored", "duplicate", "healed", "failed"];
/// The states of replicas.
const REPLICA_STATES: [&str; 3] = ["pending", "stored", "bad"];
/// The states of nodes.
const NODE_STATES: [&str; 3] = ["healthy", "silent", "out"];
/// Kilometres: a city, a region, a continent, the world.
const DISTANCE_BUCKETS: [f64; 9] = [50.0, 200.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 12000.0, 20100.0];

/// A central's metrics. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    /// One of `requests` for each of [`STATUSES`], as finding it costs more than counting.
    requests_by_class: [IntCounter; 5],
    request_seconds: Histogram,
    uploads: IntCounterVec,
    stored_bytes: IntCounter,
    saved_bytes: IntCounter,
    uploads_running: IntGauge,
    redirect_km: Histogram,
    ledger_seconds: HistogramVec,
    files: IntGauge,
    blobs: IntGauge,
    blob_bytes: IntGauge,
    replicas: IntGaugeVec,
    nodes: IntGaugeVec,
    node_free_bytes: IntGauge,
}

/// How an upload ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// New content of so many bytes.
    Stored(u64),
    /// Known content of so many bytes.
    Duplicate(u64),
    /// Known content that lacked copies.
    Healed(u64),
    /// Not taken.
    Failed,
}

/// What is read off the ledger and the membership at each scrape.
#[derive(Debug, Clone, Copy, Default)]
pub struct Standing {
    /// Visible files.
    pub files: u64,
    /// Blobs with a file.
    pub blobs: u64,
    /// Their bytes, each counted once.
    pub blob_bytes: u64,
    /// Replicas that are pending, stored and bad.
    pub replicas: [u64; 3],
    /// Nodes that are healthy, silent and out.
    pub nodes: [u64; 3],
    /// Bytes that uploads can reserve on healthy nodes.
    pub node_free_bytes: u64,
    /// Uploads that run now.
    pub uploads_running: u64,
}

impl Metrics {
    /// All families, at zero.
    ///
    /// # Errors
    /// When a name or label is none that Prometheus takes, which a test would have told.
    pub fn new() -> Result<Self, prometheus::Error> {
        let counter = |name, help| IntCounter::new(name, help);
        let gauge = |name, help| IntGauge::new(name, help);
        let requests = IntCounterVec::new(
            Opts::new("closeby_http_requests_total", "Requests that were answered, by class of status"),
            &["status"],
        )?;
        let metrics = Self {
            registry: Registry::new(),
            requests_by_class: STATUSES.map(|status| requests.with_label_values(&[status])),
            requests,
            request_seconds: Histogram::with_opts(HistogramOpts::new(
                "closeby_http_request_seconds",
                "Time from a request's head to its answer's, uploads included",
            ))?,
            uploads: IntCounterVec::new(
                Opts::new("closeby_uploads_total", "Uploads that ended, by outcome"),
                &["outcome"],
            )?,
            stored_bytes: counter("closeby_stored_bytes_total", "Bytes of new content, each counted once")?,
            saved_bytes: counter(
                "closeby_saved_bytes_total",
                "Bytes of duplicates, which were not stored again",
            )?,
            uploads_running: gauge("closeby_uploads_running", "Uploads that run now")?,
            redirect_km: Histogram::with_opts(
                HistogramOpts::new(
                    "closeby_redirect_kilometres",
                    "Distance from people to the replica they were sent to",
                )
                .buckets(DISTANCE_BUCKETS.to_vec()),
            )?,
            ledger_seconds: HistogramVec::new(
                HistogramOpts::new("closeby_ledger_seconds", "Time of the ledger's transactions"),
                &["call"],
            )?,
            files: gauge("closeby_files", "Visible files")?,
            blobs: gauge("closeby_blobs", "Blobs with a file")?,
            blob_bytes: gauge("closeby_blob_bytes", "Bytes of the blobs, each counted once")?,
            replicas: IntGaugeVec::new(Opts::new("closeby_replicas", "Replicas, by state"), &["state"])?,
            nodes: IntGaugeVec::new(Opts::new("closeby_nodes", "Storage servers, by state"), &["state"])?,
            node_free_bytes: gauge(
                "closeby_node_free_bytes",
                "Bytes that uploads can reserve on healthy nodes",
            )?,
        };
        for outcome in OUTCOMES {
            metrics.uploads.with_label_values(&[outcome]);
        }
        metrics.ledger_seconds.with_label_values(&["decide_upload"]);
        metrics.set(&Standing::default());
        let Self { registry, .. } = &metrics;
        registry.register(Box::new(metrics.requests.clone()))?;
        registry.register(Box::new(metrics.request_seconds.clone()))?;
        registry.register(Box::new(metrics.uploads.clone()))?;
        registry.register(Box::new(metrics.stored_bytes.clone()))?;
        registry.register(Box::new(metrics.saved_bytes.clone()))?;
        registry.register(Box::new(metrics.uploads_running.clone()))?;
        registry.register(Box::new(metrics.redirect_km.clone()))?;
        registry.register(Box::new(metrics.ledger_seconds.clone()))?;
        registry.register(Box::new(metrics.files.clone()))?;
        registry.register(Box::new(metrics.blobs.clone()))?;
        registry.register(Box::new(metrics.blob_bytes.clone()))?;
        registry.register(Box::new(metrics.replicas.clone()))?;
        registry.register(Box::new(metrics.nodes.clone()))?;
        registry.register(Box::new(metrics.node_free_bytes.clone()))?;
        Ok(metrics)
    }

    /// A request was answered with this status after so many seconds.
    pub fn answered(&self, status: u16, seconds: f64) {
        self.requests_by_class[usize::from((status / 100).clamp(1, 5)) - 1].inc();
        self.request_seconds.observe(seconds);
    }

    /// An upload ended.
    pub fn upload_ended(&self, how: Ended) {
        let outcome = match how {
            Ended::Stored(bytes) => {
                self.stored_bytes.inc_by(bytes);
                "stored"
            }
            Ended::Duplicate(bytes) => {
                self.saved_bytes.inc_by(bytes);
                "duplicate"
            }
            Ended::Healed(_) => "healed",
            Ended::Failed => "failed",
        };
        self.uploads.with_label_values(&[outcome]).inc();
    }

    /// Somebody was sent to a replica so many kilometres away.
    pub fn redirected(&self, km: f64) {
        self.redirect_km.observe(km);
    }

    /// A decision took so many seconds.
    pub fn decided(&self, seconds: f64) {
        self.ledger_seconds.with_label_values(&["decide_upload"]).observe(seconds);
    }

    fn set(&self, standing: &Standing) {
        let signed = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.files.set(signed(standing.files));
        self.blobs.set(signed(standing.blobs));
        self.blob_bytes.set(signed(standing.blob_bytes));
        for (state, count) in REPLICA_STATES.iter().zip(standing.replicas) {
            self.replicas.with_label_values(&[state]).set(signed(count));
        }
        for (state, count) in NODE_STATES.iter().zip(standing.nodes) {
            self.nodes.with_label_values(&[state]).set(signed(count));
        }
        self.node_free_bytes.set(signed(standing.node_free_bytes));
        self.uploads_running.set(signed(standing.uploads_running));
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn scrape(&self, standing: &Standing) -> Result<Vec<u8>, prometheus::Error> {
        self.set(standing);
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_family_is_there_from_the_first_scrape() {
        let metrics = Metrics::new().unwrap();
        let text = String::from_utf8(metrics.scrape(&Standing::default()).unwrap()).unwrap();
        assert_eq!(text.matches("# TYPE closeby_").count(), 14, "{text}");
        for line in [
            "closeby_uploads_total{outcome=\"healed\"} 0",
            "closeby_nodes{state=\"out\"} 0",
            "closeby_ledger_seconds_count{call=\"decide_upload\"} 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
        metrics.upload_ended(Ended::Duplicate(7));
        metrics.answered(200, 0.1);
        metrics.answered(999, 0.1);
        let text = String::from_utf8(metrics.scrape(&Standing::default()).unwrap()).unwrap();
        assert!(
            text.contains("closeby_saved_bytes_total 7")
                && text.contains("closeby_http_requests_total{status=\"5xx\"} 1")
        );
    }
}
