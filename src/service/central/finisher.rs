//! Completes what was decided and not confirmed: a background worker's one step.

use std::sync::Arc;
use std::time::Duration;

use super::complete::Completion;
use crate::cluster::membership::Membership;
use crate::ledger::{Ledger, LedgerError};

/// A replica is taken up when its decision is so old: until then its upload is at it.
const AGE: Duration = Duration::from_secs(20);
/// Replicas of a node a step.
const BATCH: usize = 100;

/// Drives pending replicas, and forgets old outcomes.
pub struct Finisher {
    ledger: Arc<dyn Ledger>,
    membership: Arc<Membership>,
    completion: Completion,
}

impl Finisher {
    /// With its collaborators.
    #[must_use]
    pub const fn new(ledger: Arc<dyn Ledger>, membership: Arc<Membership>, completion: Completion) -> Self {
        Self { ledger, membership, completion }
    }

    /// One step; says how many replicas it finished.
    ///
    /// # Errors
    /// When the ledger fails; the next step goes on.
    pub async fn step(&self) -> Result<usize, LedgerError> {
        let mut pending = Vec::new();
        // Node by node, so that those of one that is away hold up no others.
        for member in self.membership.all_healthy() {
            pending.extend(self.ledger.pending_replicas(member.id, AGE, BATCH).await?);
        }
        let mut finished = 0;
        for replica in pending {
            let outcome = self
                .completion
                .finish_pending(
                    replica.node,
                    replica.upload,
                    replica.digests.sha1,
                    replica.generation,
                    &replica.files,
                )
                .await;
            match outcome {
                Ok(()) => finished += 1,
                Err(error) => tracing::debug!(node = %replica.node, %error, "a replica is still pending"),
            }
        }
        self.ledger.forget_outcomes(Duration::from_hours(24), BATCH).await?;
        Ok(finished)
    }
}
