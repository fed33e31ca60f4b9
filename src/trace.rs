//! Which request is worked on: known to everything that a request's task calls, and handed on to
//! the tasks and threads that it starts.
//!
//! A value of the task and no `tracing` span: a span costs each request a microsecond, also where nothing is
//! logged, and a level that hides it would take the id off the lines that are shown.

use std::cell::Cell;
use std::future::Future;

use futures_util::future::Either;

use crate::domain::{RequestId, TraceParent};

/// The header that carries it from server to server.
pub const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static CURRENT: Request;
}

/// A request, as one server sees it.
#[derive(Debug, Clone)]
pub struct Request {
    current: Cell<TraceParent>,
    /// What the caller said, until it is known who that is.
    offered: Cell<Option<TraceParent>>,
}

impl Request {
    /// A new one. What the caller says (`offered`) counts once [`continue_callers`] is called.
    #[must_use]
    pub fn new(offered: Option<TraceParent>) -> Self {
        let request = RequestId::new(rand::random()).unwrap_or_else(|| Self::new(None).current.get().request);
        let current = TraceParent { request, span: new_span(), is_sampled: false };
        Self { current: Cell::new(current), offered: Cell::new(offered) }
    }

    /// Does a request's work.
    pub fn scope<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, work)
    }
}

fn new_span() -> u64 {
    rand::random::<u64>().max(1)
}

/// Believes the caller: what is done is part of its request, from now on. Called once a ticket or a signature
/// was found right, or where the caller is a trusted proxy.
pub fn continue_callers() {
    let _ = CURRENT.try_with(|request| {
        if let Some(parent) = request.offered.take() {
            request.current.set(TraceParent { span: request.current.get().span, ..parent });
        }
    });
}

/// This server's part in the request that is worked on; none outside of one.
#[must_use]
pub fn current() -> Option<TraceParent> {
    CURRENT.try_with(|request| request.current.get()).ok()
}

/// The id of the request that is worked on; none outside of one.
#[must_use]
pub fn request_id() -> Option<RequestId> {
    current().map(|current| current.request)
}

/// The same work, as part of the request that is worked on now: for what runs as a task of its own.
pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
    match current() {
        Some(current) => Either::Left(CURRENT.scope(of(current), work)),
        None => Either::Right(work),
    }
}

/// The same for what runs on a thread of its own.
pub fn carried_job<T>(job: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let current = current();
    move || within(current, job)
}

/// Does something as part of this request.
pub fn within<T>(request: Option<TraceParent>, job: impl FnOnce() -> T) -> T {
    match request {
        Some(request) => CURRENT.sync_scope(of(request), job),
        None => job(),
    }
}

const fn of(current: TraceParent) -> Request {
    Request { current: Cell::new(current), offered: Cell::new(None) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parent() -> TraceParent {
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap()
    }

    #[tokio::test]
    async fn a_caller_counts_once_it_is_believed() {
        assert_eq!(current(), None);
        Request::new(Some(parent()))
            .scope(async {
                let drawn = current().unwrap();
                assert_ne!(drawn.request, parent().request);
                continue_callers();
                let continued = current().unwrap();
                assert_eq!((continued.request, continued.span), (parent().request, drawn.span));
            })
            .await;
        assert_eq!(current(), None);
    }

    #[tokio::test]
    async fn tasks_and_threads_are_part_of_the_request() {
        let (own, task, thread, other) = Request::new(None)
            .scope(async {
                let task = tokio::spawn(carried(async { request_id() }));
                let thread = tokio::task::spawn_blocking(carried_job(request_id));
                let other = tokio::spawn(async { request_id() });
                (request_id(), task.await.unwrap(), thread.await.unwrap(), other.await.unwrap())
            })
            .await;
        assert!(own.is_some());
        assert_eq!((task, thread, other), (own, own, None));
        assert_ne!(own, Request::new(None).scope(async { request_id() }).await);
    }
}
