//! What is counted, for Prometheus. Every family is there from the first scrape on.
//!
//! Here is what all of them share: families that are made and registered at once, and the text of a scrape.

mod by_node;
mod central;
mod http;
mod node;
mod process;

use prometheus::core::Collector;
use prometheus::{
    Encoder as _, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

pub use by_node::NodeFigures;
pub use central::{Ended, Found, Metrics, Standing, Unplaced};
pub use http::{HttpMetrics, RouteClass};
pub use node::{Fullness, NodeMetrics, NodeStanding};

/// A registry under construction.
struct Builder(Registry);

impl Builder {
    /// With nothing in it.
    fn new() -> Self {
        Self(Registry::new())
    }

    fn add<C: Collector + Clone + 'static>(
        &self,
        collector: Result<C, prometheus::Error>,
    ) -> Result<C, prometheus::Error> {
        let collector = collector?;
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.add(IntGauge::new(name, help))
    }

    fn gauge_at(&self, name: &str, help: &str, at: i64) -> Result<IntGauge, prometheus::Error> {
        let gauge = self.gauge(name, help)?;
        gauge.set(at);
        Ok(gauge)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.add(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.add(IntCounter::new(name, help))
    }

    /// With one label, each of whose values is there from the start.
    fn counters(
        &self,
        name: &str,
        help: &str,
        label: &str,
        values: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        let counters = self.add(IntCounterVec::new(Opts::new(name, help), &[label]))?;
        for value in values {
            counters.with_label_values(&[*value]);
        }
        Ok(counters)
    }
}

fn set(gauge: &IntGauge, to: u64) {
    gauge.set(i64::try_from(to).unwrap_or(i64::MAX));
}

fn text(registry: &Registry) -> Result<Vec<u8>, prometheus::Error> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}
