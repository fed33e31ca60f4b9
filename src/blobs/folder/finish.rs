//! Giving a prepared session's bytes their final path.
//!
//! A blob's name gets its bytes by a rename that replaces nothing, after its description got
//! its own. Every step can be the last before the power goes: the session stays until all is
//! synced, and finishing again goes on from whatever is there.

use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use closeby_hash::BlobHasher;
use rustix::io::Errno;

use crate::blobs::{BlobError, DescribedFile, Result};
use crate::domain::{BlobDigests, Generation, Sha1, Sha256, UploadId};

use super::description::{self, BlobHeader, Described};
use super::session::{Session, State};
use super::{Inner, disk_failed};

/// Read at once from a blob that is hashed again, in bytes.
const READ_BYTES: usize = 1 << 20;

/// A blob's file, and what is said of it.
pub(super) struct Held {
    /// The file's length in bytes.
    pub(super) size: u64,
    pub(super) described: Described,
}

impl Held {
    /// The description, if it fits the file as far as a look at its length can tell.
    pub(super) fn intact(&self) -> Option<&BlobHeader> {
        match &self.described {
            Described::As(header) if header.digests().size == self.size => Some(header),
            _ => None,
        }
    }
}

/// Looks at what is at a blob's final path, without reading it.
pub(super) fn look(inner: &Inner, sha1: &Sha1) -> io::Result<Option<Held>> {
    let found = match std::fs::symlink_metadata(inner.disk.blob(sha1)) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if !found.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "something else than a file is at a blob's path",
        ));
    }
    let described = description::read_header(&inner.disk.description(sha1), sha1)?;
    Ok(Some(Held { size: found.len(), described }))
}

/// What is to be finished.
pub(super) struct Decision {
    pub(super) upload: UploadId,
    pub(super) sha1: Sha1,
    pub(super) generation: Generation,
    pub(super) files: Vec<DescribedFile>,
}

/// Finishes. The caller holds the blob's lock and, where there is one, the session's state.
pub(super) fn finish(
    inner: &Inner,
    mut session: Option<(&Session, &mut State)>,
    decision: Decision,
) -> Result<()> {
    let Decision { upload, sha1, generation, files } = decision;
    let failed = |error| disk_failed(error, format_args!("finishing blob {sha1}"));
    let mine = match &session {
        Some((session, state)) if matches!(**state, State::Prepared) => {
            session.prepared().map(|(digests, _)| digests)
        }
        _ => None,
    };
    if mine.is_some_and(|digests| digests.sha1 != sha1) {
        return Err(BlobError::WrongState);
    }

    let held = look(inner, &sha1).map_err(failed)?;
    if let Some(header) = held.as_ref().and_then(Held::intact)
        && header.generation >= generation
    {
        let digests = header.digests();
        if mine.is_some_and(|mine| mine != digests) {
            return Err(BlobError::WrongDigest(digests));
        }
        // Synced here, too: an earlier call may have come as far as the rename only.
        secure(inner, &sha1).map_err(failed)?;
        end(inner, &mut session);
        return Ok(());
    }

    let Some(mine) = mine else {
        return Err(if session.is_some() { BlobError::WrongState } else { BlobError::NoSession });
    };
    // Files that were decided earlier stay on record, and with them the newest decision.
    let mut newest = generation;
    let mut keep = false;
    if let Some(held) = &held {
        if let Described::As(header) = &held.described {
            newest = newest.max(header.generation);
        }
        keep = judge(inner, &mine)?;
    }
    shelve(inner, &sha1).map_err(failed)?;
    if description::read_header(&inner.disk.description(&sha1), &sha1).map_err(failed)?
        == Described::Unreadable
    {
        inner.disk.set_aside(&inner.disk.description(&sha1), "description").map_err(failed)?;
    }
    let header = BlobHeader::new(inner.cluster, newest, upload, &mine);
    description::write_description(&inner.disk, header, files, upload).map_err(failed)?;
    if !keep {
        // No sync of the folder between the two renames: should the second one alone
        // survive a cut, the session's description does, too, and finishing again finds the
        // blob good and describes it.
        inner.disk.rename_new(&inner.disk.session_data(upload), &inner.disk.blob(&sha1)).map_err(failed)?;
    }
    inner.disk.sync_dir(&inner.disk.shards(&sha1).1).map_err(failed)?;
    end(inner, &mut session);
    Ok(())
}

fn end(inner: &Inner, session: &mut Option<(&Session, &mut State)>) {
    if let Some((session, state)) = session {
        inner.end(session, state);
    }
}

/// Says whether the blob that is there is good; if it is not, moves it to the quarantine.
fn judge(inner: &Inner, mine: &BlobDigests) -> Result<bool> {
    let failed = |error| disk_failed(error, format_args!("reading blob {} again", mine.sha1));
    let path = inner.disk.blob(&mine.sha1);
    let found = match rehash(inner, &path) {
        // The disk cannot give it back; what it can give of it is kept aside all the same.
        Err(error) if Errno::from_io_error(&error) == Some(Errno::IO) => None,
        other => other.map_err(failed)?,
    };
    match found {
        Some(found) if found == *mine => Ok(true),
        // Other content of the same SHA-1, and not one of the known attacks: both stay.
        Some(other) if other.sha1 == mine.sha1 => Err(BlobError::WrongDigest(other)),
        _ => {
            tracing::error!(sha1 = %mine.sha1, "a blob is damaged: it goes to the quarantine");
            inner.disk.set_aside(&path, "blob").map_err(failed)?;
            inner.disk.sync_dir(&inner.disk.shards(&mine.sha1).1).map_err(failed)?;
            Ok(false)
        }
    }
}

/// What a file's bytes are; none when they carry a collision attack.
fn rehash(inner: &Inner, path: &Path) -> io::Result<Option<BlobDigests>> {
    let file = inner.disk.open_to_check(path)?;
    let (mut hasher, mut pieces) = (BlobHasher::new(), Vec::new());
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = match file.read_at(&mut buffer, hasher.size()) {
            Ok(0) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        hasher.update(&buffer[..read], &mut pieces);
        // The pieces are of no interest, and a large blob has many.
        pieces.clear();
    }
    Ok(hasher.finish(&mut pieces).ok().map(|found| BlobDigests {
        sha1: Sha1::new(found.sha1),
        sha256: Sha256::new(found.sha256),
        size: found.size,
    }))
}

/// Makes the two folders of a blob, synced into theirs.
fn shelve(inner: &Inner, sha1: &Sha1) -> io::Result<()> {
    let (outer, shelf) = inner.disk.shards(sha1);
    let [first, second, ..] = *sha1.as_bytes();
    // Synced also when they were there: whoever made them may not have come as far as this.
    if !inner.is_synced(&[first]) {
        inner.disk.ensure_dir(&outer)?;
        inner.disk.sync_dir(&inner.disk.blobs())?;
        inner.synced(&[first]);
    }
    if !inner.is_synced(&[first, second]) {
        inner.disk.ensure_dir(&shelf)?;
        inner.disk.sync_dir(&outer)?;
        inner.synced(&[first, second]);
    }
    Ok(())
}

/// Makes sure that a blob that is in its place stays there.
fn secure(inner: &Inner, sha1: &Sha1) -> io::Result<()> {
    shelve(inner, sha1)?;
    inner.disk.sync_dir(&inner.disk.shards(sha1).1)
}
