//! Taking up the sessions that an earlier run left.

use std::io;

use crate::domain::{ClusterId, UploadId};

use super::description;
use super::disk::Disk;
use super::session::Session;

/// Finds the prepared sessions. Unprepared ones are removed: their senders went with the
/// process that heard them. What claims to be prepared and cannot be read goes to the
/// quarantine; what is not a session's folder is left where it is.
pub(super) fn sessions(disk: &Disk, cluster: ClusterId) -> io::Result<Vec<Session>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(disk.sessions())? {
        let name = entry?.file_name();
        let Some(upload) = name.to_str().and_then(|name| name.parse::<UploadId>().ok()) else {
            tracing::warn!("something among the sessions is none; it is left alone");
            continue;
        };
        match session(disk, cluster, upload) {
            Ok(Some(session)) => {
                // Its maker may not have come as far as this, and repeats what it asked.
                disk.sync_dir(&disk.session(upload))?;
                found.push(session);
            }
            Ok(None) => {
                if let Err(error) = disk.remove_session(upload) {
                    tracing::warn!(%upload, %error, "an unprepared session cannot be removed");
                }
            }
            // Says nothing about what is there (a descriptor too few, a disk that hangs).
            Err(Unusable::Io(error)) => return Err(error),
            Err(Unusable::Damaged(why)) => {
                tracing::error!(%upload, why, "a prepared session cannot be read: it goes to the quarantine");
                disk.set_aside(&disk.session(upload), "session")?;
            }
        }
    }
    disk.sync_dir(&disk.sessions())?;
    Ok(found)
}

/// Why a prepared session cannot be taken up.
enum Unusable {
    /// It could not be looked at.
    Io(io::Error),
    /// It was read, and is wrong.
    Damaged(String),
}

/// A prepared session, none where it was not prepared, or why it cannot be used.
fn session(disk: &Disk, cluster: ClusterId, upload: UploadId) -> Result<Option<Session>, Unusable> {
    match disk.session_about(upload).try_exists() {
        Ok(true) => {}
        Ok(false) => return Ok(None),
        Err(error) => return Err(Unusable::Io(error)),
    }
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
