//! Syncing while bytes still arrive, so that preparing a large upload does not wait for
//! all of it to reach the disk at the end.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::UploadId;

use super::Inner;

/// After so many bytes more, another sync begins; a shorter upload has none but the last.
const FLUSH_BYTES: u64 = 32 << 20;

/// So many bytes of an upload may stay in the kernel's memory for those who read it next; what
/// is synced behind them is forgotten. A huge upload would otherwise push out what people read,
/// and finding it a page for every 4 KiB costs as much time as half of the hashing.
const KEPT_BYTES: u64 = 256 << 20;

/// Syncs one session's file beside its writing, at most one sync at a time.
#[derive(Default)]
pub(super) struct Flusher {
    /// Where the last sync began, in bytes.
    begun_at: u64,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// A sync was begun or is waiting for a thread.
    busy: AtomicBool,
    /// Held through a sync. A failed one's error is kept: the next sync of the same file
    /// would not report it again, and the bytes would pass for safe.
    outcome: Mutex<Option<io::Error>>,
}

impl Flusher {
    /// Bytes were written, up to `at`: begins a sync if it is time.
    ///
    /// # Errors
    /// When an earlier sync failed.
    pub(super) fn wrote(
        &mut self,
        inner: &Arc<Inner>,
        upload: UploadId,
        file: &Arc<File>,
        at: u64,
    ) -> io::Result<()> {
        if at - self.begun_at < FLUSH_BYTES || self.shared.busy.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.begun_at = at;
        // The one before is over, so this does not wait.
        self.settle()?;
        let (inner, file, shared) = (Arc::clone(inner), Arc::clone(file), Arc::clone(&self.shared));
        // Not awaited but through `settle`: prepare waits for it, an abort need not.
        drop(tokio::task::spawn_blocking(move || {
            let mut outcome = shared.outcome.lock().unwrap_or_else(PoisonError::into_inner);
            match inner.disk.sync_file(&file, &inner.disk.session_data(upload)) {
                Ok(()) => inner.disk.forget(&file, KEPT_BYTES..at),
                Err(error) => *outcome = Some(error),
            }
            shared.busy.store(false, Ordering::Release);
        }));
        Ok(())
    }

    /// Waits for a sync that runs.
    ///
    /// # Errors
    /// When one of them failed.
    pub(super) fn settle(&self) -> io::Result<()> {
        let mut outcome = self.shared.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        outcome.take().map_or(Ok(()), Err)
    }
}
