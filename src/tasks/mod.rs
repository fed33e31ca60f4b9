//! Background workers: each does one step at a time, can be cancelled between steps (or, where
//! it says so, within one), and shows how it is. Only `role` starts them.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::trace::Request;

/// How long a worker rests after a step that panicked.
const AFTER_PANIC: Duration = Duration::from_secs(1);

/// What a worker does after a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The next step, after this time.
    After(Duration),
    /// Nothing is left to do.
    Done,
}

/// Something that is done in the background, step by step.
#[async_trait]
pub trait Worker: Send + 'static {
    /// What it is called in logs and in the status.
    fn name(&self) -> &'static str;

    /// Whether a step may be dropped in its middle when everything stops.
    fn can_be_interrupted(&self) -> bool {
        false
    }

    /// Does one step.
    async fn step(&mut self) -> Next;
}

/// How a worker is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerStatus {
    /// Its name.
    pub name: &'static str,
    /// Steps that came to their end.
    pub steps: u64,
    /// Steps that panicked.
    pub panics: u64,
    /// When the last step ended.
    pub last_step: Option<Instant>,
    /// Whether it still works.
    pub is_running: bool,
}

/// The workers of a role.
#[derive(Debug)]
pub struct Workers {
    token: CancellationToken,
    tracker: TaskTracker,
    statuses: Vec<Arc<Mutex<WorkerStatus>>>,
}

impl Default for Workers {
    fn default() -> Self {
        Self::new()
    }
}

impl Workers {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { token: CancellationToken::new(), tracker: TaskTracker::new(), statuses: Vec::new() }
    }

    /// Starts one; its first step comes at once. Must be called within a Tokio runtime.
    pub fn start(&mut self, worker: impl Worker) {
        let status = Arc::new(Mutex::new(WorkerStatus {
            name: worker.name(),
            steps: 0,
            panics: 0,
            last_step: None,
            is_running: true,
        }));
        self.statuses.push(Arc::clone(&status));
        self.tracker.spawn(run(worker, self.token.clone(), status));
    }

    /// How each of them is.
    #[must_use]
    pub fn statuses(&self) -> Vec<WorkerStatus> {
        self.statuses.iter().map(|status| lock(status).clone()).collect()
    }

    /// Lets every worker end its step and waits for them, at most for `deadline`; says whether
    /// all of them ended.
    pub async fn stop(self, deadline: Duration) -> bool {
        self.token.cancel();
        self.tracker.close();
        let ended = tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok();
        if !ended {
            for status in self.statuses.iter().map(|status| lock(status).clone()) {
                if status.is_running {
                    tracing::warn!(worker = status.name, "a worker did not stop in time");
                }
            }
        }
        ended
    }
}

impl Drop for Workers {
    /// What is not stopped in order, as where a start fails, does not go on for ever.
    fn drop(&mut self) {
        self.token.cancel();
    }
}

fn lock(status: &Mutex<WorkerStatus>) -> MutexGuard<'_, WorkerStatus> {
    status.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(mut worker: impl Worker, token: CancellationToken, status: Arc<Mutex<WorkerStatus>>) {
    while let Some(next) = step(&mut worker, &token, &status).await {
        let Next::After(rest) = next else { break };
        if token.run_until_cancelled(tokio::time::sleep(rest)).await.is_none() {
            break;
        }
    }
    lock(&status).is_running = false;
}

/// One step; none when it was cancelled.
async fn step(
    worker: &mut impl Worker,
    token: &CancellationToken,
    status: &Mutex<WorkerStatus>,
) -> Option<Next> {
    let name = worker.name();
    let can_be_interrupted = worker.can_be_interrupted();
    // A worker whose step panicked begins anew with the next step, from what it then finds:
    // steps keep no invariant across an await that another step would need.
    // Each step is a request of its own: its calls to other servers are found by the same id in their logs.
    let step = AssertUnwindSafe(Request::background().scope(worker.step())).catch_unwind();
    let result = if can_be_interrupted { token.run_until_cancelled(step).await? } else { step.await };
    let mut status = lock(status);
    status.last_step = Some(Instant::now());
    match result {
        Ok(next) => {
            status.steps += 1;
            Some(next)
        }
        Err(_) => {
            status.panics += 1;
            tracing::error!(worker = name, "a worker's step panicked; it goes on with the next");
            Some(Next::After(AFTER_PANIC))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::sync::mpsc;

    struct Counting {
        count: u32,
        told: mpsc::UnboundedSender<u32>,
        then: fn(u32) -> Next,
    }

    #[async_trait]
    impl Worker for Counting {
        fn name(&self) -> &'static str {
            "counting"
        }

        async fn step(&mut self) -> Next {
            self.count += 1;
            self.told.send(self.count).unwrap();
            (self.then)(self.count)
        }
    }

    struct Endless(bool);

    #[async_trait]
    impl Worker for Endless {
        fn name(&self) -> &'static str {
            "endless"
        }

        fn can_be_interrupted(&self) -> bool {
            self.0
        }

        async fn step(&mut self) -> Next {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn steps_follow_each_other_until_the_stop() {
        let (told, mut steps) = mpsc::unbounded_channel();
        let mut workers = Workers::new();
        workers.start(Counting { count: 0, told, then: |_| Next::After(Duration::from_secs(5)) });
        let begin = Instant::now();
        for expected in 1..=3 {
            assert_eq!(steps.recv().await, Some(expected));
        }
        assert_eq!(begin.elapsed().as_secs(), 10);
        assert!(workers.stop(Duration::from_secs(1)).await);
        assert_eq!(steps.recv().await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_a_step_and_not_the_worker() {
        let (told, mut steps) = mpsc::unbounded_channel();
        let mut workers = Workers::new();
        workers.start(Counting {
            count: 0,
            told,
            then: |count| if count == 1 { panic!("on purpose") } else { Next::Done },
        });
        assert_eq!(steps.recv().await, Some(1));
        assert_eq!(steps.recv().await, Some(2));
        assert_eq!(steps.recv().await, None);
        let deadline = Instant::now() + Duration::from_secs(5);
        while workers.statuses()[0].is_running && Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
        let status = workers.statuses().remove(0);
        assert_eq!((status.steps, status.panics, status.is_running), (1, 1, false));
        assert!(workers.stop(Duration::from_secs(1)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_step_is_interrupted_only_where_it_may_be() {
        for can_be_interrupted in [true, false] {
            let mut workers = Workers::new();
            workers.start(Endless(can_be_interrupted));
            tokio::task::yield_now().await;
            assert_eq!(workers.stop(Duration::from_secs(1)).await, can_be_interrupted);
        }
    }
}
