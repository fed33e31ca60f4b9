//! What a resumable session can do beside taking bytes: acknowledge, go back, and go on after
//! a restart.
//!
//! A clone of the hasher is a checkpoint. Only the newest few are kept, because a sender that
//! lost its connection goes back a little; from farther back, and after a restart, the file is
//! read again.

use std::collections::VecDeque;
use std::io;
use std::os::unix::fs::FileExt as _;

use closeby_hash::BlobHasher;

use crate::blobs::{ACKNOWLEDGE_BYTES, BlobError, Result, SessionOptions};
use crate::domain::{ClusterId, PIECE_BYTES, UploadId};

use super::disk::Disk;
use super::offset::OffsetFile;
use super::session::{Session, State, Writing, with_writing};
use super::{Inner, disk_failed, terms};

/// So many checkpoints are kept: they reach back 4 MiB each, and take about 1 KiB.
const CHECKPOINTS: usize = 16;
/// Read at once from a file that is hashed again, in bytes.
const READ_BYTES: usize = 1 << 20;

/// What a resumable session goes back with.
pub(super) struct Track {
    offset: OffsetFile,
    /// In order of their sizes, each at most the acknowledged offset.
    checkpoints: VecDeque<BlobHasher>,
}

impl Track {
    /// Writes down that a new session is resumable and has acknowledged nothing, synced.
    pub(super) fn create(
        disk: &Disk,
        cluster: ClusterId,
        upload: UploadId,
        options: &SessionOptions,
    ) -> io::Result<Self> {
        let offset = OffsetFile::create(disk, disk.session_offset(upload))?;
        terms::write(disk, cluster, upload, options)?;
        disk.sync_dir(&disk.session(upload))?;
        disk.sync_dir(&disk.sessions())?;
        Ok(Self { offset, checkpoints: VecDeque::new() })
    }

    fn keep(&mut self, hasher: &BlobHasher) {
        if self.checkpoints.len() == CHECKPOINTS {
            self.checkpoints.pop_front();
        }
        self.checkpoints.push_back(hasher.clone());
    }

    /// The newest checkpoint up to an offset; those behind the offset are dropped.
    fn nearest(&mut self, offset: u64) -> BlobHasher {
        while self.checkpoints.back().is_some_and(|checkpoint| checkpoint.size() > offset) {
            self.checkpoints.pop_back();
        }
        self.checkpoints.back().cloned().unwrap_or_default()
    }
}

/// Syncs what was written and writes down that it was; nothing where a session is not
/// resumable.
pub(super) fn acknowledge(inner: &Inner, session: &Session, writing: &mut Writing) -> Result<()> {
    let Some(track) = &mut writing.track else { return Ok(()) };
    if session.acknowledged() == Some(writing.at) {
        return Ok(());
    }
    let failed =
        |error| disk_failed(error, format_args!("acknowledging bytes of session {}", session.upload.short()));
    // What was held back was synced on the way, where it was much.
    writing.flusher.settle().map_err(failed)?;
    // A sync that failed is not tried again: what it was to sync may be lost.
    writing.is_unsure = true;
    inner.disk.sync_file(&writing.file, &inner.disk.session_data(session.upload)).map_err(failed)?;
    track.offset.write(&inner.disk, writing.at).map_err(failed)?;
    writing.is_unsure = false;
    session.set_acknowledged(writing.at);
    track.keep(&writing.hasher);
    Ok(())
}

/// Acknowledges everything; says the acknowledged offset.
pub(super) fn acknowledge_all(inner: &Inner, session: &Session, state: &mut State) -> Result<u64> {
    match state {
        State::Prepared => session.prepared().map(|(digests, _)| digests.size).ok_or(BlobError::WrongState),
        State::Writing(writing) if writing.track.is_none() => Err(BlobError::WrongState),
        State::Writing(_) => {
            with_writing(session, state, |writing| {
                acknowledge(inner, session, writing)?;
                writing.is_held = false;
                Ok(())
            })?;
            session.acknowledged().ok_or(BlobError::WrongState)
        }
        State::Resting(_) => session.acknowledged().ok_or(BlobError::WrongState),
        State::Ended => Err(BlobError::NoSession),
    }
}

/// Acknowledges nothing more on the way.
pub(super) fn hold(inner: &Inner, session: &Session, state: &mut State) -> Result<()> {
    match state {
        State::Prepared => return Err(BlobError::WrongState),
        State::Writing(writing) if writing.track.is_none() => return Err(BlobError::WrongState),
        State::Ended => return Err(BlobError::NoSession),
        State::Writing(_) | State::Resting(_) => wake(inner, session, state)?,
    }
    with_writing(session, state, |writing| {
        // What came before is to be gone back to.
        acknowledge(inner, session, writing)?;
        writing.is_held = true;
        Ok(())
    })
}

/// Goes back to an acknowledged offset.
pub(super) fn rewind(inner: &Inner, session: &Session, state: &mut State, offset: u64) -> Result<()> {
    match state {
        State::Prepared => return Err(BlobError::WrongState),
        State::Writing(writing) if writing.track.is_none() => return Err(BlobError::WrongState),
        State::Ended => return Err(BlobError::NoSession),
        State::Writing(_) | State::Resting(_) => {}
    }
    let at = session.acknowledged().ok_or(BlobError::WrongState)?;
    if offset > at {
        return Err(BlobError::WrongOffset { at });
    }
    wake(inner, session, state)?;
    with_writing(session, state, |writing| {
        writing.is_held = false;
        if offset == writing.at {
            return Ok(());
        }
        let failed =
            |error| disk_failed(error, format_args!("going back in session {}", session.upload.short()));
        writing.is_unsure = true;
        let Some(track) = &mut writing.track else { return Err(BlobError::WrongState) };
        writing.hasher = track.nearest(offset);
        if offset < at {
            // Before the bytes go, so that no cut leaves an offset behind the end.
            track.offset.write(&inner.disk, offset).map_err(failed)?;
            session.set_acknowledged(offset);
        }
        read_again(inner, session, writing, offset)?;
        stand(inner, session, writing, offset).map_err(failed)?;
        writing.is_unsure = false;
        Ok(())
    })
}

/// Makes a session that rests take bytes again, at what it acknowledged. On an error it rests
/// on: nothing was changed.
pub(super) fn wake(inner: &Inner, session: &Session, state: &mut State) -> Result<()> {
    if !matches!(state, State::Resting(_)) {
        return Ok(());
    }
    let mut writing = reopen(inner, session)?;
    if let State::Resting(space) = std::mem::replace(state, State::Ended) {
        writing.space = space;
        let stood = session.acknowledged().ok_or(BlobError::WrongState).and_then(|at| {
            stand(inner, session, &mut writing, at).map_err(|error| {
                disk_failed(error, format_args!("going on with session {}", session.upload.short()))
            })
        });
        *state = match stood {
            Ok(()) => State::Writing(Box::new(writing)),
            Err(_) => State::Resting(writing.space),
        };
        return stood;
    }
    Ok(())
}

fn reopen(inner: &Inner, session: &Session) -> Result<Writing> {
    let failed = |error| disk_failed(error, format_args!("going on with session {}", session.upload.short()));
    let (disk, upload) = (&inner.disk, session.upload);
    let at = session.acknowledged().ok_or(BlobError::WrongState)?;
    let file = disk.open_to_go_on(&disk.session_data(upload)).map_err(failed)?;
    let (offset, _) = OffsetFile::open(disk, disk.session_offset(upload)).map_err(failed)?;
    let track = Track { offset, checkpoints: VecDeque::new() };
    let space = super::space::Reservation::none(&inner.space);
    let mut writing = Writing::new(file, space, Some(track));
    read_again(inner, session, &mut writing, at)?;
    Ok(writing)
}

/// Reads the file from where the hasher is to an offset, and hashes it.
fn read_again(inner: &Inner, session: &Session, writing: &mut Writing, to: u64) -> Result<()> {
    let failed = |error| disk_failed(error, format_args!("reading session {} again", session.upload.short()));
    let Writing { file, hasher, pieces, track, .. } = writing;
    pieces.truncate(usize::try_from(hasher.size() / PIECE_BYTES).unwrap_or(usize::MAX));
    if hasher.size() == to {
        return Ok(());
    }
    let path = inner.disk.session_data(session.upload);
    let file = match file.metadata() {
        Ok(found) if found.len() >= to => file,
        Ok(_) => return Err(failed(io::ErrorKind::UnexpectedEof.into())),
        Err(error) => return Err(failed(error)),
    };
    inner.disk.check(&path).map_err(failed)?;
    let mut buffer = vec![0; READ_BYTES];
    while hasher.size() < to {
        if session.is_cancelled() {
            return Err(BlobError::NoSession);
        }
        let at = hasher.size();
        let room = (ACKNOWLEDGE_BYTES - at % ACKNOWLEDGE_BYTES).min(to - at);
        let length = usize::try_from(room).map_or(READ_BYTES, |room| room.min(READ_BYTES));
        file.read_exact_at(&mut buffer[..length], at).map_err(failed)?;
        hasher.update(&buffer[..length], pieces);
        if let Some(track) = track
            && (hasher.size() == to || hasher.size().is_multiple_of(ACKNOWLEDGE_BYTES))
        {
            track.keep(hasher);
        }
    }
    Ok(())
}

/// The next bytes go to this offset; what was behind it goes, and its room is kept.
fn stand(inner: &Inner, session: &Session, writing: &mut Writing, at: u64) -> io::Result<()> {
    inner.disk.truncate(&writing.file, &inner.disk.session_data(session.upload), at)?;
    writing.at = at;
    if let Some(declared) = session.options.declared_bytes {
        writing.space.hold(declared.saturating_sub(at));
    }
    Ok(())
}

/// Takes back that a session is prepared, where that failed half-way and left a session that
/// lives.
pub(super) fn unprepare(inner: &Inner, session: &Session, state: &mut State) {
    if matches!(state, State::Resting(_))
        && let Err(error) = inner.disk.remove_file(&inner.disk.session_about(session.upload))
    {
        tracing::warn!(upload = session.upload.short(), %error, "a session cannot be kept: it ends");
        *state = State::Ended;
    }
}
