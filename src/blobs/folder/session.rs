//! One upload on its way: bytes appended and hashed, then prepared.
//!
//! Whoever works on a session holds its [`State`], moved into a job on a blocking thread, and
//! leaves it consistent whether or not anyone still waits for the answer.

use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use closeby_hash::BlobHasher;
use tokio::time::Instant;

use crate::blobs::{ACKNOWLEDGE_BYTES, BlobError, Expected, Prepared, Result, SessionOptions};
use crate::domain::{BlobDigests, Sha1, Sha256, Timestamp, UploadId};

use super::flush::Flusher;
use super::resume::{self, Track};
use super::space::Reservation;
use super::{Inner, description, disk_failed};

/// Written and hashed between two looks at whether the session was aborted, in bytes.
const SLICE_BYTES: usize = 1 << 20;

/// A session, in the map of all.
pub(super) struct Session {
    pub(super) upload: UploadId,
    /// What it is held to.
    pub(super) options: SessionOptions,
    /// A resumable one's acknowledged offset, in bytes; [`NOT_MADE`] before it is on the disk.
    acknowledged: AtomicU64,
    /// Set by an abort; whoever holds the state then ends the session.
    cancelled: AtomicBool,
    /// When a call last concerned it, and for how long it was quiet before that moment.
    touched: Mutex<(Instant, Duration)>,
    /// What it holds, once it is prepared.
    prepared: OnceLock<(BlobDigests, Timestamp)>,
    /// Held by the one job that works on it.
    pub(super) state: Arc<tokio::sync::Mutex<State>>,
}

/// No offset: the session is being made.
const NOT_MADE: u64 = u64::MAX;

/// How far a session is.
pub(super) enum State {
    /// Takes bytes.
    Writing(Box<Writing>),
    /// Is resumable and stands at what it acknowledged: its file has to be read again before
    /// it takes bytes.
    Resting(Reservation),
    /// Holds every byte, checked and synced.
    Prepared,
    /// Is no more; or never came to be.
    Ended,
}

/// A session that takes bytes.
pub(super) struct Writing {
    pub(super) file: Arc<File>,
    /// Stands at `at` whenever no job runs: bytes are hashed once they are written, so `at` is
    /// an offset that the upload can go on from.
    pub(super) hasher: BlobHasher,
    pub(super) pieces: Vec<[u8; 32]>,
    /// Where the next bytes go.
    pub(super) at: u64,
    pub(super) space: Reservation,
    pub(super) flusher: Flusher,
    /// What a resumable one can go back to.
    pub(super) track: Option<Track>,
    /// What is in the file, or on the disk of it, is not known: a resumable session then goes
    /// on from what it acknowledged.
    pub(super) is_unsure: bool,
    /// Nothing is acknowledged on the way.
    pub(super) is_held: bool,
}

impl Writing {
    pub(super) fn new(file: File, space: Reservation, track: Option<Track>) -> Self {
        Self {
            file: Arc::new(file),
            hasher: BlobHasher::new(),
            pieces: Vec::new(),
            at: 0,
            space,
            flusher: Flusher::default(),
            track,
            is_unsure: false,
            is_held: false,
        }
    }
}

impl Session {
    /// A session that is not on the disk yet.
    pub(super) fn new(upload: UploadId, options: SessionOptions) -> Self {
        Self {
            upload,
            options,
            acknowledged: AtomicU64::new(NOT_MADE),
            cancelled: AtomicBool::new(false),
            touched: Mutex::new((Instant::now(), Duration::ZERO)),
            prepared: OnceLock::new(),
            state: Arc::new(tokio::sync::Mutex::new(State::Ended)),
        }
    }

    /// A prepared session that was found on the disk.
    pub(super) fn found(upload: UploadId, digests: BlobDigests, decide_before: Timestamp) -> Self {
        let limit_bytes = digests.size;
        let options =
            SessionOptions { declared_bytes: None, limit_bytes, idle: Duration::MAX, resumable: false };
        Self {
            prepared: OnceLock::from((digests, decide_before)),
            state: Arc::new(tokio::sync::Mutex::new(State::Prepared)),
            ..Self::new(upload, options)
        }
    }

    /// A resumable session on its way that was found on the disk.
    pub(super) fn resting(
        upload: UploadId,
        options: SessionOptions,
        acknowledged: u64,
        quiet_for: Duration,
        mut space: Reservation,
    ) -> Self {
        if let Some(declared) = options.declared_bytes {
            space.hold(declared.saturating_sub(acknowledged));
        }
        Self {
            acknowledged: AtomicU64::new(acknowledged),
            touched: Mutex::new((Instant::now(), quiet_for)),
            state: Arc::new(tokio::sync::Mutex::new(State::Resting(space))),
            ..Self::new(upload, options)
        }
    }

    /// The acknowledged offset of a resumable session, once it is made.
    pub(super) fn acknowledged(&self) -> Option<u64> {
        Some(self.acknowledged.load(Ordering::Acquire)).filter(|offset| *offset != NOT_MADE)
    }

    pub(super) fn set_acknowledged(&self, offset: u64) {
        self.acknowledged.store(offset, Ordering::Release);
    }

    /// The most it may take, in bytes: the declared size, or the limit.
    fn most(&self) -> u64 {
        self.options.declared_bytes.unwrap_or(self.options.limit_bytes)
    }

    pub(super) fn touch(&self) {
        let now = (Instant::now(), Duration::ZERO);
        *self.touched.lock().unwrap_or_else(PoisonError::into_inner) = now;
    }

    pub(super) fn quiet_for(&self) -> Duration {
        let (at, before) = *self.touched.lock().unwrap_or_else(PoisonError::into_inner);
        at.elapsed().saturating_add(before)
    }

    /// Whether its idle time is over; never for a prepared one.
    pub(super) fn is_expired(&self) -> bool {
        self.prepared.get().is_none() && self.quiet_for() >= self.options.idle
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
pub(super) fn create(inner: &Inner, session: &Session, state: &mut State) -> Result<()> {
    let options = &session.options;
    let space =
        Reservation::new(&inner.space, options.declared_bytes, options.limit_bytes).map_err(|error| {
            disk_failed(error, format_args!("reserving space for session {}", session.upload.short()))
        })?;
    let dir = inner.disk.session(session.upload);
    let made = match inner.disk.make_dir(&dir) {
        // What an end that failed has left; no session of this upload lives.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            inner.disk.remove_session(session.upload).and_then(|()| inner.disk.make_dir(&dir))
        }
        other => other,
    };
    let failed = |error| disk_failed(error, format_args!("making session {}", session.upload.short()));
    let file =
        made.and_then(|()| inner.disk.make_file(&inner.disk.session_data(session.upload))).map_err(failed)?;
    let track = if options.resumable {
        let track = Track::create(&inner.disk, inner.cluster, session.upload, options).map_err(failed)?;
        session.set_acknowledged(0);
        Some(track)
    } else {
        None
    };
    *state = State::Writing(Box::new(Writing::new(file, space, track)));
    Ok(())
}

/// What a session is after an error: ended, unless it is resumable and nothing was lost.
pub(super) fn after(session: &Session, writing: Box<Writing>, error: &BlobError) -> State {
    match error {
        BlobError::WrongOffset { .. } => State::Writing(writing),
        BlobError::NoSpace | BlobError::TooLong | BlobError::WrongDigest(_) | BlobError::Collision
            if session.options.resumable =>
        {
            if writing.is_unsure {
                State::Resting(writing.space)
            } else {
                State::Writing(writing)
            }
        }
        _ => State::Ended,
    }
}

/// Appends where the session stands; what it leaves on an error is said by [`after`].
pub(super) fn append(
    inner: &Arc<Inner>,
    session: &Session,
    state: &mut State,
    offset: u64,
    bytes: &Bytes,
) -> Result<u64> {
    resume::wake(inner, session, state)?;
    with_writing(session, state, |writing| {
        if offset != writing.at {
            return Err(BlobError::WrongOffset { at: writing.at });
        }
        write(inner, session, writing, bytes)?;
        Ok(writing.at)
    })
}

/// Does something with a session that takes bytes.
pub(super) fn with_writing<T>(
    session: &Session,
    state: &mut State,
    job: impl FnOnce(&mut Writing) -> Result<T>,
) -> Result<T> {
    // Taken out, so that whatever goes wrong half-way, even a panic, leaves no state that
    // would go on from there.
    match std::mem::replace(state, State::Ended) {
        State::Writing(mut writing) => {
            let result = job(&mut writing);
            *state = match &result {
                Ok(_) => State::Writing(writing),
                Err(error) => after(session, writing, error),
            };
            result
        }
        other @ (State::Prepared | State::Resting(_)) => {
            *state = other;
            Err(BlobError::WrongState)
        }
        State::Ended => Err(BlobError::NoSession),
    }
}

fn write(inner: &Arc<Inner>, session: &Session, writing: &mut Writing, bytes: &Bytes) -> Result<()> {
    let more = bytes.len() as u64;
    if more > session.most().saturating_sub(writing.at) {
        return Err(BlobError::TooLong);
    }
    let failed = |error| disk_failed(error, format_args!("writing to session {}", session.upload.short()));
    writing.space.need(more).map_err(failed)?;
    let path = inner.disk.session_data(session.upload);
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        if session.is_cancelled() {
            return Err(BlobError::NoSession);
        }
        let room = ACKNOWLEDGE_BYTES - writing.at % ACKNOWLEDGE_BYTES;
        let most = usize::try_from(room).map_or(SLICE_BYTES, |room| room.min(SLICE_BYTES));
        let (slice, later) = rest.split_at(most.min(rest.len()));
        rest = later;
        inner.disk.write_at(&writing.file, &path, slice, writing.at).map_err(failed)?;
        writing.hasher.update(slice, &mut writing.pieces);
        writing.at += slice.len() as u64;
        writing.space.wrote(slice.len() as u64);
        if writing.at.is_multiple_of(ACKNOWLEDGE_BYTES) && !writing.is_held {
            resume::acknowledge(inner, session, writing)?;
        }
    }
    if writing.track.is_some() && !writing.is_held {
        return Ok(());
    }
    writing.flusher.wrote(inner, session.upload, &writing.file, writing.at).map_err(failed)
}

/// Checks the digests and syncs everything; what it leaves on an error is said by [`after`],
/// but a session that is prepared already stays that.
pub(super) fn prepare(
    inner: &Inner,
    session: &Session,
    state: &mut State,
    expected: &Expected,
    decide_before: Timestamp,
) -> Result<Prepared> {
    resume::wake(inner, session, state)?;
    match state {
        State::Writing(_) => {
            let prepared = with_writing(session, state, |writing| {
                settle(inner, session, writing, expected, decide_before)
            });
            if prepared.is_err() {
                resume::unprepare(inner, session, state);
            }
            let prepared = prepared?;
            // Set once: a session is prepared once.
            let _ = session.prepared.set((prepared.digests, prepared.decide_before));
            *state = State::Prepared;
            Ok(prepared)
        }
        State::Prepared => {
            let (header, pieces) = description::read_session(&inner.disk, inner.cluster, session.upload)
                .and_then(|read| {
                    read.map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))
                })
                .map_err(|error| {
                    disk_failed(error, format_args!("reading prepared session {}", session.upload.short()))
                })?;
            let digests = header.digests();
            if !agrees(expected, &digests) {
                return Err(BlobError::WrongDigest(digests));
            }
            Ok(Prepared { digests, pieces, decide_before: header.decide_before })
        }
        State::Resting(_) => Err(BlobError::WrongState),
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
    writing: &mut Writing,
    expected: &Expected,
    decide_before: Timestamp,
) -> Result<Prepared> {
    let at = writing.at;
    let mut sizes = [session.options.declared_bytes, expected.size].into_iter().flatten();
    if writing.track.is_some() {
        if writing.is_held {
            return Err(BlobError::WrongOffset { at: session.acknowledged().unwrap_or(0) });
        }
        resume::acknowledge(inner, session, writing)?;
        if sizes.any(|size| at != size) {
            return Err(BlobError::WrongOffset { at });
        }
    } else if sizes.any(|size| at < size) {
        return Err(BlobError::TooShort { at });
    }
    writing.is_unsure = true;
    let (hasher, mut pieces) = (std::mem::take(&mut writing.hasher), std::mem::take(&mut writing.pieces));
    let found = hasher.finish(&mut pieces).map_err(|_| BlobError::Collision)?;
    let digests =
        BlobDigests { sha1: Sha1::new(found.sha1), sha256: Sha256::new(found.sha256), size: found.size };
    if !agrees(expected, &digests) {
        return Err(BlobError::WrongDigest(digests));
    }
    let failed = |error| disk_failed(error, format_args!("preparing session {}", session.upload.short()));
    let (disk, upload) = (&inner.disk, session.upload);
    // Data, then what describes it (by a rename), then both names, then the folder's name:
    // whenever a cut comes, a description that is there has all its bytes beside it.
    writing.flusher.settle().map_err(failed)?;
    let data = disk.session_data(upload);
    if writing.track.is_some() {
        // A write that failed may have left a part of itself behind the end.
        disk.truncate(&writing.file, &data, at).map_err(failed)?;
    }
    disk.sync_file(&writing.file, &data).map_err(failed)?;
    // One that was only queued at the first look may have met this one, and taken its error.
    writing.flusher.settle().map_err(failed)?;
    if session.is_cancelled() {
        return Err(BlobError::NoSession);
    }
    description::write_session(disk, inner.cluster, upload, &digests, &pieces, decide_before)
        .map_err(failed)?;
    disk.sync_dir(&disk.session(upload)).map_err(failed)?;
    disk.sync_dir(&disk.sessions()).map_err(failed)?;
    Ok(Prepared { digests, pieces: pieces.into_iter().map(Sha256::new).collect(), decide_before })
}
