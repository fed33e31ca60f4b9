//! Taking up the sessions that an earlier run left.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::domain::{ClusterId, UploadId};

use super::disk::Disk;
use super::offset::OffsetFile;
use super::session::Session;
use super::space::{Reservation, Space};
use super::{description, terms};

/// Finds the prepared sessions and the resumable ones, whose bytes it does not read. Others
/// are removed: their senders went with the process that heard them. What claims to be one of
/// these and cannot be read goes to the quarantine; what is not a session's folder is left
/// where it is.
pub(super) fn sessions(disk: &Disk, cluster: ClusterId, space: &Arc<Space>) -> io::Result<Vec<Session>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(disk.sessions())? {
        let name = entry?.file_name();
        let Some(upload) = name.to_str().and_then(|name| name.parse::<UploadId>().ok()) else {
            tracing::warn!("something among the sessions is none; it is left alone");
            continue;
        };
        match session(disk, cluster, upload, space) {
            Ok(Some(session)) => {
                // Its maker may not have come as far as this, and repeats what it asked.
                disk.sync_dir(&disk.session(upload))?;
                found.push(session);
            }
            Ok(None) => {
                if let Err(error) = disk.remove_session(upload) {
                    tracing::warn!(upload = upload.short(), %error, "an unprepared session cannot be removed");
                }
            }
            // Says nothing about what is there (a descriptor too few, a disk that hangs).
            Err(Unusable::Io(error)) => return Err(error),
            Err(Unusable::Damaged(why)) => {
                tracing::error!(
                    upload = upload.short(),
                    why,
                    "a session that was kept cannot be read: it goes to the quarantine"
                );
                disk.set_aside(&disk.session(upload), "session")?;
            }
        }
    }
    disk.sync_dir(&disk.sessions())?;
    Ok(found)
}

/// Why a session that was kept cannot be taken up.
enum Unusable {
    /// It could not be looked at.
    Io(io::Error),
    /// It was read, and is wrong.
    Damaged(String),
}

/// A session that was kept, none where it was not, or why it cannot be used.
fn session(
    disk: &Disk,
    cluster: ClusterId,
    upload: UploadId,
    space: &Arc<Space>,
) -> Result<Option<Session>, Unusable> {
    let is_there = |path: &Path| path.try_exists().map_err(Unusable::Io);
    if is_there(&disk.session_about(upload))? {
        prepared(disk, cluster, upload)
    } else if is_there(&disk.session_terms(upload))? {
        resumable(disk, cluster, upload, space)
    } else {
        Ok(None)
    }
}

fn resumable(
    disk: &Disk,
    cluster: ClusterId,
    upload: UploadId,
    space: &Arc<Space>,
) -> Result<Option<Session>, Unusable> {
    let options = terms::read(disk, cluster, upload)
        .map_err(Unusable::Io)?
        .map_err(|error| Unusable::Damaged(error.to_string()))?;
    let written = match std::fs::symlink_metadata(disk.session_data(upload)) {
        Ok(written) => written,
        // Removed half-way.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Unusable::Io(error)),
    };
    let acknowledged = match OffsetFile::open(disk, disk.session_offset(upload)) {
        Ok((_, acknowledged)) => acknowledged,
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::NotFound) => {
            return Err(Unusable::Damaged(format!("its offset cannot be read: {error}")));
        }
        Err(error) => return Err(Unusable::Io(error)),
    };
    if written.len() < acknowledged {
        return Err(Unusable::Damaged("its data is shorter than what was acknowledged".to_owned()));
    }
    // A clock that went back makes it young, never old.
    let quiet_for = written.modified().ok().and_then(|at| SystemTime::now().duration_since(at).ok());
    let quiet_for = quiet_for.unwrap_or(Duration::ZERO);
    let space = Reservation::none(space);
    Ok(Some(Session::resting(upload, options, acknowledged, quiet_for, space)))
}

fn prepared(disk: &Disk, cluster: ClusterId, upload: UploadId) -> Result<Option<Session>, Unusable> {
    let (header, _) = description::read_session(disk, cluster, upload)
        .map_err(Unusable::Io)?
        .map_err(|error| Unusable::Damaged(error.to_string()))?;
    let digests = header.digests();
    match std::fs::symlink_metadata(disk.session_data(upload)) {
        Ok(data) if data.len() == digests.size => {}
        Ok(_) => return Err(Unusable::Damaged("its data has another length than it says".to_owned())),
        // Finished up to the rename; finishing again does the rest.
        Err(error) if error.kind() == io::ErrorKind::NotFound && disk.blob(&digests.sha1).is_file() => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Unusable::Damaged("its data is gone".to_owned()));
        }
        Err(error) => return Err(Unusable::Io(error)),
    }
    Ok(Some(Session::found(upload, digests, header.decide_before)))
}
