//! The database of what exists and where: one API, one method a use case.
//!
//! Each method is retryable as a whole and right under several centrals by keys and
//! conditional updates alone: nothing depends on one process's memory. Every engine passes
//! the same contract suite (`contract`).

mod names;
mod order;
mod sqlite;
mod tokens;
mod uploads;

#[cfg(test)]
mod contract;

use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::{
    BlobDigests, ClusterId, FileId, FileName, FileOrder, Generation, KeyId, Label, MediaType, NodeId, Place,
    Sha1, Sha256, Timestamp, TokenId, UploadId, Viewer,
};

pub use order::{Cursor, InvalidCursor};
pub use sqlite::{Call, SqliteLedger, Timer, back_up, restore};
pub use tokens::{NewToken, TokenRecord};
pub use uploads::{NewResumable, Resumable, ResumableEnd, ResumableState};

/// What keeps the ledger from answering.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database cannot be read or written now; nothing of the call was recorded.
    #[error("the ledger is unavailable: {0}")]
    Unavailable(String),
    /// What stands in the database cannot be right.
    #[error("the ledger is damaged: {0}")]
    Damaged(String),
    /// A newer build wrote it.
    #[error("the ledger has schema {found}, this build knows up to {known}: use a newer build")]
    TooNew {
        /// What the database says.
        found: u32,
        /// The newest this build knows.
        known: u32,
    },
    /// No central of this build has opened it yet.
    #[error("the ledger has schema {found}, this build needs {needed}: start a central of this build first")]
    TooOld {
        /// What the database says.
        found: u32,
        /// The one this build works on.
        needed: u32,
    },
    /// The cursor is a place in the list in another order.
    #[error("this place is in the list sorted by `{of}`, not by `{asked}`: begin at its start")]
    OtherOrder {
        /// The cursor's own.
        of: FileOrder,
        /// What was asked for.
        asked: FileOrder,
    },
}

/// The result of a call to the ledger.
pub type Result<T> = std::result::Result<T, LedgerError>;

/// What one cluster is, from its ledger's first start on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterSettings {
    /// Made at the first start.
    pub cluster_id: ClusterId,
    /// Rises with every restore or rebuild of the ledger; 1 at first.
    pub epoch: u64,
}

/// How far one replica is, as the ledger knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaState {
    /// Decided; the node holds it prepared, and its rename is not confirmed yet.
    Pending,
    /// Confirmed by its node: verified, synced, at its final path.
    Stored,
    /// Known to be missing or rotten.
    Bad,
}

/// One node's copy of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Who holds it.
    pub node: NodeId,
    /// How far it is.
    pub state: ReplicaState,
    /// The upload whose bytes it is made of.
    pub upload: UploadId,
    /// The decision that put it there.
    pub generation: Generation,
    /// When its node last verified it: at its receipt, until it is scrubbed.
    pub verified_at: Timestamp,
    /// Whether the node is out: absent for so long that it no longer counts
    /// (see [`Ledger::set_node_out`]).
    pub node_out: bool,
}

impl Replica {
    /// Neither known bad nor on a node that is out: it counts as one of the two copies.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.state != ReplicaState::Bad && !self.node_out
    }
}

/// One visible name of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Its own id.
    pub id: FileId,
    /// What the person called it.
    pub name: FileName,
    /// What the sender said it is.
    pub media_type: MediaType,
    /// When its upload was decided.
    pub created_at: Timestamp,
    /// The content it names.
    pub blob: BlobDigests,
}

/// A blob with a file that the viewer may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisibleBlob {
    /// What it is known by.
    pub digests: BlobDigests,
    /// Its newest decision.
    pub generation: Generation,
    /// Every replica, in order of node id; at most a few.
    pub replicas: Vec<Replica>,
    /// The oldest visible file: the name that links carry.
    pub file: FileRecord,
}

/// A blob's pieces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pieces {
    /// What the blob is known by.
    pub digests: BlobDigests,
    /// SHA-256 of every 4 MiB piece in order; the last may be shorter; none of an empty blob.
    pub sha256: Vec<Sha256>,
}

/// What a node said in its receipt, already checked: it holds every byte, synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Who signed it.
    pub node: NodeId,
    /// What was received.
    pub digests: BlobDigests,
    /// When the node verified it, in ledger time.
    pub verified_at: Timestamp,
    /// The node may give the session up after this moment of the ledger's time: a decision
    /// later than this must not use it.
    pub decide_before: Timestamp,
}

/// What [`Ledger::decide_upload`] is asked.
#[derive(Debug, Clone)]
pub struct DecideUpload {
    /// The upload; deciding it again gives the same answer for a day at least.
    pub upload: UploadId,
    /// Who uploads.
    pub viewer: Viewer,
    /// What the person called it.
    pub name: FileName,
    /// What the sender said it is.
    pub media_type: MediaType,
    /// Of different nodes, all over the same digests; two for a full upload.
    pub receipts: Vec<Receipt>,
    /// SHA-256 of every piece.
    pub pieces: Vec<Sha256>,
    /// The nodes that answer now. Known content of which no copy lies on one of them cannot be
    /// read, and is filled up as if it had none.
    pub answering: Vec<NodeId>,
}

/// What was decided about an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// New content: a file, a blob and two pending replicas were recorded.
    Stored(Decided),
    /// The viewer sees the content already. The replicas that were missing or bad were
    /// filled from this upload (`keep`); none is the usual case.
    Duplicate(Decided),
    /// The same SHA-1 stands for content with this other SHA-256 or size. Nothing was
    /// recorded.
    Conflict(BlobDigests),
    /// A receipt's `decide_before` has passed, or receipts are fewer than two for new
    /// content, or two come from one node. Nothing was recorded.
    Refused(RefusedReceipts),
}

/// Why receipts were not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedReceipts {
    /// Decided too late.
    #[error("a receipt is too old to decide on")]
    Late,
    /// Not two different nodes.
    #[error("new content needs receipts of two different nodes")]
    TooFew,
    /// The receipts are not over the same content.
    #[error("the receipts name different contents")]
    Mixed,
    /// The upload was ended before it was decided.
    #[error("the upload was ended")]
    Ended,
}

/// The recorded side of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// The generation drawn by the decision (the blob's own when nothing was drawn).
    pub generation: Generation,
    /// The nodes whose session of this upload is to be finished; every other is aborted.
    pub keep: Vec<NodeId>,
    /// The blob as it stands after the decision.
    pub blob: VisibleBlob,
    /// The files on the blob, oldest first: what the nodes write into their description.
    pub files: Vec<FileRecord>,
}

/// What became of a prepared session that its node asks about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SessionOutcome {
    /// Finish it at this generation, with these files in its description.
    Finish {
        /// The decision's generation.
        generation: Generation,
        /// The files on the blob, oldest first.
        files: Vec<FileRecord>,
    },
    /// Another upload won, or its time to be decided is over: abort it.
    Abort,
    /// It can still be decided: keep it.
    Keep,
}

/// A replica that was decided and not confirmed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingReplica {
    /// Where it is to be finished.
    pub node: NodeId,
    /// The upload whose session holds it.
    pub upload: UploadId,
    /// The blob.
    pub digests: BlobDigests,
    /// The decision.
    pub generation: Generation,
    /// The files on the blob, oldest first.
    pub files: Vec<FileRecord>,
}

/// A node as the ledger remembers it between its heartbeats.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeRecord {
    /// Its id.
    pub id: NodeId,
    /// The key id that it is bound to.
    pub key_id: KeyId,
    /// Where it says it is.
    pub place: Place,
    /// What fails together with it.
    pub failure_domain: Label,
    /// Where people download from it.
    pub public_url: String,
    /// Its build.
    pub version: Label,
    /// Its last recorded heartbeat.
    pub seen_at: Timestamp,
    /// Absent for so long that its replicas no longer count.
    pub out: bool,
}

/// A node with the ledger's counters for it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeWithCounts {
    /// The node.
    pub node: NodeRecord,
    /// Its stored replicas.
    pub replicas: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The ledger's own counters, kept in the same transactions as what they count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Visible files.
    pub files: u64,
    /// Blobs with a file.
    pub blobs: u64,
    /// Their bytes, each counted once.
    pub bytes: u64,
    /// Replicas that are decided and not confirmed.
    pub pending_replicas: u64,
    /// Replicas that are confirmed.
    pub stored_replicas: u64,
    /// Replicas known bad.
    pub bad_replicas: u64,
}

/// How busy and how large the ledger is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Calls that wait for the writer.
    pub waiting_writes: u64,
    /// Bytes of its files.
    pub file_bytes: u64,
    /// Bytes that are free on its disk.
    pub disk_free_bytes: u64,
    /// Resumable uploads that are neither decided nor ended.
    pub unfinished_uploads: u64,
    /// Since the decision of the pending replica that waits longest; 0 where none does.
    pub oldest_pending: Duration,
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What stands on it.
    pub items: Vec<T>,
    /// Where the next begins; none at the end.
    pub next: Option<Cursor>,
}

/// The ledger.
///
/// Every method may be called again after any error: either nothing or all of the first
/// call was recorded, and the answer is the same.
#[async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// What cluster this is.
    fn cluster(&self) -> ClusterSettings;

    /// The ledger's time: never goes back while this process lives.
    fn now(&self) -> Timestamp;

    /// For each size in bytes, whether the viewer sees a file of it.
    async fn sizes_seen(&self, viewer: Viewer, sizes: &[u64]) -> Result<Vec<bool>>;

    /// A blob with a file that the viewer may see. One look-up by key.
    async fn find_visible(&self, viewer: Viewer, sha1: Sha1) -> Result<Option<VisibleBlob>>;

    /// The visible files on a blob, oldest first, at most `limit`.
    async fn files_of(&self, viewer: Viewer, sha1: Sha1, limit: usize) -> Result<Vec<FileRecord>>;

    /// The visible file on a blob with exactly this name, the oldest if there are several.
    async fn file_named(&self, viewer: Viewer, sha1: Sha1, name: &FileName) -> Result<Option<FileRecord>>;

    /// One visible file.
    async fn find_file(&self, viewer: Viewer, id: FileId) -> Result<Option<FileRecord>>;

    /// The visible files whose name holds `query` (any part of it, ignoring case, every
    /// character plain; empty for all), in this order, at most `limit`, after `after`.
    ///
    /// The work for one page is bounded: where very many names nearly hold the query, or
    /// many hold it and the order is not that of arrival, a page may be short, or empty, and
    /// still say where to go on.
    ///
    /// Fails with [`LedgerError::OtherOrder`] for a cursor of another order.
    async fn list_files(
        &self,
        viewer: Viewer,
        query: &str,
        order: FileOrder,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<FileRecord>>;

    /// A visible blob's pieces.
    async fn pieces(&self, viewer: Viewer, sha1: Sha1) -> Result<Option<Pieces>>;

    /// Decides an upload in one transaction: picks one winner among uploads of the same
    /// content by the blob's key, and records blob, replicas, file, outcome and a new
    /// generation, or nothing.
    ///
    /// A known blob with fewer than two usable replicas is healed: nodes without a usable
    /// replica of it take the place of missing or bad ones, up to two usable in all.
    async fn decide_upload(&self, upload: DecideUpload) -> Result<Decision>;

    /// Records that a node has the blob at its final path, at this generation or a newer
    /// one. Changes nothing for a replica decided later than `generation`.
    async fn confirm_replica(&self, sha1: Sha1, node: NodeId, generation: Generation) -> Result<()>;

    /// Records that a node said of itself, under this generation, that it has neither the
    /// session nor the blob. Never called on silence.
    async fn mark_replica_bad(&self, sha1: Sha1, node: NodeId, generation: Generation) -> Result<()>;

    /// What a node is to do with its prepared session.
    async fn session_outcome(
        &self,
        upload: UploadId,
        node: NodeId,
        sha1: Sha1,
        decide_before: Timestamp,
    ) -> Result<SessionOutcome>;

    /// A node's replicas decided at least `age` ago and not confirmed, oldest first, at most `limit`.
    async fn pending_replicas(
        &self,
        node: NodeId,
        age: Duration,
        limit: usize,
    ) -> Result<Vec<PendingReplica>>;

    /// Records a node at its first heartbeat and whenever what it says has changed; it is
    /// no longer out.
    async fn record_node(&self, node: NodeRecord) -> Result<()>;

    /// Records that a node is out (its replicas no longer count) or back.
    async fn set_node_out(&self, node: NodeId, out: bool) -> Result<()>;

    /// Which of these nodes are out.
    async fn nodes_out(&self, nodes: &[NodeId]) -> Result<Vec<NodeId>>;

    /// Every node that ever joined, in order of id.
    async fn nodes(&self) -> Result<Vec<NodeWithCounts>>;

    /// The counters.
    async fn totals(&self) -> Result<Totals>;

    /// How busy and how large it is.
    async fn load(&self) -> Result<Load>;

    /// Records a resumable upload, which is not decided yet. False, and nothing is recorded, when
    /// its sender has `limit` of them already.
    async fn create_upload(&self, upload: NewResumable, limit: usize) -> Result<bool>;

    /// How many uploads of a sender are neither decided nor ended, counted up to `limit`; unknown
    /// senders count as one.
    async fn unfinished_uploads(&self, sender: Option<IpAddr>, limit: usize) -> Result<usize>;

    /// A resumable upload; for a day at least after it was decided or ended.
    async fn find_upload(&self, upload: UploadId) -> Result<Option<Resumable>>;

    /// Records which nodes' sessions take an upload's bytes, and until when it lives; nodes that
    /// did and do no longer become former ones. False, and nothing is changed, when it is not
    /// there or was decided or ended.
    async fn set_upload_nodes(
        &self,
        upload: UploadId,
        nodes: &[NodeId],
        expires_at: Timestamp,
    ) -> Result<bool>;

    /// Records digests that an upload's content must have; none leaves what is known.
    async fn announce_upload(
        &self,
        upload: UploadId,
        sha1: Option<Sha1>,
        sha256: Option<Sha256>,
    ) -> Result<()>;

    /// Ends an upload that is not decided: it never will be. False when it was decided or
    /// ended before, or is not there.
    async fn end_upload(&self, upload: UploadId, end: ResumableEnd) -> Result<bool>;

    /// Uploads that are neither decided nor ended and whose time is over, oldest first, at
    /// most `limit`.
    async fn expired_uploads(&self, limit: usize) -> Result<Vec<Resumable>>;

    /// Forgets outcomes of uploads decided or ended longer ago than `age`, at most `limit` of them;
    /// says how many.
    async fn forget_outcomes(&self, age: Duration, limit: usize) -> Result<usize>;

    /// Records a token.
    async fn create_token(&self, token: NewToken) -> Result<()>;

    /// The token with this digest, good or not. One look-up by key.
    async fn find_token(&self, sha256: Sha256) -> Result<Option<TokenRecord>>;

    /// Every token that was made, in the order in which they were.
    async fn list_tokens(&self) -> Result<Vec<TokenRecord>>;

    /// Records that a token counts no longer, if it did, and answers with it; none when it is not there.
    async fn revoke_token(&self, token: TokenId) -> Result<Option<TokenRecord>>;

    /// Writes and commits something small.
    async fn check_writable(&self) -> Result<()>;

    /// Waits for what was begun and closes the database. Later calls fail.
    async fn close(&self);
}
