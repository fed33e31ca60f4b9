//! The ledger's time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::domain::Timestamp;

/// Where the time comes from; a test gives its own.
pub(in crate::ledger) type Source = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// A clock that never goes back, whatever its source does.
#[derive(Clone)]
pub(super) struct Clock {
    source: Source,
    latest: Arc<AtomicI64>,
}

impl Clock {
    pub(super) fn new(source: Source) -> Self {
        Self { source, latest: Arc::new(AtomicI64::new(i64::MIN)) }
    }

    pub(super) fn now(&self) -> Timestamp {
        let read = (self.source)().as_millis();
        let before = self.latest.fetch_max(read, Ordering::SeqCst);
        Timestamp::from_millis(before.max(read))
    }
}
