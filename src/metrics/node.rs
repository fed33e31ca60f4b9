//! What a node counts.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use prometheus::{Gauge, IntCounter, IntGauge, Registry};

use super::http::HttpMetrics;
use super::process::ProcessMetrics;
use super::{Builder, set, text};

/// What is read off a node's store and service at each scrape.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeStanding {
    /// How full its store is; none where that cannot be told.
    pub fullness: Option<Fullness>,
    /// Uploads whose bytes it takes now.
    pub receiving: u64,
    /// Downloads and copies that it sends now.
    pub sending: u64,
    /// Bytes that it took since its start.
    pub received_bytes: u64,
    /// Bytes that it read to be sent since its start.
    pub sent_bytes: u64,
}

/// How full a node's store is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fullness {
    /// Bytes of its filesystem.
    pub total_bytes: u64,
    /// Bytes that an upload can reserve.
    pub free_bytes: u64,
    /// Sessions that live now.
    pub sessions: u64,
    /// Of these, the prepared ones.
    pub prepared: u64,
}

/// A node's metrics. Cloning shares them.
#[derive(Debug, Clone)]
pub struct NodeMetrics {
    registry: Registry,
    /// Its requests.
    pub http: HttpMetrics,
    process: ProcessMetrics,
    up: IntGauge,
    total_bytes: IntGauge,
    free_bytes: IntGauge,
    sessions: IntGauge,
    prepared: IntGauge,
    receiving: IntGauge,
    sending: IntGauge,
    received_bytes: IntCounter,
    sent_bytes: IntCounter,
    beats_accepted: IntCounter,
    beats_failed: IntCounter,
    beat_age: Gauge,
    /// The last beat that central counted; before the first, the start.
    last_beat: Arc<Mutex<Instant>>,
    disk_errors: IntCounter,
    digests_verified: IntCounter,
    digests_refused: IntCounter,
}

impl NodeMetrics {
    /// All families, at zero.
    ///
    /// # Errors
    /// When a name or label is none that Prometheus takes, which a test would have told.
    pub fn new() -> Result<Self, prometheus::Error> {
        let build = Builder::new();
        let beats = build.counters(
            "closeby_storage_heartbeats_total",
            "Heartbeats, by whether central counted them",
            "outcome",
            &["accepted", "failed"],
        )?;
        let digests = build.counters(
            "closeby_storage_digests_total",
            "Uploads whose content was checked: verified, or refused for a wrong digest or a collision",
            "outcome",
            &["verified", "refused"],
        )?;
        Ok(Self {
            http: HttpMetrics::new(&build)?,
            process: ProcessMetrics::new(&build, "node")?,
            // It was opened before anything is counted.
            up: build.gauge_at(
                "closeby_storage_up",
                "Whether the store answered this scrape; where not, its gauges are older",
                1,
            )?,
            total_bytes: build.gauge("closeby_storage_total_bytes", "Bytes of the filesystem")?,
            free_bytes: build.gauge("closeby_storage_free_bytes", "Bytes that uploads can reserve")?,
            sessions: build
                .gauge("closeby_storage_sessions", "Uploads on their way, also those that rest")?,
            prepared: build
                .gauge("closeby_storage_prepared_sessions", "Uploads that wait for central's decision")?,
            receiving: build.gauge("closeby_storage_receiving", "Uploads whose bytes come in now")?,
            sending: build.gauge("closeby_storage_sending", "Downloads and copies that go out now")?,
            received_bytes: build
                .counter("closeby_storage_received_bytes_total", "Bytes of uploads that came in")?,
            sent_bytes: build
                .counter("closeby_storage_sent_bytes_total", "Bytes of blobs that were read to be sent")?,
            beats_accepted: beats.with_label_values(&["accepted"]),
            beats_failed: beats.with_label_values(&["failed"]),
            beat_age: build.add(Gauge::new(
                "closeby_storage_last_beat_age_seconds",
                "Time since central counted a heartbeat",
            ))?,
            last_beat: Arc::new(Mutex::new(Instant::now())),
            disk_errors: build
                .counter("closeby_storage_disk_errors_total", "Calls that failed because the disk did")?,
            digests_verified: digests.with_label_values(&["verified"]),
            digests_refused: digests.with_label_values(&["refused"]),
            registry: build.0,
        })
    }

    /// Central counted a heartbeat, or did not.
    pub fn beat(&self, is_accepted: bool) {
        if is_accepted {
            self.beats_accepted.inc();
            *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        } else {
            self.beats_failed.inc();
        }
    }

    /// A call failed because the disk did.
    pub fn disk_failed(&self) {
        self.disk_errors.inc();
    }

    /// An upload's content was checked.
    pub fn digest(&self, is_right: bool) {
        if is_right { self.digests_verified.inc() } else { self.digests_refused.inc() }
    }

    /// Whether the store answered the last scrape; before the first, it did.
    #[must_use]
    pub fn is_store_up(&self) -> bool {
        self.up.get() == 1
    }

    /// The text that Prometheus reads. What the store does not tell stays as it was.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn scrape(&self, standing: &NodeStanding) -> Result<Vec<u8>, prometheus::Error> {
        self.up.set(i64::from(standing.fullness.is_some()));
        if let Some(fullness) = standing.fullness {
            set(&self.total_bytes, fullness.total_bytes);
            set(&self.free_bytes, fullness.free_bytes);
            set(&self.sessions, fullness.sessions);
            set(&self.prepared, fullness.prepared);
        }
        set(&self.receiving, standing.receiving);
        set(&self.sending, standing.sending);
        let raise = |counter: &IntCounter, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
        raise(&self.received_bytes, standing.received_bytes);
        raise(&self.sent_bytes, standing.sent_bytes);
        let last_beat = *self.last_beat.lock().unwrap_or_else(PoisonError::into_inner);
        self.beat_age.set(last_beat.elapsed().as_secs_f64());
        self.process.look();
        text(&self.registry)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_node_counts_from_the_first_scrape_too() {
        let metrics = NodeMetrics::new().unwrap();
        let text = |standing| String::from_utf8(metrics.scrape(&standing).unwrap()).unwrap();
        let first = text(NodeStanding::default());
        for line in [
            "closeby_storage_heartbeats_total{outcome=\"failed\"} 0",
            "closeby_storage_digests_total{outcome=\"refused\"} 0",
            "closeby_storage_disk_errors_total 0",
            "closeby_build_info{role=\"node\"",
        ] {
            assert!(first.contains(line), "{line} in {first}");
        }
        metrics.beat(false);
        metrics.digest(true);
        let later = text(NodeStanding { received_bytes: 5, ..NodeStanding::default() });
        for line in [
            "closeby_storage_heartbeats_total{outcome=\"failed\"} 1",
            "closeby_storage_digests_total{outcome=\"verified\"} 1",
            "closeby_storage_received_bytes_total 5",
        ] {
            assert!(later.contains(line), "{line} in {later}");
        }
    }
}
