//! Whose turn it is on a resumable upload: one call at a time writes it, on central and on a node.
//!
//! A call that comes while another one writes cuts that one: where a sender sends again, the
//! connection that it sent on before is most likely dead, and nobody has noticed yet.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio_util::sync::CancellationToken;

use crate::domain::UploadId;

/// The turns of every session that a call writes or waits to write.
#[derive(Default)]
pub(in crate::service) struct Turns(Mutex<HashMap<UploadId, Place>>);

struct Place {
    lock: Weak<AsyncMutex<()>>,
    /// Cuts whoever came last.
    newest: CancellationToken,
}

/// A place in the line: it becomes a [`Turn`] as soon as whoever was before it is through.
pub(in crate::service) struct Waiting {
    lock: Arc<AsyncMutex<()>>,
    cut: CancellationToken,
}

/// The right to write a session, until it is dropped.
pub(in crate::service) struct Turn {
    _held: OwnedMutexGuard<()>,
}

impl Turns {
    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody writes it or waits to.
    pub(in crate::service) fn is_taken(&self, upload: UploadId) -> bool {
        self.lock().get(&upload).is_some_and(|place| place.lock.strong_count() > 0)
    }

    /// Cuts whoever writes or waits, and comes after them.
    pub(in crate::service) fn take(&self, upload: UploadId) -> Waiting {
        let mut places = self.lock();
        // Few live at a time, so looking through all of them is cheap.
        places.retain(|_, place| place.lock.strong_count() > 0);
        let cut = CancellationToken::new();
        let known = places.get(&upload).and_then(|place| {
            place.newest.cancel();
            place.lock.upgrade()
        });
        let lock = known.unwrap_or_default();
        places.insert(upload, Place { lock: Arc::downgrade(&lock), newest: cut.clone() });
        Waiting { lock, cut }
    }
}

impl Waiting {
    /// Is cancelled when another call takes over.
    pub(in crate::service) fn cut(&self) -> CancellationToken {
        self.cut.clone()
    }

    /// Waits for the turn; none when another call took over meanwhile.
    pub(in crate::service) async fn turn(self) -> Option<Turn> {
        let held = self.lock.lock_owned().await;
        if self.cut.is_cancelled() { None } else { Some(Turn { _held: held }) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_newest_cuts_all_before_it_and_waits_for_them() {
        let (turns, upload) = (Turns::default(), UploadId::random());
        let first = turns.take(upload);
        let cut = first.cut();
        let held = first.turn().await.unwrap();
        assert!(!cut.is_cancelled());
        let other = turns.take(UploadId::random()).turn().await;
        assert!(other.is_some() && !cut.is_cancelled());
        let second = turns.take(upload);
        assert!(cut.is_cancelled() && turns.is_taken(upload));
        let third = turns.take(upload);
        let mut second = Box::pin(second.turn());
        assert!(futures_util::poll!(second.as_mut()).is_pending());
        let mut third = Box::pin(third.turn());
        assert!(futures_util::poll!(third.as_mut()).is_pending());
        drop(held);
        assert!(second.await.is_none());
        assert!(third.await.is_some());
        drop(other);
        assert!(!turns.is_taken(upload));
        drop(turns.take(UploadId::random()));
        assert_eq!(turns.lock().len(), 1);
    }
}
