//! Completing an upload: decide in the ledger, finish on the nodes, confirm. It takes an
//! upload id and receipts, whoever moved the bytes.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::finish_request;
use crate::cluster::membership::{Member, Membership};
use crate::cluster::node_client::{NodeClient, NodeError};
use crate::domain::{BlobDigests, FileName, Generation, MediaType, NodeId, Sha1, UploadId, Viewer};
use crate::ledger::{
    DecideUpload, Decided, Decision, FileRecord, Ledger, LedgerError, Receipt, RefusedReceipts, ReplicaState,
    VisibleBlob,
};
use crate::metrics::{Ended, Metrics};
use crate::trace;
use crate::wire::node::PrepareAnswer;

/// How an upload ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completed {
    /// Stored as new content, or rejected as a duplicate.
    pub outcome: Outcome,
    /// The blob as it stands now.
    pub blob: VisibleBlob,
}

/// Stored or duplicate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// New content: two copies are kept.
    Stored,
    /// The content was here already.
    Duplicate {
        /// Fewer than two good copies were left, and this upload filled them up.
        healed: bool,
    },
}

impl Outcome {
    /// What is counted of an upload of so many bytes.
    const fn ended(self, bytes: u64) -> Ended {
        match self {
            Self::Stored => Ended::Stored(bytes),
            Self::Duplicate { healed: false } => Ended::Duplicate(bytes),
            Self::Duplicate { healed: true } => Ended::Healed(bytes),
        }
    }
}

/// Why an upload could not be completed.
#[derive(Debug, thiserror::Error)]
pub enum CompleteError {
    /// Same SHA-1, other content.
    #[error(
        "SHA-1 {} is taken by other content: stored is SHA-256 {} ({} bytes), sent was SHA-256 {} ({} bytes)",
        .known.sha1, .known.sha256, .known.size, .sent.sha256, .sent.size
    )]
    Conflict {
        /// What is stored.
        known: Box<BlobDigests>,
        /// What was sent.
        sent: Box<BlobDigests>,
    },
    /// The receipts were not taken.
    #[error(transparent)]
    Refused(#[from] RefusedReceipts),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Decided, but not confirmed by both nodes in time; it is completed later.
    #[error("the upload is decided, but its copies are not confirmed yet: ask again soon")]
    Unconfirmed,
}

/// The use case.
#[derive(Clone)]
pub struct Completion {
    ledger: Arc<dyn Ledger>,
    membership: Arc<Membership>,
    nodes: NodeClient,
    metrics: Metrics,
    /// How long finishing may take before the answer is "not confirmed".
    within: Duration,
}

impl Completion {
    /// With its collaborators.
    #[must_use]
    pub const fn new(
        ledger: Arc<dyn Ledger>,
        membership: Arc<Membership>,
        nodes: NodeClient,
        metrics: Metrics,
        within: Duration,
    ) -> Self {
        Self { ledger, membership, nodes, metrics, within }
    }

    /// Decides and finishes an upload that these nodes have prepared. Repeating it is safe.
    ///
    /// # Errors
    /// [`CompleteError`]. Sessions that cannot be used any more are aborted; those that may
    /// still be decided are kept by their nodes, which ask. After [`RefusedReceipts::Late`] the
    /// caller aborts them, or has them prepared anew.
    pub async fn complete(
        &self,
        upload: UploadId,
        viewer: Viewer,
        name: FileName,
        media_type: MediaType,
        prepared: Vec<(Arc<Member>, PrepareAnswer)>,
    ) -> Result<Completed, CompleteError> {
        // As they beat now: the node's key, as it was when a long upload began, may be over.
        let newest =
            |member: &Arc<Member>| self.membership.get(member.id).unwrap_or_else(|| Arc::clone(member));
        let members: Vec<Arc<Member>> = prepared.iter().map(|(member, _)| newest(member)).collect();
        let pieces = prepared.first().map(|(_, receipt)| receipt.pieces.clone()).unwrap_or_default();
        let sent = prepared.first().map(|(_, receipt)| receipt.digests);
        let receipts = prepared
            .into_iter()
            .map(|(member, receipt)| Receipt {
                node: member.id,
                digests: receipt.digests,
                verified_at: receipt.verified_at,
                decide_before: receipt.decide_before,
            })
            .collect();
        let answering = self.membership.all_healthy().iter().map(|member| member.id).collect();
        let begun = Instant::now();
        let question = DecideUpload { upload, viewer, name, media_type, receipts, pieces, answering };
        let deciding = self.ledger.decide_upload(question);
        let decision = trace::timed("central", "ledger decide_upload", deciding).await?;
        self.metrics.decided(begun.elapsed().as_secs_f64());
        let (outcome, decided) = match decision {
            Decision::Stored(decided) => (Outcome::Stored, decided),
            Decision::Duplicate(decided) => {
                (Outcome::Duplicate { healed: !decided.keep.is_empty() }, decided)
            }
            Decision::Conflict(known) => {
                self.abort(upload, members.iter()).await;
                return Err(CompleteError::Conflict {
                    known: Box::new(known),
                    sent: Box::new(sent.unwrap_or(known)),
                });
            }
            // Receipts can be made anew where the sessions go on, so this one's end is for the caller to say.
            Decision::Refused(why @ RefusedReceipts::Late) => return Err(why.into()),
            Decision::Refused(why) => {
                self.abort(upload, members.iter()).await;
                return Err(why.into());
            }
        };
        // Counted here, as from here on it stands, whatever its sender is answered; who only asks again
        // brings no receipts.
        if sent.is_some() {
            self.metrics.upload_ended(outcome.ended(decided.blob.digests.size));
        }
        let carried = async {
            self.settle(upload, &members, &decided).await?;
            self.wait_until_kept(viewer, decided.blob).await
        };
        match carried.await {
            Ok(blob) => Ok(Completed { outcome, blob }),
            Err(CompleteError::Ledger(error)) => {
                tracing::warn!(%error, "what became of a decided upload's copies is not known");
                Err(CompleteError::Unconfirmed)
            }
            Err(error) => Err(error),
        }
    }

    /// Finishes what the decision keeps and aborts the rest, all at once.
    async fn settle(
        &self,
        upload: UploadId,
        members: &[Arc<Member>],
        decided: &Decided,
    ) -> Result<(), CompleteError> {
        let (kept, lost): (Vec<&Arc<Member>>, Vec<&Arc<Member>>) =
            members.iter().partition(|member| decided.keep.contains(&member.id));
        let sha1 = decided.blob.digests.sha1;
        let finishes = kept
            .into_iter()
            .map(|member| self.finish(member, upload, sha1, decided.generation, &decided.files));
        let (finished, ()) =
            tokio::join!(futures_util::future::join_all(finishes), self.abort(upload, lost.into_iter()));
        finished.into_iter().collect()
    }

    /// Has one node finish, and records that it did. A second try follows a first failure; only
    /// a node that fails both is not used before its next beat.
    async fn finish(
        &self,
        member: &Arc<Member>,
        upload: UploadId,
        sha1: Sha1,
        generation: Generation,
        files: &[FileRecord],
    ) -> Result<(), CompleteError> {
        let request = finish_request(sha1, generation, files);
        for is_last in [false, true] {
            let call = self.nodes.finish(member, upload, &request, self.ledger.now());
            match tokio::time::timeout(self.within, call).await {
                Ok(Ok(())) => {
                    self.ledger.confirm_replica(sha1, member.id, generation).await?;
                    return Ok(());
                }
                Ok(Err(error)) if error.is("no-session") => {
                    tracing::error!(node = %member.id, %sha1, "a node lost what it had prepared");
                    self.ledger.mark_replica_bad(sha1, member.id, generation).await?;
                    return Err(CompleteError::Unconfirmed);
                }
                Ok(Err(error)) => self.failed(member, &error, is_last),
                Err(_) => {
                    self.failed(member, &NodeError::Unreachable("it took too long".to_owned()), is_last)
                }
            }
        }
        Err(CompleteError::Unconfirmed)
    }

    fn failed(&self, member: &Member, error: &NodeError, is_last: bool) {
        tracing::warn!(node = %member.id, %error, "a finish was not confirmed");
        if is_last && error.is_nodes_fault() {
            self.membership.suspend(member.id);
        }
    }

    /// Finishes a replica that was decided earlier, if its node answers now.
    ///
    /// # Errors
    /// [`CompleteError::Unconfirmed`] when it does not.
    pub async fn finish_pending(
        &self,
        node: NodeId,
        upload: UploadId,
        sha1: Sha1,
        generation: Generation,
        files: &[FileRecord],
    ) -> Result<(), CompleteError> {
        let Some(member) = self.membership.healthy(node) else { return Err(CompleteError::Unconfirmed) };
        self.finish(&member, upload, sha1, generation, files).await
    }

    /// A blob that is still being finished is waited for: whoever hears "stored" or
    /// "duplicate" finds two copies.
    async fn wait_until_kept(&self, viewer: Viewer, blob: VisibleBlob) -> Result<VisibleBlob, CompleteError> {
        let deadline = Instant::now() + self.within;
        let sha1 = blob.digests.sha1;
        let mut pause = Duration::from_millis(5);
        loop {
            let blob = self.ledger.find_visible(viewer, sha1).await?.ok_or(CompleteError::Unconfirmed)?;
            let usable = blob.replicas.iter().filter(|replica| replica.is_usable());
            let pending: Vec<_> =
                usable.clone().filter(|replica| replica.state == ReplicaState::Pending).cloned().collect();
            if pending.is_empty() && usable.count() >= 2 {
                return Ok(blob);
            }
            if Instant::now() >= deadline {
                return Err(CompleteError::Unconfirmed);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(500));
            // Whoever began it may be gone, so it is finished from here, too.
            if pause >= Duration::from_millis(200) {
                let files = self.ledger.files_of(viewer, sha1, 1000).await?;
                for replica in pending {
                    let _ = self
                        .finish_pending(replica.node, replica.upload, sha1, replica.generation, &files)
                        .await;
                }
            }
        }
    }

    async fn abort(&self, upload: UploadId, members: impl Iterator<Item = &Arc<Member>>) {
        let now = self.ledger.now();
        let aborts = members.map(|member| async move {
            if let Err(error) = self.nodes.abort(member, upload, now).await {
                tracing::debug!(node = %member.id, %error, "an abort was not heard; the node asks later");
            }
        });
        futures_util::future::join_all(aborts).await;
    }
}
