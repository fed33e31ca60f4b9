//! What is written beside a blob, and in a prepared session: its description.
//!
//! A blob's begins with [`BlobHeader`], a prepared session's with [`SessionHeader`]; then come
//! the piece digests, some to a line, and for a blob the records of the files on it. Opening
//! a blob reads the first line only.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::blobs::DescribedFile;
use crate::domain::{BlobDigests, ClusterId, FileId, Generation, Sha1, Sha256, Timestamp, UploadId};

use super::disk::Disk;
use super::lines::{BadLine, LineReader, LineWriter};

/// The format that is written. A higher one in a file is left alone.
pub(super) const FORMAT: u32 = 1;
/// So many piece digests stand in one line (4 GiB of content, 67 KiB of text).
const PIECES_PER_LINE: usize = 1024;

/// The first line of a blob's description.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlobHeader {
    format: u32,
    pub(super) cluster: ClusterId,
    pub(super) generation: Generation,
    pub(super) upload: UploadId,
    sha1: Sha1,
    sha256: Sha256,
    size: u64,
}

impl BlobHeader {
    pub(super) fn new(
        cluster: ClusterId,
        generation: Generation,
        upload: UploadId,
        digests: &BlobDigests,
    ) -> Self {
        let BlobDigests { sha1, sha256, size } = *digests;
        Self { format: FORMAT, cluster, generation, upload, sha1, sha256, size }
    }

    pub(super) fn digests(&self) -> BlobDigests {
        BlobDigests { sha1: self.sha1, sha256: self.sha256, size: self.size }
    }
}

/// The first line of what describes a prepared session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SessionHeader {
    format: u32,
    cluster: ClusterId,
    upload: UploadId,
    sha1: Sha1,
    sha256: Sha256,
    size: u64,
    /// How many piece digests follow.
    pieces: u64,
    pub(super) decide_before: Timestamp,
}

impl SessionHeader {
    pub(super) fn digests(&self) -> BlobDigests {
        BlobDigests { sha1: self.sha1, sha256: self.sha256, size: self.size }
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Blob(BlobHeader),
    Session(SessionHeader),
    Pieces {
        /// The number of the first one, from 0.
        first: u64,
        sha256: Vec<Sha256>,
    },
    File(DescribedFile),
}

/// What stands where a description should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Described {
    /// Nothing.
    Missing,
    /// Something that does not describe this blob, or not in a way that is known here.
    Unreadable,
    /// A description.
    As(BlobHeader),
}

/// Reads the first line of a blob's description.
pub(super) fn read_header(path: &Path, sha1: &Sha1) -> io::Result<Described> {
    let mut lines = match LineReader::open(path) {
        Ok(lines) => lines,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Described::Missing),
        Err(error) => return Err(error),
    };
    match lines.next()? {
        Some(Ok(Line::Blob(header))) if header.format == FORMAT && header.sha1 == *sha1 => {
            Ok(Described::As(header))
        }
        line => {
            tracing::warn!(%sha1, ?line, "a blob's description cannot be read");
            Ok(Described::Unreadable)
        }
    }
}

/// Reads the file records of a description, as many as can be read: of each file the newest
/// revision.
fn read_files(path: &Path) -> io::Result<BTreeMap<FileId, DescribedFile>> {
    let mut files = BTreeMap::new();
    let mut lines = match LineReader::open(path) {
        Ok(lines) => lines,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(error),
    };
    while let Some(line) = lines.next()? {
        match line {
            Ok(Line::File(file)) => keep_newest(&mut files, file),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "a line of a blob's description is lost"),
        }
    }
    Ok(files)
}

fn keep_newest(files: &mut BTreeMap<FileId, DescribedFile>, file: DescribedFile) {
    match files.get(&file.id) {
        Some(known) if known.revision >= file.revision => {}
        _ => {
            files.insert(file.id, file);
        }
    }
}

/// Writes a blob's description from its prepared session's, over what is there.
///
/// File records that are there already stay unless a newer revision is given: they were
/// decided once, and perhaps by a ledger that was lost since.
pub(super) fn write_description(
    disk: &Disk,
    header: BlobHeader,
    given: Vec<DescribedFile>,
    upload: UploadId,
) -> io::Result<()> {
    let place = disk.description(&header.sha1);
    let mut files = read_files(&place)?;
    for file in given {
        keep_newest(&mut files, file);
    }
    let mut lines = LineWriter::create(disk, disk.session_description(upload))?;
    lines.push(&Line::Blob(header))?;
    let mut about = LineReader::open(&disk.session_about(upload))?;
    // Line by line, so that a large blob's pieces are never all in memory.
    let (mut expected, mut copied) = (None, 0);
    while let Some(line) = about.next()? {
        match line {
            Ok(Line::Session(header)) => expected = Some(header.pieces),
            Ok(line @ Line::Pieces { .. }) => {
                if let Line::Pieces { sha256, .. } = &line {
                    copied += sha256.len() as u64;
                }
                lines.push(&line)?;
            }
            Ok(_) => {}
            Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }
    if expected != Some(copied) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, BadSession::Pieces));
    }
    for file in files.into_values() {
        lines.push(&Line::File(file))?;
    }
    lines.place(&place)
}

/// Writes what describes a prepared session. There is none before, so that its presence
/// means that every byte of it and of the data was synced.
pub(super) fn write_session(
    disk: &Disk,
    cluster: ClusterId,
    upload: UploadId,
    digests: &BlobDigests,
    pieces: &[[u8; 32]],
    decide_before: Timestamp,
) -> io::Result<()> {
    let BlobDigests { sha1, sha256, size } = *digests;
    let mut lines = LineWriter::create(disk, disk.session_about_draft(upload))?;
    lines.push(&Line::Session(SessionHeader {
        format: FORMAT,
        cluster,
        upload,
        sha1,
        sha256,
        size,
        pieces: pieces.len() as u64,
        decide_before,
    }))?;
    let mut first = 0;
    for some in pieces.chunks(PIECES_PER_LINE) {
        lines.push(&Line::Pieces { first, sha256: some.iter().copied().map(Sha256::new).collect() })?;
        first += some.len() as u64;
    }
    lines.place(&disk.session_about(upload))
}

/// Why what describes a prepared session cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadSession {
    #[error(transparent)]
    Line(#[from] BadLine),
    #[error("it begins with another line than a session's")]
    NoHeader,
    #[error("it is of another session, cluster or format")]
    Foreign,
    #[error("piece digests are missing or out of order")]
    Pieces,
}

/// Reads what describes a prepared session, and checks that it is whole.
pub(super) fn read_session(
    disk: &Disk,
    cluster: ClusterId,
    upload: UploadId,
) -> io::Result<Result<(SessionHeader, Vec<Sha256>), BadSession>> {
    let mut lines = LineReader::open(&disk.session_about(upload))?;
    let header = match lines.next()? {
        Some(Ok(Line::Session(header))) => header,
        Some(Err(error)) => return Ok(Err(error.into())),
        Some(Ok(_)) | None => return Ok(Err(BadSession::NoHeader)),
    };
    if header.format != FORMAT || header.upload != upload || header.cluster != cluster {
        return Ok(Err(BadSession::Foreign));
    }
    let mut pieces = Vec::new();
    while let Some(line) = lines.next()? {
        match line {
            Ok(Line::Pieces { first, sha256 }) if first == pieces.len() as u64 => pieces.extend(sha256),
            Ok(_) => return Ok(Err(BadSession::Pieces)),
            Err(error) => return Ok(Err(error.into())),
        }
    }
    if pieces.len() as u64 != header.pieces {
        return Ok(Err(BadSession::Pieces));
    }
    Ok(Ok((header, pieces)))
}
