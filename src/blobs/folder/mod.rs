//! The store in one folder.
//!
//! ```text
//! marker.json                 whose folder this is
//! lock                        held by the process that has it open
//! blobs/ab/cd/<sha1>          exactly a blob's bytes
//! blobs/ab/cd/<sha1>.about    its description
//! sessions/<upload>/data      an upload's bytes
//! sessions/<upload>/about     what describes them; there once the session is prepared
//! sessions/<upload>/terms     what a resumable upload is held to; there from its beginning
//! sessions/<upload>/offset    how much of it was acknowledged
//! quarantine/                 what cannot be trusted and may still be worth a look
//! ```
//!
//! All of it lies on one filesystem. `marker.json` and every description carry a format
//! number; a session with neither `about` nor `terms` is removed at the start.
//!
//! Disk work is done in jobs on blocking threads that run to their end once begun, whether or
//! not the caller still waits: a dropped call leaves nothing half-way.

mod description;
mod disk;
mod faults;
mod finish;
mod flush;
mod inventory;
mod lines;
mod locks;
mod marker;
mod offset;
mod reader;
mod recover;
mod resume;
mod session;
mod space;
mod terms;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::OwnedMutexGuard;

use crate::blobs::{
    BlobError, BlobReader, BlobStore, Capacity, DescribedFile, DiskFault, Expected, InventoryPage, Prepared,
    PreparedSession, Result, SessionOptions, StoredBlob,
};
use crate::domain::{ClusterId, Generation, NodeId, Sha1, Timestamp, UploadId};
use crate::trace;

use disk::Disk;
use faults::Faults;
use locks::BlobLocks;
use session::{Session, State};
use space::{Probe, Space};

pub use marker::OpenError;

/// How to open a [`FolderStore`].
#[derive(Debug, Clone)]
pub struct FolderStoreOptions {
    /// The folder; made if it is not there and the node is new.
    pub dir: PathBuf,
    /// Whose folder it must be.
    pub node: NodeId,
    /// The cluster that it must belong to.
    pub cluster: ClusterId,
    /// Whether the cluster knows this node already: then a folder without a marker is
    /// refused, as its disk may not be mounted.
    pub known_to_cluster: bool,
    /// Kept free for others on this filesystem, in bytes.
    pub reserve_bytes: u64,
}

/// A store in one folder, kept to one process. Clones share it.
#[derive(Clone)]
pub struct FolderStore {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Disk,
    cluster: ClusterId,
    space: Arc<Space>,
    sessions: Mutex<BTreeMap<UploadId, Arc<Session>>>,
    blob_locks: BlobLocks,
    /// The folders of blobs (by the first one or two bytes of the digest) that this process
    /// has synced into the ones above them: at most 65,792.
    synced_folders: Mutex<HashSet<Box<[u8]>>>,
    /// The lock on the folder is held while this is open.
    _lock: File,
}

impl FolderStore {
    /// Opens a store: claims its folder and takes up its prepared and resumable sessions;
    /// reads no blobs.
    ///
    /// # Errors
    /// When the folder is not this node's, is in use, or cannot be read or written.
    pub async fn open(options: FolderStoreOptions) -> std::result::Result<Self, OpenError> {
        let probe = space::probe(options.dir.clone());
        Self::open_with(options, probe, Faults::default()).await
    }

    async fn open_with(
        options: FolderStoreOptions,
        probe: Probe,
        faults: Faults,
    ) -> std::result::Result<Self, OpenError> {
        let opening = tokio::task::spawn_blocking(move || open(options, probe, faults));
        opening.await.map_err(io::Error::other)?
    }

    fn session(&self, upload: UploadId) -> Option<Arc<Session>> {
        let session = self.inner.sessions().get(&upload).cloned();
        if let Some(session) = &session {
            session.touch();
        }
        session
    }

    /// Does a job on a session, as soon as no other job works on it.
    async fn with_session<T: Send + 'static>(
        &self,
        session: Arc<Session>,
        job: impl FnOnce(&Arc<Inner>, &Session, &mut State) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let state = hold(&session).await;
        self.with_state(session, state, job).await
    }

    async fn with_state<T: Send + 'static>(
        &self,
        session: Arc<Session>,
        mut state: OwnedMutexGuard<State>,
        job: impl FnOnce(&Arc<Inner>, &Session, &mut State) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let result = if session.is_cancelled() {
                Err(BlobError::NoSession)
            } else {
                job(&inner, &session, &mut state)
            };
            let ended = inner.end_if_due(&session, &mut state);
            session.touch();
            if ended && result.is_ok() { Err(BlobError::NoSession) } else { result }
        })
        .await
    }
}

fn open(
    options: FolderStoreOptions,
    probe: Probe,
    faults: Faults,
) -> std::result::Result<FolderStore, OpenError> {
    let FolderStoreOptions { dir, node, cluster, known_to_cluster, reserve_bytes } = options;
    let disk = Disk::new(dir, faults);
    let lock = marker::claim(&disk, node, cluster, known_to_cluster)?;
    let space = Space::new(probe, reserve_bytes);
    let found = recover::sessions(&disk, cluster, &space)?;
    let sessions = found.into_iter().map(|session| (session.upload, Arc::new(session))).collect();
    Ok(FolderStore {
        inner: Arc::new(Inner {
            disk,
            cluster,
            space,
            sessions: Mutex::new(sessions),
            blob_locks: BlobLocks::default(),
            synced_folders: Mutex::default(),
            _lock: lock,
        }),
    })
}

impl Inner {
    fn sessions(&self) -> MutexGuard<'_, BTreeMap<UploadId, Arc<Session>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process has synced a folder of blobs into the one above it.
    fn is_synced(&self, folder: &[u8]) -> bool {
        self.synced_folders.lock().unwrap_or_else(PoisonError::into_inner).contains(folder)
    }

    fn synced(&self, folder: &[u8]) {
        self.synced_folders.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.into());
    }

    /// Ends a session: closes it, frees its space, removes what it has on the disk, and then
    /// frees its name.
    fn end(&self, session: &Session, state: &mut State) {
        *state = State::Ended;
        let upload = session.upload;
        // A call that waited for a session that is gone must not end another of its name.
        let is_this = |found: &Arc<Session>| std::ptr::eq(Arc::as_ptr(found), session);
        if !self.sessions().get(&upload).is_some_and(is_this) {
            return;
        }
        if let Err(error) = self.disk.remove_session(upload) {
            tracing::warn!(upload = upload.short(), %error, "what an ended session has left cannot be removed");
        }
        self.sessions().remove(&upload);
    }

    /// Ends a session that an error or an abort put an end to; says whether it is gone.
    fn end_if_due(&self, session: &Session, state: &mut State) -> bool {
        let due = session.is_cancelled() || matches!(*state, State::Ended);
        if due {
            self.end(session, state);
        }
        due
    }
}

/// Waits until no job works on a session.
async fn hold(session: &Session) -> OwnedMutexGuard<State> {
    // Without waiting where that is possible: then a call goes from here to its job in one
    // go and cannot be dropped between the two.
    match Arc::clone(&session.state).try_lock_owned() {
        Ok(state) => state,
        Err(_) => Arc::clone(&session.state).lock_owned().await,
    }
}

/// Does disk work off the async threads, as part of the caller's request.
async fn blocking<T: Send + 'static>(job: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(trace::carried_job(job));
    done.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
}

/// Sessions at once, whatever their size: each has up to two files open, and a server that can open no
/// file more serves nobody.
const MOST_SESSIONS: usize = if cfg!(test) { 200 } else { 10_000 };

/// What a failure of the disk means; a full one is an answer of its own. `doing` names what the call was for,
/// as nobody else logs it.
fn disk_failed(answer: io::Error, doing: impl fmt::Display) -> BlobError {
    match answer.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => BlobError::NoSpace,
        _ => DiskFault { doing: doing.to_string(), answer }.into(),
    }
}

#[async_trait]
impl BlobStore for FolderStore {
    async fn create_session(&self, upload: UploadId, options: SessionOptions) -> Result<()> {
        if options.declared_bytes.is_some_and(|declared| declared > options.limit_bytes) {
            return Err(BlobError::TooLong);
        }
        let session = Arc::new(Session::new(upload, options));
        // Held before anyone can find it: nobody sees it half-made.
        let state = hold(&session).await;
        {
            let mut sessions = self.inner.sessions();
            if sessions.contains_key(&upload) {
                return Err(BlobError::SessionExists);
            }
            if sessions.len() >= MOST_SESSIONS {
                return Err(BlobError::NoSpace);
            }
            sessions.insert(upload, Arc::clone(&session));
        }
        self.with_state(session, state, |inner, session, state| session::create(inner, session, state)).await
    }

    async fn append(&self, upload: UploadId, offset: u64, bytes: Bytes) -> Result<u64> {
        let session = self.session(upload).ok_or(BlobError::NoSession)?;
        self.with_session(session, move |inner, session, state| {
            session::append(inner, session, state, offset, &bytes)
        })
        .await
    }

    async fn acknowledge(&self, upload: UploadId) -> Result<u64> {
        let session = self.session(upload).ok_or(BlobError::NoSession)?;
        self.with_session(session, |inner, session, state| resume::acknowledge_all(inner, session, state))
            .await
    }

    async fn acknowledged(&self, upload: UploadId) -> Result<u64> {
        // Asking is no sign of life: an upload lives as long as it is written.
        let session = self.inner.sessions().get(&upload).cloned().ok_or(BlobError::NoSession)?;
        if let Some((digests, _)) = session.prepared() {
            return Ok(digests.size);
        }
        if !session.options.resumable {
            return Err(BlobError::WrongState);
        }
        if session.acknowledged().is_none() {
            // It is being made.
            drop(hold(&session).await);
        }
        session.acknowledged().ok_or(BlobError::NoSession)
    }

    async fn hold(&self, upload: UploadId) -> Result<()> {
        let session = self.session(upload).ok_or(BlobError::NoSession)?;
        self.with_session(session, |inner, session, state| resume::hold(inner, session, state)).await
    }

    async fn rewind(&self, upload: UploadId, offset: u64) -> Result<()> {
        let session = self.session(upload).ok_or(BlobError::NoSession)?;
        self.with_session(session, move |inner, session, state| resume::rewind(inner, session, state, offset))
            .await
    }

    async fn prepare(
        &self,
        upload: UploadId,
        expected: Expected,
        decide_before: Timestamp,
    ) -> Result<Prepared> {
        let session = self.session(upload).ok_or(BlobError::NoSession)?;
        self.with_session(session, move |inner, session, state| {
            session::prepare(inner, session, state, &expected, decide_before)
        })
        .await
    }

    async fn finish(
        &self,
        upload: UploadId,
        sha1: Sha1,
        generation: Generation,
        files: Vec<DescribedFile>,
    ) -> Result<()> {
        let blob_lock = self.inner.blob_locks.lock(sha1).await;
        let session = self.session(upload);
        let mut held = None;
        if let Some(session) = session {
            let state = hold(&session).await;
            held = Some((session, state));
        }
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let _blob_lock = blob_lock;
            let decision = finish::Decision { upload, sha1, generation, files };
            let Some((session, mut state)) = held else {
                return finish::finish(&inner, None, decision);
            };
            if inner.end_if_due(&session, &mut state) {
                return finish::finish(&inner, None, decision);
            }
            let result = finish::finish(&inner, Some((&session, &mut state)), decision);
            inner.end_if_due(&session, &mut state);
            session.touch();
            result
        })
        .await
    }

    async fn abort(&self, upload: UploadId) -> Result<()> {
        let Some(session) = self.session(upload) else { return Ok(()) };
        // Heard by a job that works on it; should this call be dropped while it waits, that
        // job ends the session.
        session.cancel();
        let mut state = hold(&session).await;
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            inner.end(&session, &mut state);
            Ok(())
        })
        .await
    }

    async fn open_session(&self, upload: UploadId) -> Result<Box<dyn BlobReader>> {
        let session = self.session(upload).ok_or(BlobError::NoSession)?;
        let inner = Arc::clone(&self.inner);
        let reader = blocking(move || reader::FileReader::of_session(&inner, session)).await?;
        Ok(Box::new(reader))
    }

    async fn open_blob(&self, sha1: Sha1) -> Result<(StoredBlob, Box<dyn BlobReader>)> {
        let inner = Arc::clone(&self.inner);
        let (stored, reader) = blocking(move || reader::open_blob(&inner, &sha1)).await?;
        Ok((stored, Box::new(reader)))
    }

    async fn inventory(&self, after: Option<Sha1>, limit: usize) -> Result<InventoryPage> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inventory::page(&inner, after, limit)).await
    }

    async fn prepared_sessions(&self) -> Result<Vec<PreparedSession>> {
        let sessions = self.inner.sessions();
        let prepared = sessions.values().filter_map(|session| {
            let (digests, decide_before) = session.prepared()?;
            let quiet_for = session.quiet_for();
            Some(PreparedSession { upload: session.upload, digests, decide_before, quiet_for })
        });
        Ok(prepared.collect())
    }

    async fn expire_sessions(&self) -> Result<usize> {
        let expired: Vec<_> =
            self.inner.sessions().values().filter(|session| session.is_expired()).cloned().collect();
        let mut ended = 0;
        for session in expired {
            // A session that a job works on is not idle.
            let Ok(mut state) = Arc::clone(&session.state).try_lock_owned() else { continue };
            let inner = Arc::clone(&self.inner);
            let gone = blocking(move || {
                let gone = session.is_expired();
                if gone {
                    inner.end(&session, &mut state);
                }
                Ok(gone)
            });
            ended += usize::from(gone.await?);
        }
        Ok(ended)
    }

    async fn capacity(&self) -> Result<Capacity> {
        let inner = Arc::clone(&self.inner);
        blocking(move || {
            let left = inner.space.left().map_err(|error| disk_failed(error, "asking for free space"))?;
            let sessions = inner.sessions().len() as u64;
            Ok(Capacity { total_bytes: left.total_bytes, free_bytes: left.free_bytes, sessions })
        })
        .await
    }
}
