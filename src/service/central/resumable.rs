//! An upload in parts, which goes on after a cut: its bytes go straight through to sessions on
//! two nodes, and one row of the ledger says which. What the nodes have acknowledged is its
//! offset; nothing here is remembered.

mod part;
mod sides;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::complete::{CompleteError, Completed};
use super::slots;
use super::upload::{Inner, UploadError, UploadService};
use crate::cluster::membership::Member;
use crate::cluster::node_client::{Expected, NodeError, ResumeTerms, WriteLimits};
use crate::domain::{BlobDigests, FileName, MediaType, NodeId, Sha1, Timestamp, UploadId, Viewer, copy_time};
use crate::ledger::{LedgerError, NewResumable, RefusedReceipts, ResumableState};
use crate::metrics::Ended;
use crate::service::turns::{Turn, Turns};
use crate::trace;
use crate::wire::node::PrepareAnswer;

pub use crate::ledger::{Resumable, ResumableEnd};
pub use part::{Part, Received};
use sides::Sides;

/// How often what fails on the way to being complete is tried with another node.
const TRIES: usize = 3;
/// Uploads that one step of the worker ends.
const BATCH: usize = 100;

/// What is known of a resumable upload before its first byte.
#[derive(Debug, Clone)]
pub struct NewPartial {
    /// What the person called it.
    pub name: FileName,
    /// What the sender says it is.
    pub media_type: MediaType,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-1, when the sender knows it.
    pub sha1: Option<Sha1>,
}

/// How a resumable upload stands.
#[derive(Debug, Clone)]
pub enum Standing {
    /// Bytes are missing.
    Receiving {
        /// So many are kept.
        offset: u64,
    },
    /// It is complete.
    Completed(Box<Completed>),
    /// It ended undecided.
    Ended(ResumableEnd),
}

/// A resumable upload with how it stands.
#[derive(Debug, Clone)]
pub struct Look {
    /// What the ledger knows.
    pub upload: Resumable,
    /// How it stands.
    pub standing: Standing,
}

/// Why a call about a resumable upload failed.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// As of any upload.
    #[error(transparent)]
    Upload(#[from] UploadError),
    /// There is none with this id.
    #[error("there is no such upload, or it ended more than a day ago")]
    NotFound,
    /// It ended undecided.
    #[error("{}", describe(*.0))]
    Ended(ResumableEnd),
    /// It stands elsewhere.
    #[error("the upload stands at byte {0}: go on from there")]
    WrongOffset(u64),
    /// More bytes than were announced.
    #[error("the upload has {0} bytes, and this part goes beyond them")]
    TooMany(u64),
    /// A part has another checksum than was given.
    #[error("the part has another checksum than was given: send it again")]
    Checksum,
    /// Too many that are not finished, from one address.
    #[error("{0} unfinished uploads come from this address: finish or cancel one, or wait until one expires")]
    TooManyUnfinished(usize),
    /// A newer call goes on with it.
    #[error("another request took this upload over")]
    TakenOver,
}

impl From<LedgerError> for ResumeError {
    fn from(error: LedgerError) -> Self {
        Self::Upload(CompleteError::Ledger(error).into())
    }
}

const fn describe(end: ResumableEnd) -> &'static str {
    match end {
        ResumableEnd::Terminated => "the upload was cancelled",
        ResumableEnd::Expired => "the upload was not finished in time: begin it again",
        ResumableEnd::WrongDigest => {
            "the content has other digests than were announced: was it changed on the way?"
        }
        ResumableEnd::CollisionAttack => "the content carries a known SHA-1 collision attack and is refused",
        ResumableEnd::Collision => "the content's SHA-1 is taken by other content",
    }
}

type Result<T> = std::result::Result<T, ResumeError>;

/// What resumable uploads may take, beside what uploads of every kind may.
#[derive(Debug, Clone, Copy)]
pub struct ResumeLimits {
    /// An upload lives so long after its last part.
    pub life: Duration,
    /// One address can have so many that are not finished.
    pub unfinished: usize,
}

/// Takes resumable uploads.
#[derive(Clone)]
pub struct ResumableService {
    shared: Arc<Shared>,
}

struct Shared {
    uploads: Arc<Inner>,
    turns: Turns,
    limits: ResumeLimits,
}

impl ResumableService {
    /// Beside the uploads in one request, with whom it shares limits and slots.
    #[must_use]
    pub fn new(uploads: &UploadService, limits: ResumeLimits) -> Self {
        let uploads = Arc::clone(&uploads.inner);
        Self { shared: Arc::new(Shared { uploads, turns: Turns::default(), limits }) }
    }

    /// The largest file, in bytes.
    #[must_use]
    pub fn limit_bytes(&self) -> u64 {
        self.shared.uploads.limits.file_bytes
    }

    /// Makes an empty upload: a session on each of two nodes, and a row. Senders whose address is
    /// unknown count as one.
    ///
    /// # Errors
    /// [`ResumeError`]; nothing is kept then.
    pub async fn create(&self, address: Option<IpAddr>, new: NewPartial) -> Result<Resumable> {
        let sender = address.map(slots::sender);
        let limit_bytes = self.limit_bytes();
        if new.size > limit_bytes {
            return Err(UploadError::TooLarge { limit_bytes }.into());
        }
        let limit = self.shared.limits.unfinished;
        // Before any node is asked; the row is what decides.
        if self.shared.uploads.ledger.unfinished_uploads(sender, limit).await? >= limit {
            return Err(ResumeError::TooManyUnfinished(limit));
        }
        // In a task: whoever asked may go away, and no session is to stay without a row.
        let shared = Arc::clone(&self.shared);
        let making =
            self.shared.uploads.tasks.spawn(trace::carried(async move { shared.make(sender, new).await }));
        making.await.map_err(|_| UploadError::Stopping)?
    }

    /// How an upload stands, without touching it.
    ///
    /// # Errors
    /// [`ResumeError`].
    pub async fn look(&self, upload: UploadId) -> Result<Look> {
        let upload = self.shared.find(upload).await?;
        let standing = match upload.state {
            ResumableState::Decided(_) => Standing::Completed(Box::new(self.shared.repeat(&upload).await?)),
            ResumableState::Ended(end) => Standing::Ended(end),
            ResumableState::Receiving => {
                let sides = Sides::ask(&self.shared.uploads, &upload).await?;
                Standing::Receiving { offset: sides.offset()? }
            }
        };
        Ok(Look { upload, standing })
    }

    /// Where to go on: whoever still sends is cut first, and what is whole is completed.
    ///
    /// # Errors
    /// [`ResumeError`].
    pub async fn resume(&self, upload: UploadId) -> Result<Look> {
        let found = self.look(upload).await;
        if !matches!(&found, Ok(Look { standing: Standing::Receiving { .. }, .. })) {
            return found;
        }
        let turn = self.shared.turns.take(upload).turn().await.ok_or(ResumeError::TakenOver)?;
        let found = self.look(upload).await?;
        match found.standing {
            Standing::Receiving { offset } if offset == found.upload.size => {
                let upload = found.upload;
                let shared = Arc::clone(&self.shared);
                let whole = upload.clone();
                // What was begun is carried through, even if whoever asked goes away.
                let task = trace::carried(async move { shared.complete(&whole, turn).await });
                let task = self.shared.uploads.tasks.spawn(task);
                let completed = task.await.map_err(|_| UploadError::Stopping)??;
                Ok(Look { upload, standing: Standing::Completed(Box::new(completed)) })
            }
            _ => Ok(found),
        }
    }

    /// Ends an upload; its space comes back.
    ///
    /// # Errors
    /// [`ResumeError::NotFound`] where it was decided or ended before.
    pub async fn terminate(&self, upload: UploadId) -> Result<()> {
        let waiting = self.shared.turns.take(upload);
        let _turn = waiting.turn().await.ok_or(ResumeError::TakenOver)?;
        let upload = self.shared.find(upload).await?;
        match upload.state {
            ResumableState::Ended(end) => Err(ResumeError::Ended(end)),
            ResumableState::Decided(_) => Err(ResumeError::NotFound),
            ResumableState::Receiving if self.shared.end(&upload, ResumableEnd::Terminated).await? => Ok(()),
            ResumableState::Receiving => Err(ResumeError::NotFound),
        }
    }

    /// Ends uploads whose time is over: a background worker's one step; says how many.
    ///
    /// # Errors
    /// When the ledger fails; the next step goes on.
    pub async fn expire(&self) -> std::result::Result<usize, LedgerError> {
        let mut ended = 0;
        for upload in self.shared.uploads.ledger.expired_uploads(BATCH).await? {
            // One part may take longer than an upload lives.
            if self.shared.turns.is_taken(upload.upload) {
                continue;
            }
            ended += usize::from(self.shared.end(&upload, ResumableEnd::Expired).await?);
        }
        Ok(ended)
    }
}

impl Shared {
    async fn find(&self, upload: UploadId) -> Result<Resumable> {
        let found = self.uploads.ledger.find_upload(upload).await?;
        found.ok_or(ResumeError::NotFound)
    }

    async fn make(&self, sender: Option<IpAddr>, new: NewPartial) -> Result<Resumable> {
        let uploads = &self.uploads;
        let upload = UploadId::random();
        let members = self.open_pair(upload, new.size).await?;
        let row = NewResumable {
            upload,
            sender,
            name: new.name,
            media_type: new.media_type,
            size: new.size,
            sha1: new.sha1,
            nodes: members.iter().map(|member| member.id).collect(),
            expires_at: uploads.ledger.now().saturating_add(self.limits.life),
        };
        let limit = self.limits.unfinished;
        let created = uploads.ledger.create_upload(row, limit).await;
        if !matches!(created, Ok(true)) {
            uploads.abort(upload, &members).await;
            created?;
            return Err(ResumeError::TooManyUnfinished(limit));
        }
        uploads.ledger.find_upload(upload).await?.ok_or(ResumeError::NotFound)
    }

    const fn terms(&self, size: u64) -> ResumeTerms {
        ResumeTerms {
            limits: WriteLimits { limit_bytes: size, declared_bytes: Some(size) },
            idle: self.limits.life,
        }
    }

    fn now(&self) -> Timestamp {
        self.uploads.ledger.now()
    }

    /// An empty session on each of two nodes, or none at all.
    async fn open_pair(&self, upload: UploadId, size: u64) -> Result<[Arc<Member>; 2]> {
        let mut failed = UploadError::NotEnoughNodes;
        for _ in 0..TRIES {
            let pair = self.uploads.place(size)?;
            let opens = pair
                .iter()
                .map(|member| self.uploads.nodes.open(member, upload, self.terms(size), self.now()));
            let mut is_open = true;
            for (member, opened) in pair.iter().zip(join_all(opens).await) {
                if let Err(error) = opened {
                    is_open = false;
                    failed = self.failed(member, &error);
                }
            }
            if is_open {
                return Ok(pair);
            }
            self.uploads.abort(upload, &pair).await;
        }
        // It has no row, and so no other end.
        self.uploads.metrics.upload_ended(Ended::Failed);
        Err(failed.into())
    }

    /// A call failed: what the sender is told if no other node steps in.
    fn failed(&self, member: &Member, error: &NodeError) -> UploadError {
        tracing::warn!(node = %member.id, %error, "a node failed during a resumable upload");
        if error.is_nodes_fault() {
            self.uploads.membership.suspend(member.id);
        }
        if error.is("no-space") { UploadError::NoSpace } else { UploadError::NodesFailed }
    }

    /// Records who holds it, and that it went on now. An upload that ended meanwhile is left.
    async fn hold(&self, upload: &mut Resumable, nodes: Vec<NodeId>) -> Result<()> {
        upload.nodes = nodes;
        upload.expires_at = self.now().saturating_add(self.limits.life);
        let (nodes, expires_at) = (&upload.nodes, upload.expires_at);
        if self.uploads.ledger.set_upload_nodes(upload.upload, nodes, expires_at).await? {
            return Ok(());
        }
        match self.find(upload.upload).await?.state {
            ResumableState::Ended(end) => Err(ResumeError::Ended(end)),
            _ => Err(ResumeError::TakenOver),
        }
    }

    /// Ends it undecided and frees its space; false when it was decided or ended before.
    async fn end(&self, upload: &Resumable, end: ResumableEnd) -> std::result::Result<bool, LedgerError> {
        let ended = self.uploads.ledger.end_upload(upload.upload, end).await?;
        if ended {
            // Counted here, as it can end only once. Those that their senders cancel did not fail.
            if end != ResumableEnd::Terminated {
                self.uploads.metrics.upload_ended(Ended::Failed);
            }
            self.abort_on(upload.upload, &upload.nodes).await;
            self.abort_former(upload.upload).await?;
        }
        Ok(ended)
    }

    /// A node that was only away while it was replaced has a session still.
    async fn abort_former(&self, upload: UploadId) -> std::result::Result<(), LedgerError> {
        if let Some(upload) = self.uploads.ledger.find_upload(upload).await? {
            self.abort_on(upload.upload, &upload.former).await;
        }
        Ok(())
    }

    async fn abort_on(&self, upload: UploadId, nodes: &[NodeId]) {
        let members: Vec<_> = nodes.iter().filter_map(|node| self.uploads.membership.get(*node)).collect();
        self.uploads.abort(upload, &members).await;
    }

    /// What was decided before, waiting until it is kept.
    async fn repeat(&self, upload: &Resumable) -> Result<Completed> {
        let Resumable { upload, name, media_type, .. } = upload.clone();
        let completed =
            self.uploads.completion.complete(upload, Viewer::Public, name, media_type, Vec::new()).await;
        completed.map_err(|error| UploadError::from(error).into())
    }

    /// Has a whole upload prepared on both nodes, decides and finishes it.
    async fn complete(&self, upload: &Resumable, turn: Turn) -> Result<Completed> {
        let result = self.complete_within_turn(upload).await;
        drop(turn);
        if result.is_ok()
            && let Err(error) = self.abort_former(upload.upload).await
        {
            // They end by their idle time.
            tracing::warn!(upload = upload.upload.short(), %error, "former nodes were not told of an upload's end");
        }
        result
    }

    async fn complete_within_turn(&self, upload: &Resumable) -> Result<Completed> {
        let mut upload = upload.clone();
        let mut failed = UploadError::NodesFailed;
        for _ in 0..TRIES {
            let sides = Sides::ask(&self.uploads, &upload).await?;
            let size = upload.size;
            let members = self.pair(&mut upload, sides, size).await?;
            let prepared = self.prepare(&mut upload, members).await?;
            let Some([first, second]) = prepared else { continue };
            if first.1.digests != second.1.digests || first.1.pieces != second.1.pieces {
                tracing::error!(upload = upload.upload.short(), "two nodes hashed one upload differently");
                return Err(UploadError::NodesFailed.into());
            }
            let Resumable { name, media_type, .. } = upload.clone();
            let prepared = vec![first, second];
            let completed = self
                .uploads
                .completion
                .complete(upload.upload, Viewer::Public, name, media_type, prepared)
                .await;
            return match completed {
                Ok(completed) => Ok(completed),
                Err(CompleteError::Conflict { .. }) => {
                    self.end(&upload, ResumableEnd::Collision).await?;
                    Err(ResumeError::Ended(ResumableEnd::Collision))
                }
                Err(CompleteError::Refused(RefusedReceipts::Ended)) => Err(ResumeError::NotFound),
                // One node took longer to prepare than the other's receipt counts: all bytes are there.
                Err(error @ CompleteError::Refused(RefusedReceipts::Late)) => {
                    tracing::warn!(
                        upload = upload.upload.short(),
                        "receipts came too late; the upload is prepared anew"
                    );
                    failed = error.into();
                    continue;
                }
                Err(error) => Err(UploadError::from(error).into()),
            };
        }
        Err(failed.into())
    }

    /// Both receipts; none when a node failed, which the upload then has no more.
    async fn prepare(
        &self,
        upload: &mut Resumable,
        members: [Arc<Member>; 2],
    ) -> Result<Option<[(Arc<Member>, PrepareAnswer); 2]>> {
        let expected = Expected { size: upload.size, sha1: upload.sha1, sha256: upload.sha256 };
        let within = self.uploads.limits.prepare_within.saturating_add(copy_time(upload.size));
        let calls = members
            .each_ref()
            .map(|member| self.uploads.nodes.prepare(member, upload.upload, expected, self.now(), within));
        let mut prepared = Vec::with_capacity(2);
        let answers = join_all(calls).await;
        for (member, answer) in members.into_iter().zip(answers) {
            match answer {
                Ok(receipt) => prepared.push((member, receipt)),
                Err(error) => {
                    let end = if error.is("wrong-digest") {
                        ResumableEnd::WrongDigest
                    } else if error.is("collision-attack") {
                        ResumableEnd::CollisionAttack
                    } else {
                        self.failed(&member, &error);
                        continue;
                    };
                    self.end(upload, end).await?;
                    return Err(ResumeError::Ended(end));
                }
            }
        }
        match <[_; 2]>::try_from(prepared) {
            Ok(both) => Ok(Some(both)),
            Err(some) => {
                // One that all lost is asked again: it may only be away.
                if !some.is_empty() {
                    let nodes = some.iter().map(|(member, _)| member.id).collect();
                    self.hold(upload, nodes).await?;
                }
                Ok(None)
            }
        }
    }
}

/// What a decided upload holds, for whoever asks how far it is.
impl Look {
    /// The offset, the whole size once it is complete.
    #[must_use]
    pub const fn offset(&self) -> Option<u64> {
        match &self.standing {
            Standing::Receiving { offset } => Some(*offset),
            Standing::Completed(completed) => {
                let BlobDigests { size, .. } = completed.blob.digests;
                Some(size)
            }
            Standing::Ended(_) => None,
        }
    }
}
