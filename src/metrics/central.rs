//! What a central counts, and what it is told at each scrape: the ledger, the nodes, its uploads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    Gauge, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::by_node::{BY_NODE, ByNode, NodeFigures};
use super::process::ProcessMetrics;
use super::{Builder, HttpMetrics, set, text};
use crate::domain::NodeId;

/// How uploads end.
const OUTCOMES: [&str; 4] = ["stored", "duplicate", "healed", "failed"];
/// The states of replicas. Those on nodes that are out are counted apart, as they count for nothing.
const REPLICA_STATES: [&str; 4] = ["pending", "stored", "bad", "out"];
/// The states of nodes.
const NODE_STATES: [&str; 3] = ["healthy", "silent", "out"];
/// What the ledger's time is measured of.
const LEDGER_CALLS: [&str; 3] = ["decide_upload", "read", "write"];
/// Kilometres: a city, a region, a continent, the world.
const DISTANCE_BUCKETS: [f64; 9] = [50.0, 200.0, 500.0, 1000.0, 2000.0, 4000.0, 8000.0, 12000.0, 20100.0];
/// Seconds: a look-up takes less than the first, a commit waits for a sync of the disk.
const LEDGER_BUCKETS: [f64; 11] = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.1, 0.25, 1.0, 5.0, 15.0];

/// A central's metrics. Cloning shares them.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Its requests.
    pub http: HttpMetrics,
    process: ProcessMetrics,
    uploads: IntCounterVec,
    upload_received_bytes: IntCounter,
    upload_sent_bytes: IntCounter,
    stored_bytes: IntCounter,
    duplicates: IntCounterVec,
    saved_bytes: IntCounterVec,
    uploads_running: IntGauge,
    upload_slots: IntGauge,
    uploads_unfinished: IntGauge,
    placements: IntCounterVec,
    placements_refused: IntCounterVec,
    redirect_km: Histogram,
    ledger_decide: Histogram,
    ledger_read: Histogram,
    ledger_write: Histogram,
    ledger_up: IntGauge,
    ledger_queue: IntGauge,
    ledger_file_bytes: IntGauge,
    ledger_disk_free_bytes: IntGauge,
    files: IntGauge,
    blobs: IntGauge,
    blob_bytes: IntGauge,
    replicas: IntGaugeVec,
    oldest_pending: Gauge,
    copies_missing: IntGauge,
    nodes: IntGaugeVec,
    by_node: ByNode,
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

/// Where a duplicate was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// Before it was sent.
    Precheck,
    /// When it had been sent.
    Decide,
}

impl Found {
    const fn label(self) -> &'static str {
        match self {
            Self::Precheck => "precheck",
            Self::Decide => "decide",
        }
    }
}

/// Why an upload was not placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unplaced {
    /// Nodes are there, and fewer than two have room.
    NoRoom,
    /// Fewer than two nodes are healthy.
    TooFewNodes,
}

impl Unplaced {
    const fn label(self) -> &'static str {
        match self {
            Self::NoRoom => "no_room",
            Self::TooFewNodes => "too_few_nodes",
        }
    }
}

/// What is read off the ledger and the membership at each scrape.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Visible files.
    pub files: u64,
    /// Blobs with a file.
    pub blobs: u64,
    /// Their bytes, each counted once.
    pub blob_bytes: u64,
    /// Replicas that are pending, stored on a node that counts, bad, and stored on one that is out.
    pub replicas: [u64; 4],
    /// Nodes that are healthy, silent and out.
    pub nodes: [u64; 3],
    /// Each node.
    pub by_node: Vec<NodeFigures>,
    /// Uploads that run now.
    pub uploads_running: u64,
    /// Uploads that can run at once.
    pub upload_slots: u64,
    /// Resumable uploads that are neither decided nor ended.
    pub uploads_unfinished: u64,
    /// Since the decision of the pending replica that waits longest.
    pub oldest_pending: Duration,
    /// Calls that wait for the ledger's writer.
    pub ledger_queue: u64,
    /// Bytes of the ledger's files.
    pub ledger_file_bytes: u64,
    /// Bytes that are free on the ledger's disk.
    pub ledger_disk_free_bytes: u64,
}

impl Metrics {
    /// All families, at zero.
    ///
    /// # Errors
    /// When a name or label is none that Prometheus takes, which a test would have told.
    pub fn new() -> Result<Self, prometheus::Error> {
        let build = Builder::new();
        let ledger = HistogramOpts::new(
            "closeby_ledger_seconds",
            "Time of calls to the ledger: any read, any write, and of writes the decision on an upload",
        );
        let ledger = build.add(HistogramVec::new(ledger.buckets(LEDGER_BUCKETS.to_vec()), &["call"]))?;
        let [ledger_decide, ledger_read, ledger_write] =
            LEDGER_CALLS.map(|call| ledger.with_label_values(&[call]));
        let km = HistogramOpts::new(
            "closeby_redirect_kilometres",
            "Distance from people to the replica they were sent to",
        );
        let placements =
            Opts::new("closeby_placements_total", "Replicas of uploads that were placed, by storage server");
        let found = [Found::Precheck.label(), Found::Decide.label()];
        Ok(Self {
            http: HttpMetrics::new(&build)?,
            process: ProcessMetrics::new(&build, "central")?,
            uploads: build.counters("closeby_uploads_total", "Uploads that ended, by outcome", "outcome", &OUTCOMES)?,
            upload_received_bytes: build.counter("closeby_upload_received_bytes_total", "Bytes of uploads that came in")?,
            upload_sent_bytes: build.counter("closeby_upload_sent_bytes_total", "Bytes of uploads that went on to storage servers")?,
            stored_bytes: build.counter("closeby_stored_bytes_total", "Bytes of new content, each counted once")?,
            duplicates: build.counters("closeby_duplicates_total", "Files that were here already, by where that was found", "found", &found)?,
            saved_bytes: build.counters("closeby_saved_bytes_total", "Bytes of duplicates, which were not stored again", "found", &found)?,
            uploads_running: build.gauge("closeby_uploads_running", "Uploads that run now")?,
            upload_slots: build.gauge("closeby_upload_slots", "Uploads that can run at once")?,
            uploads_unfinished: build.gauge("closeby_uploads_unfinished", "Resumable uploads that are neither decided nor ended")?,
            placements: build.add(IntCounterVec::new(placements, &BY_NODE))?,
            placements_refused: build.counters(
                "closeby_placements_refused_total",
                "Uploads that could not be placed, by reason",
                "reason",
                &[Unplaced::NoRoom.label(), Unplaced::TooFewNodes.label()],
            )?,
            redirect_km: build.add(Histogram::with_opts(km.buckets(DISTANCE_BUCKETS.to_vec())))?,
            ledger_decide,
            ledger_read,
            ledger_write,
            // It was opened before anything is counted.
            ledger_up: build.gauge_at("closeby_ledger_up", "Whether the ledger answered this scrape; where not, its gauges are older", 1)?,
            ledger_queue: build.gauge("closeby_ledger_queue", "Calls that wait for the ledger's writer")?,
            ledger_file_bytes: build.gauge("closeby_ledger_file_bytes", "Bytes of the ledger's files")?,
            ledger_disk_free_bytes: build.gauge("closeby_ledger_disk_free_bytes", "Bytes that are free on the ledger's disk")?,
            files: build.gauge("closeby_files", "Visible files")?,
            blobs: build.gauge("closeby_blobs", "Blobs with a file")?,
            blob_bytes: build.gauge("closeby_blob_bytes", "Bytes of the blobs, each counted once")?,
            replicas: build.gauges(
                "closeby_replicas",
                "Replicas, by state: pending ones wait to be finished, those that are out lie on a server that is",
                &["state"],
            )?,
            oldest_pending: build.add(Gauge::new(
                "closeby_oldest_pending_seconds",
                "Time since the decision of the pending replica that waits longest; 0 where none does",
            ))?,
            copies_missing: build.gauge(
                "closeby_copies_missing",
                "Copies that lack to two good ones of each blob, where none has more than two",
            )?,
            nodes: build.gauges("closeby_nodes", "Storage servers, by state", &["state"])?,
            by_node: ByNode::new(&build)?,
            registry: build.0,
        })
    }

    /// An upload ended.
    pub fn upload_ended(&self, how: Ended) {
        let outcome = match how {
            Ended::Stored(bytes) => {
                self.stored_bytes.inc_by(bytes);
                "stored"
            }
            Ended::Duplicate(bytes) => {
                self.duplicate(Found::Decide, bytes);
                "duplicate"
            }
            Ended::Healed(_) => "healed",
            Ended::Failed => "failed",
        };
        self.uploads.with_label_values(&[outcome]).inc();
    }

    /// A file of so many bytes is here already.
    pub fn duplicate(&self, found: Found, bytes: u64) {
        self.duplicates.with_label_values(&[found.label()]).inc();
        self.saved_bytes.with_label_values(&[found.label()]).inc_by(bytes);
    }

    /// Bytes of an upload came in, and went on to so many nodes.
    pub fn upload_bytes(&self, bytes: u64, nodes: u64) {
        self.upload_received_bytes.inc_by(bytes);
        self.upload_sent_bytes.inc_by(bytes.saturating_mul(nodes));
    }

    /// A replica of an upload is to lie on this node.
    pub fn placed(&self, node: NodeId, place: &str) {
        self.placements.with_label_values(&[node.to_string().as_str(), place]).inc();
    }

    /// An upload could not be placed.
    pub fn unplaced(&self, why: Unplaced) {
        self.placements_refused.with_label_values(&[why.label()]).inc();
    }

    /// Somebody was sent to a replica so many kilometres away.
    pub fn redirected(&self, km: f64) {
        self.redirect_km.observe(km);
    }

    /// A decision took so many seconds.
    pub fn decided(&self, seconds: f64) {
        self.ledger_decide.observe(seconds);
    }

    /// A call to the ledger took so long.
    pub fn ledger_called(&self, is_write: bool, took: Duration) {
        let histogram = if is_write { &self.ledger_write } else { &self.ledger_read };
        histogram.observe(took.as_secs_f64());
    }

    fn set(&self, standing: &Standing) {
        set(&self.files, standing.files);
        set(&self.blobs, standing.blobs);
        set(&self.blob_bytes, standing.blob_bytes);
        for (state, count) in REPLICA_STATES.iter().zip(standing.replicas) {
            set(&self.replicas.with_label_values(&[*state]), count);
        }
        self.oldest_pending.set(standing.oldest_pending.as_secs_f64());
        let [pending, stored, ..] = standing.replicas;
        set(&self.copies_missing, (2 * standing.blobs).saturating_sub(pending + stored));
        for (state, count) in NODE_STATES.iter().zip(standing.nodes) {
            set(&self.nodes.with_label_values(&[*state]), count);
        }
        set(&self.uploads_running, standing.uploads_running);
        set(&self.upload_slots, standing.upload_slots);
        set(&self.uploads_unfinished, standing.uploads_unfinished);
        set(&self.ledger_queue, standing.ledger_queue);
        set(&self.ledger_file_bytes, standing.ledger_file_bytes);
        set(&self.ledger_disk_free_bytes, standing.ledger_disk_free_bytes);
        self.by_node.set(&standing.by_node);
        for node in &standing.by_node {
            // At zero before its first one, so that a rate sees it.
            self.placements.with_label_values(&[node.id.to_string().as_str(), node.place.as_str()]);
        }
    }

    /// Whether the ledger answered the last scrape; before the first, it did.
    #[must_use]
    pub fn is_ledger_up(&self) -> bool {
        self.ledger_up.get() == 1
    }

    /// The text that Prometheus reads. Without a standing, as the ledger did not tell it, the gauges stay as
    /// they were.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn scrape(&self, standing: Option<&Standing>) -> Result<Vec<u8>, prometheus::Error> {
        self.ledger_up.set(i64::from(standing.is_some()));
        if let Some(standing) = standing {
            self.set(standing);
        }
        self.process.look();
        let mut text = text(&self.registry)?;
        // A family without a node is left out by the encoder; who looks for it by name is to find it.
        let placements: [&dyn Collector; 1] = [&self.placements];
        let families = self.by_node.families().into_iter().chain(placements);
        let mut absent = BTreeMap::new();
        for desc in families.flat_map(Collector::desc) {
            let kind = if desc.fq_name.ends_with("_total") { "counter" } else { "gauge" };
            absent.insert(desc.fq_name.clone(), (desc.help.clone(), kind));
        }
        for family in self.registry.gather() {
            absent.remove(family.name());
        }
        let mut heads = String::new();
        for (name, (help, kind)) in absent {
            let _ = write!(heads, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
        }
        text.extend_from_slice(heads.as_bytes());
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::metrics::RouteClass;

    fn scraped(metrics: &Metrics, standing: &Standing) -> String {
        String::from_utf8(metrics.scrape(Some(standing)).unwrap()).unwrap()
    }

    #[test]
    fn every_family_is_there_from_the_first_scrape() {
        let metrics = Metrics::new().unwrap();
        let first = scraped(&metrics, &Standing::default());
        for line in [
            "closeby_uploads_total{outcome=\"healed\"} 0",
            "closeby_nodes{state=\"out\"} 0",
            "closeby_ledger_seconds_count{call=\"decide_upload\"} 0",
            "closeby_http_requests_total{route=\"static\",status=\"5xx\"} 0",
            "closeby_placements_refused_total{reason=\"no_room\"} 0",
            "# TYPE closeby_placements_total counter",
            "# TYPE closeby_node_free_bytes gauge",
        ] {
            assert!(first.contains(line), "{line} in {first}");
        }
        let node = NodeFigures {
            id: NodeId::random(),
            place: "Toronto".to_owned(),
            is_healthy: true,
            is_out: false,
            total_bytes: Some(10),
            free_bytes: Some(7),
            silent_for: Some(Duration::from_secs(1)),
            replicas: 1,
        };
        let standing = Standing { by_node: vec![node.clone()], ..Standing::default() };
        let later = scraped(&metrics, &standing);
        let families = |text: &str| -> Vec<String> {
            let mut names: Vec<String> =
                text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).map(ToOwned::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(families(&first), families(&later), "the same families, each once");
        let mut once = families(&later);
        once.dedup();
        assert_eq!(once, families(&later));
        let free = format!("closeby_node_free_bytes{{node=\"{}\",place=\"Toronto\"}} 7", node.id);
        assert!(later.contains(&free), "{later}");
        // A node that is gone is not remembered.
        assert!(!scraped(&metrics, &Standing::default()).contains(&free));
    }

    #[test]
    fn what_happened_is_counted_where_it_belongs() {
        let metrics = Metrics::new().unwrap();
        metrics.upload_ended(Ended::Duplicate(7));
        metrics.duplicate(Found::Precheck, 5);
        metrics.upload_bytes(10, 2);
        metrics.http.answered(RouteClass::Api, 200, 0.1);
        metrics.http.answered(RouteClass::Api, 999, 0.1);
        metrics.ledger_called(true, Duration::from_millis(2));
        metrics.unplaced(Unplaced::TooFewNodes);
        let standing = Standing { blobs: 3, replicas: [1, 3, 1, 1], ..Standing::default() };
        let text = scraped(&metrics, &standing);
        for line in [
            "closeby_saved_bytes_total{found=\"decide\"} 7",
            "closeby_saved_bytes_total{found=\"precheck\"} 5",
            "closeby_duplicates_total{found=\"precheck\"} 1",
            "closeby_upload_received_bytes_total 10",
            "closeby_upload_sent_bytes_total 20",
            "closeby_http_requests_total{route=\"api\",status=\"5xx\"} 1",
            "closeby_ledger_seconds_count{call=\"write\"} 1",
            "closeby_placements_refused_total{reason=\"too_few_nodes\"} 1",
            "closeby_copies_missing 2",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn gauges_stay_and_counters_go_on_while_the_ledger_fails() {
        let metrics = Metrics::new().unwrap();
        assert!(metrics.is_ledger_up());
        let standing = Standing { blobs: 3, ..Standing::default() };
        assert!(scraped(&metrics, &standing).contains("\ncloseby_ledger_up 1\n"));
        metrics.upload_ended(Ended::Failed);
        let text = String::from_utf8(metrics.scrape(None).unwrap()).unwrap();
        for line in ["closeby_ledger_up 0", "closeby_blobs 3", "closeby_uploads_total{outcome=\"failed\"} 1"]
        {
            assert!(text.contains(line), "{line} in {text}");
        }
        assert!(!metrics.is_ledger_up());
        assert!(scraped(&metrics, &standing).contains("\ncloseby_ledger_up 1\n"));
    }
}
