//! What a node does in the background.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::cluster::agent::{Agent, Vitals};
use crate::metrics::NodeMetrics;
use crate::service::node::{NodeError, NodeService, Traffic};
use crate::tasks::{Next, Worker};
use crate::wire::cluster::Activity;

/// From one heartbeat to the next.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// The same before central heard the first one: at a start in company it is soon there.
const FIRST_BEAT_EVERY: Duration = Duration::from_secs(1);
/// From one look at idle sessions to the next.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// From one look at quiet prepared sessions to the next, at most.
const SETTLE_EVERY: Duration = Duration::from_secs(10);

/// What a heartbeat says of the store.
pub(super) async fn vitals(service: &NodeService, activity: Activity) -> Result<Vitals, NodeError> {
    let capacity = service.capacity().await?;
    Ok(Vitals {
        total_bytes: capacity.total_bytes,
        free_bytes: capacity.free_bytes,
        sessions: capacity.sessions,
        activity,
    })
}

/// What a node does, from what moved through it before and what did by now.
fn activity(before: Traffic, now: Traffic, passed: Duration) -> Activity {
    // A beat that follows at once would make much of little.
    let rate = |before: u64, now: u64| {
        let bytes = u128::from(now.saturating_sub(before)) * 1000;
        u64::try_from(bytes / passed.as_millis().max(100)).unwrap_or(u64::MAX)
    };
    Activity {
        receiving: now.receiving,
        sending: now.sending,
        received_bytes_per_s: rate(before.received_bytes, now.received_bytes),
        sent_bytes_per_s: rate(before.sent_bytes, now.sent_bytes),
    }
}

/// Tells central that the node is there.
pub(super) struct Heartbeats {
    agent: Arc<Agent>,
    service: Arc<NodeService>,
    was_heard: bool,
    /// What had moved at the last beat, and when that was.
    last: (Traffic, Instant),
    metrics: NodeMetrics,
}

impl Heartbeats {
    pub(super) fn new(agent: Arc<Agent>, service: Arc<NodeService>, metrics: NodeMetrics) -> Self {
        let last = (service.traffic(), Instant::now());
        Self { agent, service, was_heard: false, last, metrics }
    }
}

#[async_trait]
impl Worker for Heartbeats {
    fn name(&self) -> &'static str {
        "heartbeats"
    }

    fn can_be_interrupted(&self) -> bool {
        true
    }

    async fn step(&mut self) -> Next {
        let (before, since) = std::mem::replace(&mut self.last, (self.service.traffic(), Instant::now()));
        let activity = activity(before, self.last.0, since.elapsed());
        match vitals(&self.service, activity).await {
            // The agent logs what changes.
            Ok(vitals) => {
                let is_heard = self.agent.beat(vitals).await.is_ok();
                self.metrics.beat(is_heard);
                self.was_heard |= is_heard;
            }
            Err(error) => {
                self.metrics.beat(false);
                tracing::error!(%error, "the store does not say how full it is: no heartbeat");
            }
        }
        Next::After(if self.was_heard { BEAT_EVERY } else { FIRST_BEAT_EVERY })
    }
}

/// Ends sessions that nobody calls for.
pub(super) struct Janitor {
    service: Arc<NodeService>,
}

impl Janitor {
    pub(super) const fn new(service: Arc<NodeService>) -> Self {
        Self { service }
    }
}

#[async_trait]
impl Worker for Janitor {
    fn name(&self) -> &'static str {
        "janitor"
    }

    async fn step(&mut self) -> Next {
        match self.service.expire_sessions().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "sessions that nobody called for were ended"),
            Err(error) => tracing::error!(%error, "idle sessions cannot be ended"),
        }
        Next::After(EXPIRE_EVERY)
    }
}

/// Asks central about prepared sessions that nobody called for.
pub(super) struct Settling {
    agent: Arc<Agent>,
    service: Arc<NodeService>,
    ask_after: Duration,
}

impl Settling {
    pub(super) const fn new(agent: Arc<Agent>, service: Arc<NodeService>, ask_after: Duration) -> Self {
        Self { agent, service, ask_after }
    }
}

#[async_trait]
impl Worker for Settling {
    fn name(&self) -> &'static str {
        "settling"
    }

    async fn step(&mut self) -> Next {
        match self.service.settle(&self.agent, self.ask_after).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "prepared sessions came to their end by central's word"),
            Err(error) => tracing::error!(%error, "prepared sessions cannot be listed"),
        }
        Next::After((self.ask_after / 2).clamp(Duration::from_millis(50), SETTLE_EVERY))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_of_the_time_since_the_last_beat() {
        let before = Traffic { receiving: 0, sending: 9, received_bytes: 1_000, sent_bytes: 500 };
        let now = Traffic { receiving: 3, sending: 2, received_bytes: 11_000, sent_bytes: 500 };
        let done = activity(before, now, Duration::from_secs(5));
        let expected =
            Activity { receiving: 3, sending: 2, received_bytes_per_s: 2_000, sent_bytes_per_s: 0 };
        assert_eq!(done, expected);
        assert_eq!(activity(before, now, Duration::ZERO).received_bytes_per_s, 100_000);
        assert_eq!(activity(now, before, Duration::from_secs(1)).received_bytes_per_s, 0);
    }
}
