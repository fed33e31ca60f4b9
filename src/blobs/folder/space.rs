//! Room on the disk, promised before it is used, so that many uploads cannot fill a disk
//! that each of them thought free.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An upload of unknown size reserves so much at a time, in bytes.
pub(super) const STEP_BYTES: u64 = 64 << 20;

/// How full a filesystem is, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filesystem {
    pub(super) total_bytes: u64,
    /// What is left for this user.
    pub(super) free_bytes: u64,
}

/// Asks how full the filesystem is; tests give their own.
pub(super) type Probe = Box<dyn Fn() -> io::Result<Filesystem> + Send + Sync>;

/// Asks the filesystem that a folder lies on.
pub(super) fn probe(folder: PathBuf) -> Probe {
    Box::new(move || {
        let found = rustix::fs::statvfs(&folder)?;
        Ok(Filesystem {
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        })
    })
}

/// The disk's room.
pub(super) struct Space {
    probe: Probe,
    /// Never given to uploads, in bytes.
    kept_back: u64,
    /// Promised and not written yet, in bytes. What was written, the filesystem counts.
    promised: Mutex<u64>,
}

impl Space {
    pub(super) fn new(probe: Probe, kept_back: u64) -> Arc<Self> {
        Arc::new(Self { probe, kept_back, promised: Mutex::new(0) })
    }

    fn promised(&self) -> MutexGuard<'_, u64> {
        self.promised.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The filesystem, its free bytes less what is promised or kept back.
    pub(super) fn left(&self) -> io::Result<Filesystem> {
        let promised = self.promised();
        self.left_beside(*promised)
    }

    fn left_beside(&self, promised: u64) -> io::Result<Filesystem> {
        let mut found = (self.probe)()?;
        found.free_bytes = found.free_bytes.saturating_sub(self.kept_back).saturating_sub(promised);
        Ok(found)
    }

    /// Promises room, if there is so much.
    fn promise(&self, bytes: u64) -> io::Result<()> {
        let mut promised = self.promised();
        if bytes > self.left_beside(*promised)?.free_bytes {
            return Err(io::ErrorKind::StorageFull.into());
        }
        *promised = promised.saturating_add(bytes);
        Ok(())
    }

    fn release(&self, bytes: u64) {
        let mut promised = self.promised();
        *promised = promised.saturating_sub(bytes);
    }
}

/// Room promised to one session; what is left of it is free again when this is dropped.
pub(super) struct Reservation {
    space: Arc<Space>,
    /// Promised and not written yet, in bytes.
    left: u64,
}

impl Reservation {
    /// Promises the declared size, or the first step of an unknown one; where the disk has no
    /// room for that, an unknown one begins with nothing and promises just what comes.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`], or what the filesystem says.
    pub(super) fn new(space: &Arc<Space>, declared: Option<u64>, limit: u64) -> io::Result<Self> {
        let first = declared.unwrap_or_else(|| STEP_BYTES.min(limit));
        let left = match space.promise(first) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull && declared.is_none() => 0,
            other => {
                other?;
                first
            }
        };
        Ok(Self { space: Arc::clone(space), left })
    }

    /// Makes sure that so many more bytes can be written: another step, or, where the disk
    /// has no room for that, just these.
    ///
    /// # Errors
    /// [`io::ErrorKind::StorageFull`], or what the filesystem says.
    pub(super) fn need(&mut self, bytes: u64) -> io::Result<()> {
        let missing = bytes.saturating_sub(self.left);
        if missing == 0 {
            return Ok(());
        }
        let step = missing.max(STEP_BYTES);
        let got = match self.space.promise(step) {
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                self.space.promise(missing)?;
                missing
            }
            other => {
                other?;
                step
            }
        };
        self.left += got;
        Ok(())
    }

    /// Takes up a session that an earlier run left: nothing is promised to it yet.
    pub(super) fn none(space: &Arc<Space>) -> Self {
        Self { space: Arc::clone(space), left: 0 }
    }

    /// Holds just so much, or as before where the disk has no room for more: then the session
    /// is told when it needs it.
    pub(super) fn hold(&mut self, bytes: u64) {
        if bytes < self.left {
            self.space.release(self.left - bytes);
            self.left = bytes;
        } else if self.space.promise(bytes - self.left).is_ok() {
            self.left = bytes;
        }
    }

    /// So many bytes were written, and are the filesystem's to count now.
    pub(super) fn wrote(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        self.space.release(bytes);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.space.release(self.left);
    }
}
