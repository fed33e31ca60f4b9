//! The ledger's time on a node.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::Timestamp;

/// The ledger's time: learnt with heartbeats and carried on by the monotonic clock, so that
/// neither a wrong clock of this machine nor a step of it changes what expires. Clones share it.
///
/// It is not kept across restarts: nothing on a machine says how long it was off.
#[derive(Debug, Clone, Default)]
pub struct LedgerClock {
    learnt: Arc<RwLock<Option<(Timestamp, Instant)>>>,
}

impl LedgerClock {
    /// A clock that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// It is `time` now.
    pub fn learn(&self, time: Timestamp) {
        *self.learnt.write().unwrap_or_else(PoisonError::into_inner) = Some((time, Instant::now()));
    }

    /// The ledger's time now; none before anything was learnt.
    #[must_use]
    pub fn now(&self) -> Option<Timestamp> {
        self.read().map(|(time, at)| time.saturating_add(at.elapsed()))
    }

    /// Whether something was learnt within this time.
    #[must_use]
    pub fn was_set_within(&self, age: Duration) -> bool {
        self.read().is_some_and(|(_, at)| at.elapsed() <= age)
    }

    fn read(&self) -> Option<(Timestamp, Instant)> {
        *self.learnt.read().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_goes_on_from_what_was_learnt_last() {
        let clock = LedgerClock::new();
        assert_eq!(clock.now(), None);
        assert!(!clock.was_set_within(Duration::MAX));
        clock.learn(Timestamp::from_millis(1000));
        tokio::time::advance(Duration::from_millis(2500)).await;
        assert_eq!(clock.now(), Some(Timestamp::from_millis(3500)));
        assert!(clock.was_set_within(Duration::from_millis(2500)));
        assert!(!clock.was_set_within(Duration::from_millis(2499)));
        let twin = clock.clone();
        twin.learn(Timestamp::from_millis(50));
        assert_eq!(clock.now(), Some(Timestamp::from_millis(50)));
    }
}
