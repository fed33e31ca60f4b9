//! One upload on its way: bytes appended and hashed, then prepared.
//!
//! Whoever works on a session holds its [`State`], moved into a job on a blocking thread, and
//! leaves it consistent whether or not anyone still waits for the answer.

use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use closeby_hash::BlobHasher;
use tokio::time::Instant;

use crate::blobs::{BlobError, Expected, Prepared, Result, SessionOptions};
use crate::domain::{BlobDigests, Sha1, Sha256, Timestamp, UploadId};

use super::flush::Flusher;
use super::space::Reservation;
use super::{Inner, description, disk_failed};

/// Written and hashed between two looks at whether the session was aborted, in bytes.
const SLICE_BYTES: usize = 1 << 20;

/// A session, in the map of all.
pub(super) struct Session {
    pub(super) upload: UploadId,
    /// How long it lives unprepared when nobody calls for it.
    idle: Duration,
    /// Set by an abort; whoever holds the state then ends the session.
    cancelled: AtomicBool,
    /// When a call last concerned it.
    touched: Mutex<Instant>,
    /// What it holds, once it is prepared.
    prepared: OnceLock<(BlobDigests, Timestamp)>,
    /// Held by the one job that works on it.
    pub(super) state: Arc<tokio::sync::Mutex<State>>,
}

/// How far a session is.
pub(super) enum State {
    /// Takes bytes.
    Writing(Box<Writing>),
    /// Holds every byte, checked and synced.
    Prepared,
    /// Is no more; or never came to be.
    Ended,
}

/// A session that takes bytes.
pub(super) struct Writing {
    file: Arc<File>,
    /// Stands at `at` whenever no job runs: bytes are hashed once they are written, so the
    /// acknowledged offset is one that the upload can go on from. To go back to earlier
    /// offsets, clones of it are to be kept here; to go on after a restart, the file is to
    /// be read again (what is there today is removed then, as its sender is gone).
    hasher: BlobHasher,
    pieces: Vec<[u8; 32]>,
    /// The acknowledged offset, in bytes.
    at: u64,
    /// The most it may take, in bytes: the declared size, or the limit.
    most: u64,
    declared: Option<u64>,
    space: Reservation,
    flusher: Flusher,
}

impl Session {
    /// A session that is not on the disk yet.
    pub(super) fn new(upload: UploadId, idle: Duration) -> Self {
        Self {
            upload,
            idle,
            cancelled: AtomicBool::new(false),
            touched: Mutex::new(Instant::now()),
            prepared: OnceLock::new(),
            state: Arc::new(tokio::sync::Mutex::new(State::Ended)),
        }
    }

    /// A prepared session that was found on the disk.
    pub(super) fn found(upload: UploadId, digests: BlobDigests, decide_before: Timestamp) -> Self {
        Self {
            prepared: OnceLock::from((digests, decide_before)),
            state: Arc::new(tokio::sync::Mutex::new(State::Prepared)),
            ..Self::new(upload, Duration::MAX)
        }
    }

    pub(super) fn touch(&self) {
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn quiet_for(&self) -> Duration {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }

    /// Whether its idle time is over; never for a prepared one.
    pub(super) fn is_expired(&self) -> bool {
        self.prepared.get().is_none() && self.quiet_for() >= self.idle
    }

    pub(super) fn prepared(&self) -> Option<(BlobDigests, Timestamp)> {
        self.prepared.get().copied()
    }

    pub(super) fn cancel(&self) {
        self.cancelled.store(true, Ordering::Release);
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }
}

/// Makes a session's folder and file, once its space is reserved.
pub(super) fn create(
    inner: &Inner,
    session: &Session,
    state: &mut State,
    options: &SessionOptions,
) -> Result<()> {
    let space = Reservation::new(&inner.space, options.declared_bytes, options.limit_bytes)
        .map_err(|error| disk_failed(error, "reserving space"))?;
    let dir = inner.disk.session(session.upload);
    let made = match inner.disk.make_dir(&dir) {
        // What an end that failed has left; no session of this upload lives.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            inner.disk.remove_session(session.upload).and_then(|()| inner.disk.make_dir(&dir))
        }
        other => other,
    };
    let file = made
        .and_then(|()| inner.disk.make_file(&inner.disk.session_data(session.upload)))
        .map_err(|error| disk_failed(error, "making a session"))?;
    *state = State::Writing(Box::new(Writing {
        file: Arc::new(file),
        hasher: BlobHasher::new(),
        pieces: Vec::new(),
        at: 0,
        most: options.declared_bytes.unwrap_or(options.limit_bytes),
        declared: options.declared_bytes,
        space,
        flusher: Flusher::default(),
    }));
    Ok(())
}

/// Appends at the acknowledged offset. On an error but a wrong offset or state, what it
/// leaves is [`State::Ended`].
pub(super) fn append(
    inner: &Arc<Inner>,
    session: &Session,
    state: &mut State,
    offset: u64,
    bytes: &Bytes,
) -> Result<u64> {
    // Taken out, so that whatever goes wrong half-way, even a panic, leaves no state that
    // would go on from there.
    match std::mem::replace(state, State::Ended) {
        State::Writing(mut writing) => {
            if offset != writing.at {
                let at = writing.at;
                *state = State::Writing(writing);
                return Err(BlobError::WrongOffset { at });
            }
            write(inner, session, &mut writing, bytes)?;
            let at = writing.at;
            *state = State::Writing(writing);
            Ok(at)
        }
        State::Prepared => {
            *state = State::Prepared;
            Err(BlobError::WrongState)
        }
        State::Ended => Err(BlobError::NoSession),
    }
}

fn write(inner: &Arc<Inner>, session: &Session, writing: &mut Writing, bytes: &Bytes) -> Result<()> {
    let more = bytes.len() as u64;
    if more > writing.most.saturating_sub(writing.at) {
        return Err(BlobError::TooLong);
    }
    let failed = |error| disk_failed(error, "writing to a session");
    writing.space.need(more).map_err(failed)?;
    let path = inner.disk.session_data(session.upload);
    for slice in bytes.chunks(SLICE_BYTES) {
        if session.is_cancelled() {
            return Err(BlobError::NoSession);
        }
        inner.disk.write_at(&writing.file, &path, slice, writing.at).map_err(failed)?;
        writing.hasher.update(slice, &mut writing.pieces);
        writing.at += slice.len() as u64;
        writing.space.wrote(slice.len() as u64);
    }
    writing.flusher.wrote(inner, session.upload, &writing.file, writing.at).map_err(failed)
}

/// Checks the digests and syncs everything. On an error but a wrong digest asked of a
/// session that is prepared already, what it leaves is [`State::Ended`].
pub(super) fn prepare(
    inner: &Inner,
    session: &Session,
    state: &mut State,
    expected: &Expected,
    decide_before: Timestamp,
) -> Result<Prepared> {
    match std::mem::replace(state, State::Ended) {
        State::Writing(writing) => {
            let prepared = settle(inner, session, *writing, expected, decide_before)?;
            // Set once: a session is prepared once.
            let _ = session.prepared.set((prepared.digests, prepared.decide_before));
            *state = State::Prepared;
            Ok(prepared)
        }
        State::Prepared => {
            *state = State::Prepared;
            let (header, pieces) = description::read_session(&inner.disk, inner.cluster, session.upload)
                .and_then(|read| {
                    read.map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
                })
                .map_err(|error| disk_failed(error, "reading a prepared session"))?;
            let digests = header.digests();
            if !agrees(expected, &digests) {
                return Err(BlobError::WrongDigest(digests));
            }
            Ok(Prepared { digests, pieces, decide_before: header.decide_before })
        }
        State::Ended => Err(BlobError::NoSession),
    }
}

fn agrees(expected: &Expected, digests: &BlobDigests) -> bool {
    expected.sha1.is_none_or(|sha1| sha1 == digests.sha1)
        && expected.sha256.is_none_or(|sha256| sha256 == digests.sha256)
        && expected.size.is_none_or(|size| size == digests.size)
}

fn settle(
    inner: &Inner,
    session: &Session,
    writing: Writing,
    expected: &Expected,
    decide_before: Timestamp,
) -> Result<Prepared> {
    let Writing { file, hasher, mut pieces, at, declared, space, flusher, .. } = writing;
    if [declared, expected.size].into_iter().flatten().any(|size| at < size) {
        return Err(BlobError::TooShort { at });
    }
    let found = hasher.finish(&mut pieces).map_err(|_| BlobError::Collision)?;
    let digests =
        BlobDigests { sha1: Sha1::new(found.sha1), sha256: Sha256::new(found.sha256), size: found.size };
    if !agrees(expected, &digests) {
        return Err(BlobError::WrongDigest(digests));
    }
    let failed = |error| disk_failed(error, "preparing a session");
    let (disk, upload) = (&inner.disk, session.upload);
    // Data, then what describes it (by a rename), then both names, then the folder's name:
    // whenever a cut comes, a description that is there has all its bytes beside it.
    flusher.settle().map_err(failed)?;
    disk.sync_file(&file, &disk.session_data(upload)).map_err(failed)?;
    // One that was only queued at the first look may have met this one, and taken its error.
    flusher.settle().map_err(failed)?;
    if session.is_cancelled() {
        return Err(BlobError::NoSession);
    }
    description::write_session(disk, inner.cluster, upload, &digests, &pieces, decide_before)
        .map_err(failed)?;
    disk.sync_dir(&disk.session(upload)).map_err(failed)?;
    disk.sync_dir(&disk.sessions()).map_err(failed)?;
    drop(space);
    Ok(Prepared { digests, pieces: pieces.into_iter().map(Sha256::new).collect(), decide_before })
}
