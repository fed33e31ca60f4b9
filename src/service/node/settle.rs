//! Prepared sessions that nobody calls for any more: central says what becomes of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{NodeService, Result};
use crate::blobs::PreparedSession;
use crate::cluster::agent::Agent;
use crate::domain::{Generation, Sha1};
use crate::wire::PROTOCOL;
use crate::wire::cluster::{ConfirmRequest, OutcomeAnswer, OutcomeRequest};

/// No more are remembered: central repeats a finish that it hears nothing of.
const MAX_PENDING: usize = 10_000;

/// What was finished and central has not heard of yet.
#[derive(Default)]
pub(super) struct PendingConfirms(Mutex<BTreeMap<Sha1, Generation>>);

impl PendingConfirms {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Sha1, Generation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, sha1: Sha1, generation: Generation) {
        let mut pending = self.lock();
        if pending.len() < MAX_PENDING {
            pending.insert(sha1, generation);
        }
    }

    fn next(&self) -> Option<(Sha1, Generation)> {
        self.lock().first_key_value().map(|(sha1, generation)| (*sha1, *generation))
    }

    fn remove(&self, sha1: Sha1, generation: Generation) {
        let mut pending = self.lock();
        if pending.get(&sha1) == Some(&generation) {
            pending.remove(&sha1);
        }
    }
}

impl NodeService {
    /// Asks central about each prepared session that was quiet for so long, and finishes,
    /// aborts or keeps it. No answer, or one that does not fit: it is kept (I4). Says how many
    /// came to their end.
    ///
    /// # Errors
    /// What the store fails with when it is asked for its sessions.
    pub async fn settle(&self, central: &Agent, quiet_for: Duration) -> Result<usize> {
        let mut settled = 0;
        let is_quiet = |session: &PreparedSession| session.quiet_for >= quiet_for;
        let sessions = self.store().prepared_sessions().await?;
        for session in sessions.into_iter().filter(is_quiet) {
            let request = OutcomeRequest {
                protocol: PROTOCOL,
                upload: session.upload,
                sha1: session.digests.sha1,
                decide_before: session.decide_before,
            };
            let answer = match central.outcome(&request).await {
                Ok(answer) => answer,
                Err(error) => {
                    tracing::debug!(upload = session.upload.short(), %error, "a prepared session is kept");
                    // The next call would fail the same way; it is tried again at the next step.
                    break;
                }
            };
            settled += usize::from(self.carry_out(&session, answer).await);
        }
        self.confirm_pending(central).await;
        Ok(settled)
    }

    async fn carry_out(&self, session: &PreparedSession, answer: OutcomeAnswer) -> bool {
        let upload = session.upload;
        let result = match answer {
            OutcomeAnswer::Keep => return false,
            OutcomeAnswer::Abort => self.store().abort(upload).await.map_err(Into::into),
            OutcomeAnswer::Finish(finish) if finish.sha1 == session.digests.sha1 => {
                let generation = finish.generation;
                let finished = self.finish_session(upload, finish).await;
                if finished.is_ok() {
                    self.pending_confirms.add(session.digests.sha1, generation);
                }
                finished
            }
            OutcomeAnswer::Finish(finish) => {
                let (holds, wanted) = (session.digests.sha1, finish.sha1);
                tracing::error!(upload = upload.short(), %holds, %wanted, "central decided another content for a session");
                return false;
            }
        };
        if let Err(error) = &result {
            tracing::error!(upload = upload.short(), %error, "central's decision on a session cannot be carried out");
        }
        result.is_ok()
    }

    async fn confirm_pending(&self, central: &Agent) {
        while let Some((sha1, generation)) = self.pending_confirms.next() {
            let request = ConfirmRequest { protocol: PROTOCOL, sha1, generation };
            match central.confirm(&request).await {
                Ok(()) => self.pending_confirms.remove(sha1, generation),
                Err(error) => {
                    tracing::debug!(%sha1, %error, "central did not take that a blob is final; asked again");
                    return;
                }
            }
        }
    }
}
