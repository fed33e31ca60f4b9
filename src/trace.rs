//! Which request is worked on: known to everything that a request's task calls, and handed on to
//! the tasks and threads that it starts.
//!
//! A value of the task and no `tracing` span: a span costs each request a microsecond, also where nothing is
//! logged, and a level that hides it would take the id off the lines that are shown.

use std::cell::Cell;
use std::future::Future;
use std::sync::OnceLock;
use std::time::SystemTime;

use futures_util::future::Either;

use crate::domain::{RequestId, TraceParent};

/// The header that carries it from server to server.
pub const TRACEPARENT: &str = "traceparent";

tokio::task_local! {
    static CURRENT: Request;
}

static RECORDER: OnceLock<Box<dyn Recorder>> = OnceLock::new();

/// Takes what was done for requests, as traces.
pub trait Recorder: Send + Sync + std::fmt::Debug {
    /// Whether a request that begins here is recorded.
    fn samples(&self, request: RequestId) -> bool;

    /// Takes one part of a request. Must not wait.
    fn record(&self, span: Span);
}

/// What a part of a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Work within a server.
    Internal,
    /// A request to a server.
    Server,
}

/// One part of a request, when it is over.
#[derive(Debug, Clone)]
pub struct Span {
    /// The request, and this part's own id.
    pub of: TraceParent,
    /// What it is a part of; none where the request began.
    pub parent: Option<u64>,
    /// Which role's: `central` or `node`.
    pub role: &'static str,
    /// What was done.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// When it began.
    pub started: SystemTime,
    /// When it was over.
    pub ended: SystemTime,
    /// What is said of it.
    pub texts: Vec<(&'static str, String)>,
    /// The status it was answered with.
    pub status: Option<u16>,
}

/// From now on this takes what is recorded in this process; false where another one does.
pub fn record_with(recorder: Box<dyn Recorder>) -> bool {
    RECORDER.set(recorder).is_ok()
}

/// Records a part of a request, if it is one that is recorded.
pub fn record(span: impl FnOnce() -> Span, of: TraceParent) {
    if let Some(recorder) = RECORDER.get().filter(|_| of.is_sampled) {
        recorder.record(span());
    }
}

/// Does something as a part of its own of the request that is worked on.
pub async fn timed<F: Future>(role: &'static str, name: &'static str, work: F) -> F::Output {
    let Some(current) = current().filter(|current| current.is_sampled) else { return work.await };
    let started = SystemTime::now();
    let output = work.await;
    let of = TraceParent { span: new_span(), ..current };
    let span = || Span {
        of,
        parent: Some(current.span),
        role,
        name: name.to_owned(),
        kind: Kind::Internal,
        started,
        ended: SystemTime::now(),
        texts: Vec::new(),
        status: None,
    };
    record(span, of);
    output
}

/// A request, as one server sees it.
#[derive(Debug, Clone)]
pub struct Request {
    current: Cell<TraceParent>,
    /// The caller's part in it, once that is believed.
    parent: Cell<Option<u64>>,
    /// What the caller said, until it is known who that is.
    offered: Cell<Option<TraceParent>>,
}

impl Request {
    /// A new one. What the caller says (`offered`) counts once [`continue_callers`] is called.
    #[must_use]
    pub fn new(offered: Option<TraceParent>) -> Self {
        let request = RequestId::new(rand::random()).unwrap_or_else(|| Self::new(None).current.get().request);
        let is_sampled = RECORDER.get().is_some_and(|recorder| recorder.samples(request));
        let current = TraceParent { request, span: new_span(), is_sampled };
        Self { offered: Cell::new(offered), ..of(current) }
    }

    /// Of no caller, and never recorded: what is done in the background.
    #[must_use]
    pub fn background() -> Self {
        let Self { current, .. } = Self::new(None);
        of(TraceParent { is_sampled: false, ..current.get() })
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
            // Where nothing is recorded, nobody's wish makes it costly.
            let is_sampled = parent.is_sampled && RECORDER.get().is_some();
            request.current.set(TraceParent { span: request.current.get().span, is_sampled, ..parent });
            request.parent.set(Some(parent.span));
        }
    });
}

/// This server's part in the request that is worked on; none outside of one.
#[must_use]
pub fn current() -> Option<TraceParent> {
    CURRENT.try_with(|request| request.current.get()).ok()
}

/// The caller's part in the request that is worked on, where there is one that is believed.
#[must_use]
pub fn parent() -> Option<u64> {
    CURRENT.try_with(|request| request.parent.get()).ok().flatten()
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
    Request { current: Cell::new(current), parent: Cell::new(None), offered: Cell::new(None) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn given() -> TraceParent {
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap()
    }

    #[tokio::test]
    async fn a_caller_counts_once_it_is_believed() {
        assert_eq!(current(), None);
        Request::new(Some(given()))
            .scope(async {
                let drawn = current().unwrap();
                assert_ne!(drawn.request, given().request);
                continue_callers();
                let continued = current().unwrap();
                assert_eq!((continued.request, continued.span), (given().request, drawn.span));
                assert_eq!(parent(), Some(given().span));
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
