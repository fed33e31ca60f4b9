//! One lock a blob, for those that are being finished.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::OwnedMutexGuard;

use crate::domain::Sha1;

/// The locks that somebody holds or waits for.
#[derive(Default)]
pub(super) struct BlobLocks(Mutex<HashMap<Sha1, Weak<tokio::sync::Mutex<()>>>>);

impl BlobLocks {
    /// Waits for a blob's lock, off the blocking threads: the holder may read a whole blob.
    pub(super) async fn lock(&self, sha1: Sha1) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Few live at a time, so looking through all of them is cheap.
            locks.retain(|_, lock| lock.strong_count() > 0);
            let known = locks.get(&sha1).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let lock = Arc::default();
                locks.insert(sha1, Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}
