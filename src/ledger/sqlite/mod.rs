//! The ledger in one SQLite file: one thread writes (`writer`), a few connections read beside
//! it (`readers`), and each file here holds the statements of a few calls.

mod backup;
mod clock;
mod decide;
mod find;
mod list;
mod nodes;
mod readers;
mod replicas;
mod resumable;
mod rows;
mod schema;
mod size;
mod sorted;
mod sql;
mod tokens;
mod writer;

#[cfg(test)]
mod tests;

use std::fs::OpenOptions;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};

use super::{
    ClusterSettings, Cursor, DecideUpload, Decision, FileOrder, FileRecord, Ledger, LedgerError, Load,
    NewResumable, NewToken, NodeRecord, NodeWithCounts, Page, PendingReplica, Pieces, Result, Resumable,
    ResumableEnd, SessionOutcome, TokenRecord, Totals, VisibleBlob,
};
use crate::domain::{
    FileId, FileName, Generation, NodeId, Sha1, Sha256, Timestamp, TokenId, UploadId, Viewer,
};
pub use backup::{back_up, restore};
use clock::Clock;
use readers::Readers;
use writer::Writer;

/// The ledger in one SQLite file.
pub struct SqliteLedger {
    cluster: ClusterSettings,
    clock: Clock,
    readers: Readers,
    writer: Arc<Writer>,
    path: PathBuf,
}

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// It reads.
    Read,
    /// It writes, and is committed.
    Write,
}

/// Is told how long each call took, its waiting included.
pub type Timer = Arc<dyn Fn(Call, Duration) + Send + Sync>;

impl SqliteLedger {
    /// Opens the ledger in this file, and makes it when there is none. Blocks for as long as
    /// opening a few files takes, whatever is in them.
    ///
    /// # Errors
    /// When the file cannot be opened or is no ledger, or when a newer build wrote it.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with_clock(path, Arc::new(Timestamp::system))
    }

    /// Opens the ledger in this file beside a central that may be working on it. Neither the file nor its
    /// schema is made.
    ///
    /// # Errors
    /// As [`SqliteLedger::open`]; and when there is none, or it was last opened by an older build.
    pub fn open_beside(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Err(LedgerError::Unavailable(format!(
                "there is no ledger at {}: start central once",
                path.display()
            )));
        }
        Self::with_writer(path, schema::open_beside(path)?, Arc::new(Timestamp::system))
    }

    /// Opens it with another source of time.
    pub(in crate::ledger) fn open_with_clock(path: &Path, source: clock::Source) -> Result<Self> {
        // For nobody else on this machine, whatever its folder allows; what SQLite makes beside it follows. That
        // it is there already is usual, and what else is wrong SQLite says.
        let _ = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        Self::with_writer(path, schema::open_writer(path, OpenFlags::SQLITE_OPEN_CREATE)?, source)
    }

    fn with_writer(path: &Path, conn: Connection, source: clock::Source) -> Result<Self> {
        Ok(Self {
            cluster: schema::cluster(&conn)?,
            clock: Clock::new(source),
            readers: Readers::open(path)?,
            writer: Arc::new(Writer::start(path.to_owned(), conn, list::index_names)?),
            path: path.to_owned(),
        })
    }

    /// The same ledger, whose calls are timed.
    #[must_use]
    pub fn timed(mut self, timer: Timer) -> Self {
        self.readers.time(Arc::clone(&timer));
        if let Some(writer) = Arc::get_mut(&mut self.writer) {
            writer.time(timer);
        }
        self
    }
}

#[async_trait]
impl Ledger for SqliteLedger {
    fn cluster(&self) -> ClusterSettings {
        self.cluster
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn sizes_seen(&self, viewer: Viewer, sizes: &[u64]) -> Result<Vec<bool>> {
        let sizes = sizes.to_vec();
        self.readers.call(move |conn| find::sizes_seen(conn, viewer, &sizes)).await
    }

    async fn find_visible(&self, viewer: Viewer, sha1: Sha1) -> Result<Option<VisibleBlob>> {
        self.readers
            .call(move |conn| {
                let blob = rows::visible(conn, viewer, sha1)?;
                blob.map(|blob| rows::visible_blob(conn, viewer, &blob)).transpose()
            })
            .await
    }

    async fn files_of(&self, viewer: Viewer, sha1: Sha1, limit: usize) -> Result<Vec<FileRecord>> {
        self.readers
            .call(move |conn| match rows::visible(conn, viewer, sha1)? {
                Some(blob) => rows::files(conn, viewer, &blob, Some(limit)),
                None => Ok(Vec::new()),
            })
            .await
    }

    async fn file_named(&self, viewer: Viewer, sha1: Sha1, name: &FileName) -> Result<Option<FileRecord>> {
        let name = name.clone();
        self.readers.call(move |conn| find::file_named(conn, viewer, sha1, &name)).await
    }

    async fn find_file(&self, viewer: Viewer, id: FileId) -> Result<Option<FileRecord>> {
        self.readers.call(move |conn| find::find_file(conn, viewer, id)).await
    }

    async fn list_files(
        &self,
        viewer: Viewer,
        query: &str,
        order: FileOrder,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<FileRecord>> {
        let query = query.to_owned();
        self.readers.call(move |conn| list::list(conn, viewer, &query, order, after, limit)).await
    }

    async fn pieces(&self, viewer: Viewer, sha1: Sha1) -> Result<Option<Pieces>> {
        self.readers.call(move |conn| find::pieces(conn, viewer, sha1)).await
    }

    async fn decide_upload(&self, upload: DecideUpload) -> Result<Decision> {
        let clock = self.clock.clone();
        // The time is taken inside the transaction: see `session_outcome`.
        self.writer.call(move |conn| decide::decide(conn, clock.now(), &upload)).await
    }

    async fn confirm_replica(&self, sha1: Sha1, node: NodeId, generation: Generation) -> Result<()> {
        self.writer.call(move |conn| replicas::confirm(conn, sha1, node, generation)).await
    }

    async fn mark_replica_bad(&self, sha1: Sha1, node: NodeId, generation: Generation) -> Result<()> {
        self.writer.call(move |conn| replicas::mark_bad(conn, sha1, node, generation)).await
    }

    async fn session_outcome(
        &self,
        upload: UploadId,
        node: NodeId,
        sha1: Sha1,
        decide_before: Timestamp,
    ) -> Result<SessionOutcome> {
        let clock = self.clock.clone();
        let ask = move |conn: &rusqlite::Connection| {
            replicas::session_outcome(conn, clock.now(), upload, node, sha1, decide_before)
        };
        let outcome = self.readers.call(ask.clone()).await?;
        if outcome != SessionOutcome::Abort {
            return Ok(outcome);
        }
        // A reader does not see a decision that was taken in time and is being committed. In
        // line with the decisions, "not decided, and too late" stays true: the time that a
        // later one takes is later than this.
        self.writer.call(ask).await
    }

    async fn pending_replicas(
        &self,
        node: NodeId,
        age: Duration,
        limit: usize,
    ) -> Result<Vec<PendingReplica>> {
        let now = self.clock.now();
        self.readers.call(move |conn| replicas::pending(conn, now, node, age, limit)).await
    }

    async fn record_node(&self, node: NodeRecord) -> Result<()> {
        self.writer.call(move |conn| nodes::record(conn, &node)).await
    }

    async fn set_node_out(&self, node: NodeId, out: bool) -> Result<()> {
        self.writer.call(move |conn| nodes::set_out(conn, node, out)).await
    }

    async fn nodes_out(&self, nodes: &[NodeId]) -> Result<Vec<NodeId>> {
        let nodes = nodes.to_vec();
        self.readers.call(move |conn| nodes::out_of(conn, &nodes)).await
    }

    async fn nodes(&self) -> Result<Vec<NodeWithCounts>> {
        self.readers.call(nodes::all).await
    }

    async fn totals(&self) -> Result<Totals> {
        self.readers.call(find::totals).await
    }

    async fn load(&self) -> Result<Load> {
        let (now, path, waiting_writes) = (self.clock.now(), self.path.clone(), self.writer.waiting());
        self.readers.call(move |conn| size::load(conn, now, &path, waiting_writes)).await
    }

    async fn forget_outcomes(&self, age: Duration, limit: usize) -> Result<usize> {
        let now = self.clock.now();
        self.writer.call(move |conn| replicas::forget_outcomes(conn, now, age, limit)).await
    }

    async fn create_upload(&self, upload: NewResumable, limit: usize) -> Result<bool> {
        let now = self.clock.now();
        self.writer.call(move |conn| resumable::create(conn, now, &upload, limit)).await
    }

    async fn unfinished_uploads(&self, sender: Option<IpAddr>, limit: usize) -> Result<usize> {
        self.readers.call(move |conn| resumable::unfinished(conn, sender, limit)).await
    }

    async fn find_upload(&self, upload: UploadId) -> Result<Option<Resumable>> {
        self.readers.call(move |conn| resumable::find(conn, upload)).await
    }

    async fn set_upload_nodes(
        &self,
        upload: UploadId,
        nodes: &[NodeId],
        expires_at: Timestamp,
    ) -> Result<bool> {
        let nodes = nodes.to_vec();
        self.writer.call(move |conn| resumable::set_nodes(conn, upload, &nodes, expires_at)).await
    }

    async fn announce_upload(
        &self,
        upload: UploadId,
        sha1: Option<Sha1>,
        sha256: Option<Sha256>,
    ) -> Result<()> {
        self.writer.call(move |conn| resumable::announce(conn, upload, sha1, sha256)).await
    }

    async fn end_upload(&self, upload: UploadId, end: ResumableEnd) -> Result<bool> {
        let now = self.clock.now();
        self.writer.call(move |conn| resumable::end(conn, now, upload, end)).await
    }

    async fn expired_uploads(&self, limit: usize) -> Result<Vec<Resumable>> {
        let now = self.clock.now();
        self.readers.call(move |conn| resumable::expired(conn, now, limit)).await
    }

    async fn create_token(&self, token: NewToken) -> Result<()> {
        let now = self.clock.now();
        self.writer.call(move |conn| tokens::create(conn, now, &token)).await
    }

    async fn find_token(&self, sha256: Sha256) -> Result<Option<TokenRecord>> {
        self.readers.call(move |conn| tokens::find(conn, sha256)).await
    }

    async fn list_tokens(&self) -> Result<Vec<TokenRecord>> {
        self.readers.call(tokens::all).await
    }

    async fn revoke_token(&self, token: TokenId) -> Result<Option<TokenRecord>> {
        let now = self.clock.now();
        self.writer.call(move |conn| tokens::revoke(conn, now, token)).await
    }

    async fn check_writable(&self) -> Result<()> {
        let now = self.clock.now().as_millis();
        self.writer
            .call(move |conn| {
                sql::run(conn, "UPDATE settings SET checked_at = ?1 WHERE one = 1", [now]).map(|_| ())
            })
            .await
    }

    async fn close(&self) {
        self.readers.close().await;
        let writer = Arc::clone(&self.writer);
        if let Err(error) = tokio::task::spawn_blocking(move || writer.close()).await {
            tracing::error!(%error, "the ledger did not close");
        }
    }
}
