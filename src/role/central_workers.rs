//! What central does in the background.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::geo::{GeoSource, Reload};
use crate::service::central::control::Control;
use crate::service::central::finisher::Finisher;
use crate::service::central::resumable::ResumableService;
use crate::tasks::{Next, Worker};

/// From one step of each to the next.
const EVERY: Duration = Duration::from_secs(5);

/// Finishes replicas that were decided and not confirmed.
pub(super) struct Finishing(pub(super) Finisher);

#[async_trait]
impl Worker for Finishing {
    fn name(&self) -> &'static str {
        "finishing"
    }

    async fn step(&mut self) -> Next {
        if let Err(error) = self.0.step().await {
            tracing::error!(%error, "pending replicas could not be finished");
        }
        Next::After(EVERY)
    }
}

/// Ends resumable uploads whose time is over.
pub(super) struct Expiring(pub(super) ResumableService);

#[async_trait]
impl Worker for Expiring {
    fn name(&self) -> &'static str {
        "expiring"
    }

    async fn step(&mut self) -> Next {
        match self.0.expire().await {
            Ok(0) => {}
            Ok(ended) => tracing::info!(ended, "uploads that were not finished in time are gone"),
            Err(error) => tracing::error!(%error, "uploads whose time is over could not be ended"),
        }
        Next::After(EVERY)
    }
}

/// Records nodes that were silent for too long.
pub(super) struct Absences {
    control: Arc<Control>,
    started: Instant,
}

impl Absences {
    pub(super) fn new(control: Arc<Control>) -> Self {
        Self { control, started: Instant::now() }
    }
}

#[async_trait]
impl Worker for Absences {
    fn name(&self) -> &'static str {
        "absences"
    }

    async fn step(&mut self) -> Next {
        if let Err(error) = self.control.mark_out(self.started.elapsed()).await {
            tracing::error!(%error, "absent nodes could not be recorded");
        }
        Next::After(EVERY)
    }
}

/// Takes up a GeoIP database that replaced the one in use.
pub(super) struct GeoReload(pub(super) Arc<GeoSource>);

#[async_trait]
impl Worker for GeoReload {
    fn name(&self) -> &'static str {
        "geo-reload"
    }

    async fn step(&mut self) -> Next {
        let source = Arc::clone(&self.0);
        // Reading a database of 100 MB takes a while.
        match tokio::task::spawn_blocking(move || source.reload_if_changed()).await {
            Ok(Reload::Unchanged) => {}
            Ok(Reload::Reopened) => tracing::info!("the GeoIP database was replaced and is in use"),
            Ok(Reload::Kept(error)) => {
                tracing::error!(%error, "the new GeoIP database is broken: the old one stays in use");
            }
            Err(error) => tracing::error!(%error, "the GeoIP database could not be looked at"),
        }
        Next::After(EVERY)
    }
}
