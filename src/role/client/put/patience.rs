//! How long is waited before the next try, and when no more is tried.

use std::time::Duration;

use tokio::time::Instant;

use crate::role::client::http::MAX_WAIT;

/// The longest wait of our own, in seconds. The server may ask for a longer one.
const LONGEST_SECONDS: u32 = 10;

/// Waits that grow from half a second to ten, until too long nothing went through.
pub(super) struct Patience {
    limit: Duration,
    second: Duration,
    next: Duration,
    /// When the trouble began; a slow part that is on its way is none.
    since: Option<Instant>,
}

impl Patience {
    /// Ends when nothing went through for `limit` after the first trouble. A second is so long as it is said, so that
    /// tests need not wait.
    pub fn new(limit: Duration, second: Duration) -> Self {
        Self { limit, second, next: second / 2, since: None }
    }

    /// How long nothing may go through.
    pub const fn limit(&self) -> Duration {
        self.limit
    }

    /// Something went through: the next trouble is a new one.
    pub fn progressed(&mut self) {
        self.next = self.second / 2;
        self.since = None;
    }

    /// The wait before the next try, at least as long as the server asked for, but for a try
    /// at the very end; none once the limit is over.
    pub fn wait(&mut self, asked_seconds: Option<u64>) -> Option<Duration> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let left = self.limit.checked_sub(since.elapsed()).filter(|left| !left.is_zero())?;
        let asked = u32::try_from(asked_seconds.unwrap_or(0)).unwrap_or(u32::MAX);
        let asked = self.second.saturating_mul(asked).min(MAX_WAIT);
        // A little at random: those who lost the server together do not come back together.
        let own = self.next.mul_f64(0.75 + rand::random::<f64>() / 4.0);
        self.next = (self.next * 2).min(self.second * LONGEST_SECONDS);
        Some(own.max(asked).min(left))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn waits_grow_to_ten_seconds_and_begin_anew_with_progress() {
        let mut patience = Patience::new(SECOND * 1000, SECOND);
        for expected in [0.5, 1.0, 2.0, 4.0, 8.0, 10.0, 10.0, 10.0] {
            let wait = patience.wait(None).unwrap().as_secs_f64();
            assert!(wait <= expected && wait >= expected * 0.75, "{wait} of {expected}");
        }
        patience.progressed();
        assert!(patience.wait(None).unwrap() <= SECOND / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_can_ask_for_more_within_reason() {
        let mut patience = Patience::new(SECOND * 1000, SECOND);
        assert_eq!(patience.wait(Some(20)).unwrap(), SECOND * 20);
        assert_eq!(patience.wait(Some(u64::MAX)).unwrap(), MAX_WAIT);
        assert!(patience.wait(Some(0)).unwrap() > SECOND, "our own wait holds where it is longer");
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_without_trouble_costs_no_patience() {
        let mut patience = Patience::new(SECOND * 60, SECOND);
        for _ in 0..2 {
            tokio::time::advance(SECOND * 1000).await;
            assert!(patience.wait(None).is_some());
            tokio::time::advance(SECOND * 60).await;
            assert!(patience.wait(None).is_none());
            patience.progressed();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_at_its_limit_with_a_last_try_and_not_before() {
        let limit = SECOND * 60;
        let mut patience = Patience::new(limit, SECOND);
        let begun = Instant::now();
        while let Some(wait) = patience.wait(None) {
            tokio::time::advance(wait).await;
        }
        assert_eq!(begun.elapsed(), limit);
        patience.progressed();
        assert!(patience.wait(None).is_some());
        assert!(Patience::new(Duration::ZERO, SECOND).wait(None).is_none());
    }
}
