//! A file as the body of a request.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::fs::File;
use tokio::io::AsyncReadExt as _;

use super::Local;
use crate::role::client::ClientError;
use crate::role::client::console::Progress;

/// What is read at once, in bytes.
const CHUNK_BYTES: usize = 256 << 10;

/// What is known of a body while it is sent: the HTTP client owns the body itself.
#[derive(Clone, Default)]
pub(super) struct Watch {
    taken_bytes: Arc<AtomicU64>,
    failure: Arc<OnceLock<ClientError>>,
}

impl Watch {
    /// Bytes that the HTTP client has taken.
    pub fn taken_bytes(&self) -> u64 {
        self.taken_bytes.load(Ordering::Relaxed)
    }

    /// So many bytes more are taken.
    pub fn took(&self, bytes: u64) {
        self.taken_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// What ended the body early, if it was the file and not the network.
    pub fn into_failure(self) -> Option<ClientError> {
        // The body may still be alive for a moment: its error is told in our words.
        match Arc::try_unwrap(self.failure) {
            Ok(failure) => failure.into_inner(),
            Err(shared) => shared.get().map(|error| ClientError::Answer(error.to_string())),
        }
    }
}

struct Reader {
    file: File,
    local: Local,
    left: u64,
    watch: Watch,
    progress: Progress,
}

impl Reader {
    /// The next chunk. The last one only after it is known that the file ends with it and is
    /// what it was: once every announced byte is out, the request cannot be taken back.
    async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        if self.left == 0 {
            return Ok(None);
        }
        let failed = || ClientError::file(&self.local.path);
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let mut chunk = BytesMut::with_capacity(wanted);
        while chunk.len() < wanted {
            let room = (wanted - chunk.len()) as u64;
            if (&mut self.file).take(room).read_buf(&mut chunk).await.map_err(failed())? == 0 {
                return Err(self.local.changed());
            }
        }
        self.left -= chunk.len() as u64;
        if self.left == 0 {
            let now = self.file.metadata().await.map_err(failed())?;
            if now.len() != self.local.size || now.modified().ok() != self.local.modified {
                return Err(self.local.changed());
            }
        }
        self.progress.add(chunk.len() as u64);
        self.watch.took(chunk.len() as u64);
        Ok(Some(chunk.freeze()))
    }
}

/// A file's bytes, exactly as many as announced, or an error.
///
/// # Errors
/// When it cannot be opened or is not what it was.
pub(super) async fn open(
    local: &Local,
    progress: Progress,
    watch: Watch,
) -> Result<impl Stream<Item = io::Result<Bytes>> + Send + use<>, ClientError> {
    let file = File::open(&local.path).await.map_err(ClientError::file(&local.path))?;
    let now = file.metadata().await.map_err(ClientError::file(&local.path))?;
    if now.len() != local.size || now.modified().ok() != local.modified {
        return Err(local.changed());
    }
    let reader = Reader { file, local: local.clone(), left: local.size, watch, progress };
    Ok(futures_util::stream::try_unfold(reader, |mut reader| async move {
        match reader.next().await {
            Ok(Some(chunk)) => Ok(Some((chunk, reader))),
            Ok(None) => Ok(None),
            Err(error) => {
                let told = io::Error::other(error.to_string());
                let _ = reader.watch.failure.set(error);
                Err(told)
            }
        }
    }))
}
