//! Reading ranges of blobs and of sessions.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::blobs::{BlobError, BlobReader, MAX_READ_BYTES, Result, StoredBlob};
use crate::domain::Sha1;

use super::description::Described;
use super::session::Session;
use super::{Inner, blocking, disk_failed, finish};

/// An open file.
pub(super) struct FileReader {
    /// What it reads, for the log.
    name: String,
    file: Arc<File>,
    size: u64,
    /// The session that it is of: it is not quiet while someone reads it.
    session: Option<Arc<Session>>,
}

impl FileReader {
    pub(super) fn of_session(inner: &Inner, session: Arc<Session>) -> Result<Self> {
        let failed = |error| disk_failed(error, format_args!("opening session {}", session.upload.short()));
        let open = || -> io::Result<_> {
            let file = File::open(inner.disk.session_data(session.upload))?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        let (file, size) = if let Some((digests, _)) = session.prepared() {
            let (file, length) = open().map_err(failed)?;
            if length != digests.size {
                return Err(failed(damaged()));
            }
            (file, length)
        } else {
            // What is behind the acknowledged offset may be on its way out.
            let size = session.acknowledged().ok_or(BlobError::WrongState)?;
            (open().map_err(failed)?.0, size)
        };
        let name = format!("session {}", session.upload.short());
        Ok(Self { name, file: Arc::new(file), size, session: Some(session) })
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the file has another length than its description says")
}

/// Opens a blob by its description's first line and its file.
pub(super) fn open_blob(inner: &Inner, sha1: &Sha1) -> Result<(StoredBlob, FileReader)> {
    let failed = |error| disk_failed(error, format_args!("opening blob {sha1}"));
    let Some(held) = finish::look(inner, sha1).map_err(failed)? else {
        return Err(BlobError::NoBlob);
    };
    let Described::As(header) = &held.described else {
        // A blob that is not described yet is one that was not finished.
        return Err(BlobError::NoBlob);
    };
    let stored = StoredBlob { digests: header.digests(), generation: header.generation };
    let file = match File::open(inner.disk.blob(sha1)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BlobError::NoBlob),
        Err(error) => return Err(failed(error)),
    };
    if file.metadata().map_err(failed)?.len() != stored.digests.size {
        tracing::error!(%sha1, "a blob has another length than its description says");
        return Err(failed(damaged()));
    }
    let size = stored.digests.size;
    let name = format!("blob {sha1}");
    Ok((stored, FileReader { name, file: Arc::new(file), size, session: None }))
}

#[async_trait]
impl BlobReader for FileReader {
    fn size(&self) -> u64 {
        self.size
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let end = range.end.min(self.size);
        let length = end.saturating_sub(range.start).min(MAX_READ_BYTES);
        if let Some(session) = &self.session {
            session.touch();
        }
        if length == 0 {
            return Ok(Bytes::new());
        }
        let file = Arc::clone(&self.file);
        let read = blocking(move || Ok(read(&file, range.start, length))).await?;
        read.map_err(|error| disk_failed(error, format_args!("reading {}", self.name)))
    }
}

fn read(file: &File, start: u64, length: u64) -> io::Result<Bytes> {
    let wanted = usize::try_from(length).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(wanted);
    while bytes.len() < wanted {
        let at = start + bytes.len() as u64;
        // Into room that is not cleared first; the allocator may have given more of it.
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut bytes), at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    bytes.truncate(wanted);
    Ok(bytes.into())
}
