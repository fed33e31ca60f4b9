//! What a node does in the background.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::cluster::agent::{Agent, Vitals};
use crate::service::node::{NodeError, NodeService};
use crate::tasks::{Next, Worker};

/// From one heartbeat to the next.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// The same before central heard the first one: at a start in company it is soon there.
const FIRST_BEAT_EVERY: Duration = Duration::from_secs(1);
/// From one look at idle sessions to the next.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);
/// From one look at quiet prepared sessions to the next, at most.
const SETTLE_EVERY: Duration = Duration::from_secs(10);

/// What a heartbeat says of the store.
pub(super) async fn vitals(service: &NodeService) -> Result<Vitals, NodeError> {
    let capacity = service.capacity().await?;
    Ok(Vitals {
        total_bytes: capacity.total_bytes,
        free_bytes: capacity.free_bytes,
        sessions: capacity.sessions,
    })
}

/// Tells central that the node is there.
pub(super) struct Heartbeats {
    agent: Arc<Agent>,
    service: Arc<NodeService>,
    was_heard: bool,
}

impl Heartbeats {
    pub(super) const fn new(agent: Arc<Agent>, service: Arc<NodeService>) -> Self {
        Self { agent, service, was_heard: false }
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
        match vitals(&self.service).await {
            // The agent logs what changes.
            Ok(vitals) => self.was_heard |= self.agent.beat(vitals).await.is_ok(),
            Err(error) => tracing::error!(%error, "the store does not say how full it is: no heartbeat"),
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
