//! What describes a resumable session on its way: one line, written when it is made.
//!
//! Its presence means that the session's name, its data file and its offset were synced, and
//! so that the next start takes it up instead of clearing it away.

use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::blobs::SessionOptions;
use crate::domain::{ClusterId, UploadId};

use super::disk::Disk;
use super::lines::{BadLine, LineReader, LineWriter};

/// The format that is written and read.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Resumable {
        format: u32,
        cluster: ClusterId,
        upload: UploadId,
        limit_bytes: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        declared_bytes: Option<u64>,
        idle_ms: u64,
    },
}

/// Writes a session's terms in their place.
pub(super) fn write(
    disk: &Disk,
    cluster: ClusterId,
    upload: UploadId,
    options: &SessionOptions,
) -> io::Result<()> {
    let SessionOptions { declared_bytes, limit_bytes, idle, resumable: _ } = *options;
    let idle_ms = u64::try_from(idle.as_millis()).unwrap_or(u64::MAX);
    let mut lines = LineWriter::create(disk, disk.session_terms_draft(upload))?;
    lines.push(&Line::Resumable { format: FORMAT, cluster, upload, limit_bytes, declared_bytes, idle_ms })?;
    lines.place(&disk.session_terms(upload))
}

/// Why a session's terms cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadTerms {
    #[error(transparent)]
    Line(#[from] BadLine),
    #[error("they are empty")]
    Empty,
    #[error("they are of another session, cluster or format")]
    Foreign,
}

/// Reads a session's terms.
pub(super) fn read(
    disk: &Disk,
    cluster: ClusterId,
    upload: UploadId,
) -> io::Result<Result<SessionOptions, BadTerms>> {
    let line = match LineReader::open(&disk.session_terms(upload))?.next()? {
        Some(Ok(line)) => line,
        Some(Err(error)) => return Ok(Err(error.into())),
        None => return Ok(Err(BadTerms::Empty)),
    };
    let Line::Resumable { format, cluster: of, upload: name, limit_bytes, declared_bytes, idle_ms } = line;
    if format != FORMAT || of != cluster || name != upload {
        return Ok(Err(BadTerms::Foreign));
    }
    let idle = Duration::from_millis(idle_ms);
    Ok(Ok(SessionOptions { declared_bytes, limit_bytes, idle, resumable: true }))
}
