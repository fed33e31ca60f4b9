//! How fast a sender sends.

use std::time::Duration;

use super::upload::UploadLimits;

/// Whether a sender keeps the lowest rate, over windows of waiting for it.
pub(super) struct Pace {
    window: Duration,
    least: u64,
    waited: Duration,
    bytes: u64,
}

impl Pace {
    pub(super) fn new(limits: UploadLimits) -> Self {
        let least = limits.stalled_after.as_secs().saturating_mul(limits.stalled_bytes_per_second);
        Self { window: limits.stalled_after, least, waited: Duration::ZERO, bytes: 0 }
    }

    pub(super) fn left(&self) -> Duration {
        self.window.saturating_sub(self.waited)
    }

    pub(super) fn received(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
        if self.bytes >= self.least {
            (self.waited, self.bytes) = (Duration::ZERO, 0);
        }
    }

    pub(super) fn waited(&mut self, time: Duration) {
        self.waited += time;
    }

    pub(super) fn is_stalled(&self) -> bool {
        self.waited >= self.window
    }
}
