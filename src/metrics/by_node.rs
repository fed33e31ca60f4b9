//! What a central says of each node that it knows.

use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{GaugeVec, IntGaugeVec, Opts};

use super::{Builder, set};
use crate::domain::NodeId;

/// What is said of one node.
#[derive(Debug, Clone)]
pub struct NodeFigures {
    /// Which.
    pub id: NodeId,
    /// Where.
    pub place: String,
    /// Whether it is used now.
    pub is_healthy: bool,
    /// Whether its copies no longer count.
    pub is_out: bool,
    /// Bytes of its filesystem, as of its last beat to this central.
    pub total_bytes: Option<u64>,
    /// Bytes that uploads can reserve on it.
    pub free_bytes: Option<u64>,
    /// Since its last beat to this central; none when there was none.
    pub silent_for: Option<Duration>,
    /// Its stored replicas.
    pub replicas: u64,
}

/// What is said of each node. It is set anew at each scrape.
#[derive(Debug, Clone)]
pub(super) struct ByNode {
    up: IntGaugeVec,
    out: IntGaugeVec,
    total_bytes: IntGaugeVec,
    free_bytes: IntGaugeVec,
    beat_age: GaugeVec,
    replicas: IntGaugeVec,
}

/// The labels of what is said of a node.
pub(super) const BY_NODE: [&str; 2] = ["node", "place"];

impl ByNode {
    pub(super) fn new(build: &Builder) -> Result<Self, prometheus::Error> {
        let gauges = |name, help| build.gauges(name, help, &BY_NODE);
        let age = Opts::new("closeby_node_beat_age_seconds", "Time since a storage server's last heartbeat");
        Ok(Self {
            up: gauges("closeby_node_up", "Whether a storage server is used now")?,
            out: gauges(
                "closeby_node_out",
                "Whether a storage server was away for so long that its copies do not count",
            )?,
            total_bytes: gauges("closeby_node_total_bytes", "Bytes of a storage server's filesystem")?,
            free_bytes: gauges(
                "closeby_node_free_bytes",
                "Bytes that uploads can reserve on a storage server",
            )?,
            beat_age: build.add(GaugeVec::new(age, &BY_NODE))?,
            replicas: gauges("closeby_node_replicas", "Stored replicas on a storage server")?,
        })
    }

    pub(super) fn set(&self, nodes: &[NodeFigures]) {
        for family in [&self.up, &self.out, &self.total_bytes, &self.free_bytes, &self.replicas] {
            family.reset();
        }
        self.beat_age.reset();
        for node in nodes {
            let id = node.id.to_string();
            let labels = [id.as_str(), node.place.as_str()];
            self.up.with_label_values(&labels).set(i64::from(node.is_healthy));
            self.out.with_label_values(&labels).set(i64::from(node.is_out));
            set(&self.replicas.with_label_values(&labels), node.replicas);
            if let Some(bytes) = node.total_bytes {
                set(&self.total_bytes.with_label_values(&labels), bytes);
            }
            if let Some(bytes) = node.free_bytes {
                set(&self.free_bytes.with_label_values(&labels), bytes);
            }
            if let Some(silent_for) = node.silent_for {
                self.beat_age.with_label_values(&labels).set(silent_for.as_secs_f64());
            }
        }
    }

    /// Its families, each of which has nothing to show as long as there is no node.
    pub(super) const fn families(&self) -> [&dyn Collector; 6] {
        let Self { up, out, total_bytes, free_bytes, beat_age, replicas } = self;
        [up, out, total_bytes, free_bytes, beat_age, replicas]
    }
}
