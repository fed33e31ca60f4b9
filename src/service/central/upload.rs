//! An upload in one request: its bytes go straight through to two nodes, then
//! [`super::complete`] decides and finishes it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::complete::{CompleteError, Completed, Completion};
use super::pace::Pace;
use super::slots::{Slot, SlotLimits, Slots};
use super::transfer::{Leg, Transfer};
use crate::cluster::membership::{Member, Membership};
use crate::cluster::node_client::{NodeClient, NodeError, WriteLimits};
use crate::domain::{BlobDigests, FileName, MediaType, NodeId, Sha1, Sha256, UploadId, Viewer, copy_time};
use crate::ledger::{Ledger, RefusedReceipts};
use crate::metrics::{Ended, Metrics, Unplaced};
use crate::placement::{self, NodeRoom};
use crate::trace;
use crate::wire::node::PrepareAnswer;

/// What an upload may take; all configurable.
#[derive(Debug, Clone, Copy)]
pub struct UploadLimits {
    /// The largest file, in bytes.
    pub file_bytes: u64,
    /// Uploads at once.
    pub uploads: usize,
    /// Of which one address can hold so many.
    pub uploads_per_address: usize,
    /// Slower senders than this are stalled.
    pub stalled_bytes_per_second: u64,
    /// And are cut after so long.
    pub stalled_after: Duration,
    /// A node that takes nothing for so long is replaced.
    pub node_stalled_after: Duration,
    /// Writing, syncing and copying what was received may take so long.
    pub prepare_within: Duration,
}

/// What is known of an upload before its first byte.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Who uploads.
    pub viewer: Viewer,
    /// From where; unknown senders count as one.
    pub address: Option<IpAddr>,
    /// What the person called it.
    pub name: FileName,
    /// What the sender says it is.
    pub media_type: MediaType,
    /// Its size in bytes, when the sender says so.
    pub declared_bytes: Option<u64>,
    /// Its SHA-1, when the sender says so.
    pub sha1: Option<Sha1>,
    /// Its SHA-256, when the sender says so.
    pub sha256: Option<Sha256>,
}

/// Why an upload was not taken. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Longer than allowed.
    #[error("a file may have at most {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: u64,
    },
    /// Too many uploads at once.
    #[error("too many uploads are running: try again soon")]
    Busy,
    /// Fewer than two healthy nodes have room.
    #[error("fewer than two storage servers can take the file now: try again soon")]
    NotEnoughNodes,
    /// Every node that was asked is full.
    #[error("the storage servers have no room for this file")]
    NoSpace,
    /// Both nodes failed during the transfer.
    #[error("the storage servers failed during the upload: try again")]
    NodesFailed,
    /// The sender was under the lowest rate for too long, or its slot was needed.
    #[error("the upload was too slow and was cut: send it again")]
    Stalled,
    /// The sender went away, or sent fewer bytes than it declared.
    #[error("the upload ended before its last byte: send it again")]
    Incomplete,
    /// The content's digest is not the one that was given.
    #[error("the content has SHA-1 {} and SHA-256 {}, not what was announced: was it changed on the way?", .0.sha1, .0.sha256)]
    WrongDigest(BlobDigests),
    /// The content carries a SHA-1 collision attack.
    #[error("the content carries a known SHA-1 collision attack and is refused")]
    CollisionAttack,
    /// It could not be completed.
    #[error(transparent)]
    Complete(#[from] CompleteError),
    /// central stops.
    #[error("the server is stopping: try again soon")]
    Stopping,
}

/// The sender's end: bytes go in, backpressure comes out. Dropping it before
/// [`Feed::end`] aborts the upload.
#[derive(Debug)]
pub struct Feed<T = Completed, E = UploadError> {
    queue: mpsc::Sender<Fed>,
    outcome: oneshot::Receiver<Result<T, E>>,
}

#[derive(Debug)]
pub(super) enum Fed {
    Data(Bytes),
    End,
}

/// The receiving end of a [`Feed`], and where its outcome goes.
pub(super) type Fedded<T, E> = (mpsc::Receiver<Fed>, oneshot::Sender<Result<T, E>>);

impl<T, E: From<UploadError>> Feed<T, E> {
    pub(super) fn new() -> (Self, Fedded<T, E>) {
        let (queue, fed) = mpsc::channel(4);
        let (answer, outcome) = oneshot::channel();
        (Self { queue, outcome }, (fed, answer))
    }

    /// Hands bytes on; false when the upload has ended already (then [`Feed::outcome`] says why).
    pub async fn send(&self, bytes: Bytes) -> bool {
        bytes.is_empty() || self.queue.send(Fed::Data(bytes)).await.is_ok()
    }

    /// Resolves when the upload has ended before its sender did: it was cut, or its nodes failed.
    pub async fn ended(&self) {
        self.queue.closed().await;
    }

    /// The body is whole: waits for the outcome.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn end(self) -> Result<T, E> {
        // If it is over already, the outcome says so.
        let _ = self.queue.send(Fed::End).await;
        self.outcome().await
    }

    /// Why the upload has ended before its end.
    ///
    /// # Errors
    /// [`UploadError`].
    pub async fn outcome(self) -> Result<T, E> {
        let Self { queue, outcome } = self;
        drop(queue);
        outcome.await.unwrap_or_else(|_| Err(UploadError::Stopping.into()))
    }
}

/// How many bytes a body may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The most.
    pub(super) limit_bytes: u64,
    /// So many, when the sender says so.
    pub(super) declared_bytes: Option<u64>,
}

/// Takes uploads.
#[derive(Clone)]
pub struct UploadService {
    pub(super) inner: Arc<Inner>,
}

/// What uploads of every kind work with.
pub(super) struct Inner {
    pub(super) ledger: Arc<dyn Ledger>,
    pub(super) membership: Arc<Membership>,
    pub(super) nodes: NodeClient,
    pub(super) completion: Completion,
    pub(super) limits: UploadLimits,
    pub(super) slots: Arc<Slots>,
    pub(super) metrics: Metrics,
    pub(super) tasks: TaskTracker,
}

impl UploadService {
    /// With its collaborators. Uploads run in `tasks`, which whoever stops central awaits.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        membership: Arc<Membership>,
        nodes: NodeClient,
        completion: Completion,
        limits: UploadLimits,
        metrics: Metrics,
        tasks: TaskTracker,
    ) -> Self {
        let slots = Slots::new(SlotLimits {
            all: limits.uploads,
            per_address: limits.uploads_per_address,
            stalled_bytes_per_second: limits.stalled_bytes_per_second,
        });
        Self {
            inner: Arc::new(Inner { ledger, membership, nodes, completion, limits, slots, metrics, tasks }),
        }
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> UploadLimits {
        self.inner.limits
    }

    /// Uploads that run now.
    #[must_use]
    pub fn running(&self) -> usize {
        self.inner.slots.taken()
    }

    /// Begins an upload: places it and opens a way to its two nodes.
    ///
    /// # Errors
    /// [`UploadError::TooLarge`], [`UploadError::Busy`] or [`UploadError::NotEnoughNodes`]:
    /// nothing was recorded anywhere.
    pub fn begin(&self, upload: NewUpload) -> Result<Feed, UploadError> {
        let inner = &self.inner;
        if upload.declared_bytes.is_some_and(|size| size > inner.limits.file_bytes) {
            return Err(UploadError::TooLarge { limit_bytes: inner.limits.file_bytes });
        }
        let slot = inner.slots.take(upload.address).map_err(|_| UploadError::Busy)?;
        let pair = inner.place(upload.declared_bytes.unwrap_or(0))?;
        let (feed, (fed, answer)) = Feed::new();
        let inner = Arc::clone(inner);
        self.inner.tasks.spawn(trace::carried(async move {
            let result = inner.run(upload, pair, slot, fed).await;
            // One that was decided is counted already.
            if !matches!(&result, Ok(_) | Err(UploadError::Complete(CompleteError::Unconfirmed))) {
                inner.metrics.upload_ended(Ended::Failed);
            }
            // The sender may be gone; what was decided stands all the same.
            let _ = answer.send(result);
        }));
        Ok(feed)
    }
}

impl Inner {
    pub(super) fn rooms(&self) -> (Vec<Arc<Member>>, Vec<NodeRoom>) {
        let members = self.membership.all_healthy();
        let rooms = members
            .iter()
            .map(|member| NodeRoom {
                node: member.id,
                failure_domain: member.failure_domain.clone(),
                free_bytes: member.free_bytes,
            })
            .collect();
        (members, rooms)
    }

    pub(super) fn place(&self, bytes: u64) -> Result<[Arc<Member>; 2], UploadError> {
        let (members, rooms) = self.rooms();
        let find = |node: NodeId| members.iter().find(|member| member.id == node).map(Arc::clone);
        let placed = match placement::choose(&rooms, bytes, &mut rand::rng()) {
            Ok([first, second]) => {
                find(first).zip(find(second)).map(|(a, b)| [a, b]).ok_or(UploadError::NotEnoughNodes)
            }
            Err(_) if members.len() >= 2 => Err(UploadError::NoSpace),
            Err(_) => Err(UploadError::NotEnoughNodes),
        };
        match &placed {
            Ok(pair) => {
                pair.iter().for_each(|member| self.metrics.placed(member.id, member.place.name.as_str()))
            }
            Err(UploadError::NoSpace) => self.metrics.unplaced(Unplaced::NoRoom),
            Err(_) => self.metrics.unplaced(Unplaced::TooFewNodes),
        }
        placed
    }

    async fn run(
        &self,
        upload: NewUpload,
        pair: [Arc<Member>; 2],
        slot: Slot,
        fed: mpsc::Receiver<Fed>,
    ) -> Result<Completed, UploadError> {
        let id = UploadId::random();
        let limits =
            WriteLimits { limit_bytes: self.limits.file_bytes, declared_bytes: upload.declared_bytes };
        let now = self.ledger.now();
        let start = |member| {
            let nodes = self.nodes.clone();
            Leg::start(member, move |target, body| async move {
                nodes.write(&target, id, limits, now, body).await
            })
        };
        let legs = pair.into_iter().map(start).collect();
        let mut transfer = Transfer::new(legs, self.limits.node_stalled_after);
        let bounds = Bounds { limit_bytes: self.limits.file_bytes, declared_bytes: upload.declared_bytes };
        if let Err(error) = self.receive(bounds, &slot, fed, &mut transfer).await {
            let (members, failed) = transfer.cut().await;
            self.abort(id, &members).await;
            return Err(Self::explain(failed).unwrap_or(error));
        }
        let (mut prepared, failed) = transfer.end(self.limits.prepare_within, &self.membership).await;
        if prepared.len() == 1 {
            self.replace(id, limits, &mut prepared, &failed).await;
        }
        let members: Vec<Arc<Member>> = prepared
            .iter()
            .map(|(member, _)| member)
            .chain(failed.iter().map(|(member, _)| member))
            .cloned()
            .collect();
        match self.check(&upload, &prepared, failed) {
            Ok(()) => {}
            Err(error) => {
                self.abort(id, &members).await;
                return Err(error);
            }
        }
        let NewUpload { viewer, name, media_type, .. } = upload;
        let completed = self.completion.complete(id, viewer, name, media_type, prepared).await;
        if matches!(completed, Err(CompleteError::Refused(RefusedReceipts::Late))) {
            self.abort(id, &members).await;
        }
        Ok(completed?)
    }

    /// Moves the body from the sender to the nodes.
    pub(super) async fn receive<T: Send + 'static>(
        &self,
        bounds: Bounds,
        slot: &Slot,
        mut fed: mpsc::Receiver<Fed>,
        transfer: &mut Transfer<T>,
    ) -> Result<(), UploadError> {
        let mut total: u64 = 0;
        let mut pace = Pace::new(self.limits);
        loop {
            let asked = Instant::now();
            let next = tokio::select! {
                next = tokio::time::timeout(pace.left(), fed.recv()) => next,
                () = slot.cut() => return Err(UploadError::Stalled),
            };
            // Only waiting for the sender counts, not waiting for the nodes.
            pace.waited(asked.elapsed());
            match next {
                Ok(Some(Fed::Data(bytes))) => {
                    total += bytes.len() as u64;
                    if total > bounds.limit_bytes {
                        return Err(UploadError::TooLarge { limit_bytes: bounds.limit_bytes });
                    }
                    slot.received(bytes.len());
                    pace.received(bytes.len());
                    self.metrics.upload_bytes(bytes.len() as u64, transfer.width());
                    if !transfer.send(&bytes, &self.membership).await {
                        return Err(UploadError::NodesFailed);
                    }
                }
                Ok(Some(Fed::End)) if bounds.declared_bytes.is_some_and(|size| size != total) => {
                    return Err(UploadError::Incomplete);
                }
                Ok(Some(Fed::End)) => return Ok(()),
                Ok(None) => return Err(UploadError::Incomplete),
                Err(_) if pace.is_stalled() => return Err(UploadError::Stalled),
                Err(_) => {}
            }
            if pace.is_stalled() {
                return Err(UploadError::Stalled);
            }
        }
    }

    /// What all nodes say alike about the content or the room is what the sender is told.
    fn explain(failed: Vec<(Arc<Member>, NodeError)>) -> Option<UploadError> {
        let mut errors = failed.into_iter().map(|(_, error)| error);
        errors.find_map(|error| {
            if error.is("collision-attack") {
                Some(UploadError::CollisionAttack)
            } else if error.is("no-space") {
                Some(UploadError::NoSpace)
            } else {
                None
            }
        })
    }

    /// Has a new node copy the whole from the one that is prepared.
    async fn replace(
        &self,
        id: UploadId,
        limits: WriteLimits,
        prepared: &mut Vec<(Arc<Member>, PrepareAnswer)>,
        failed: &[(Arc<Member>, NodeError)],
    ) {
        let Some((source, receipt)) = prepared.first().cloned() else { return };
        let mut tried: Vec<NodeId> = failed.iter().map(|(member, _)| member.id).collect();
        tried.push(source.id);
        for _ in 0..3 {
            let (members, rooms) = self.rooms();
            let chosen = placement::choose_one(
                &rooms,
                receipt.digests.size,
                &tried,
                Some(&source.failure_domain),
                &mut rand::rng(),
            );
            let Some(member) = chosen.ok().and_then(|node| members.iter().find(|member| member.id == node))
            else {
                return;
            };
            tried.push(member.id);
            let limits = WriteLimits { declared_bytes: Some(receipt.digests.size), ..limits };
            let within = self.limits.prepare_within.saturating_add(copy_time(receipt.digests.size));
            let copied =
                self.nodes.copy(member, id, limits, self.ledger.now(), (&source, &receipt), within).await;
            match copied {
                Ok(copy) => {
                    self.metrics.placed(member.id, member.place.name.as_str());
                    prepared.push((Arc::clone(member), copy));
                    return;
                }
                Err(error) => {
                    tracing::warn!(node = %member.id, %error, "a replacement failed during an upload");
                    if error.is_nodes_fault() {
                        self.membership.suspend(member.id);
                    }
                    self.abort(id, std::slice::from_ref(member)).await;
                }
            }
        }
    }

    fn check(
        &self,
        upload: &NewUpload,
        prepared: &[(Arc<Member>, PrepareAnswer)],
        failed: Vec<(Arc<Member>, NodeError)>,
    ) -> Result<(), UploadError> {
        let [(_, first), (_, second)] = prepared else {
            return Err(Self::explain(failed).unwrap_or(UploadError::NodesFailed));
        };
        if first.digests != second.digests || first.pieces != second.pieces {
            tracing::error!(one = ?first.digests, other = ?second.digests, "two nodes hashed one upload differently");
            return Err(UploadError::NodesFailed);
        }
        let digests = first.digests;
        let differs = upload.sha1.is_some_and(|sha1| sha1 != digests.sha1)
            || upload.sha256.is_some_and(|sha256| sha256 != digests.sha256);
        if differs { Err(UploadError::WrongDigest(digests)) } else { Ok(()) }
    }

    pub(super) async fn abort(&self, id: UploadId, members: &[Arc<Member>]) {
        let now = self.ledger.now();
        let aborts = members.iter().map(|member| async move {
            if let Err(error) = self.nodes.abort(member, id, now).await {
                tracing::debug!(node = %member.id, %error, "an abort was not heard; the node ends the session itself");
            }
        });
        futures_util::future::join_all(aborts).await;
    }
}
