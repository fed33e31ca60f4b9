//! What every request passes first: it is given its id, counted, and logged when its answer was sent.
//!
//! What is logged of an address is the route that took it: paths and queries carry names, the ids of
//! uploads and tickets.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime};

use actix_web::Error;
use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web::Bytes;
use ipnet::IpNet;

use crate::domain::TraceParent;
use crate::metrics::{HttpMetrics, RouteClass};
use crate::trace::{self, Kind, Span};

/// The header of an answer that says its request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What a server counts its requests with, and whose word about a request's id it believes at once.
#[derive(Debug, Clone)]
pub struct Observer {
    /// Whose they are: `central` or `node`.
    pub role: &'static str,
    /// The networks of trusted proxies.
    pub trusted: Vec<IpNet>,
    /// What is counted.
    pub metrics: HttpMetrics,
    /// What a request of this method and path is for.
    pub class_of: fn(&str, &str) -> RouteClass,
}

impl Observer {
    fn trusts(&self, request: &ServiceRequest) -> bool {
        let peer = request.peer_addr().map(|peer| peer.ip().to_canonical());
        peer.is_some_and(|peer| self.trusted.iter().any(|network| network.contains(&peer)))
    }
}

/// The middleware.
///
/// # Errors
/// What comes from further in.
pub async fn observe(
    observer: Arc<Observer>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = Instant::now();
    let offered = traceparent(&request);
    let is_believed = offered.is_some() && observer.trusts(&request);
    let method = request.method().clone();
    let class = (observer.class_of)(method.as_str(), request.path());
    let answering = async {
        if is_believed {
            trace::continue_callers();
        }
        // In here, as it may be another's since.
        (next.call(request).await, trace::current(), trace::parent())
    };
    let (result, traced, parent) = trace::Request::new(offered).scope(answering).await;
    let status = match &result {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    observer.metrics.answered(class, status.as_u16(), started.elapsed().as_secs_f64());
    let mut response = result?.map_into_boxed_body();
    let id = traced.and_then(|traced| HeaderValue::from_str(&traced.request.to_string()).ok());
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    // Finding the route costs more than the request does where it is not asked for.
    let is_logged = status.is_server_error()
        || traced.is_some_and(|traced| traced.is_sampled)
        || tracing::enabled!(tracing::Level::DEBUG);
    let line = is_logged.then(|| Line {
        method,
        route: response.request().match_pattern().unwrap_or_else(|| "none".to_owned()),
        status,
        started,
        parent,
    });
    Ok(response.map_body(|_, body| Observed { body, traced, sent_bytes: 0, line, observer }))
}

/// The request's, if there is exactly one and it can be read.
fn traceparent(request: &ServiceRequest) -> Option<TraceParent> {
    let mut values = request.headers().get_all(trace::TRACEPARENT);
    let value = values.next()?;
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok()?.parse().ok()
}

/// What is logged of a request, when it is over.
struct Line {
    method: Method,
    route: String,
    status: StatusCode,
    started: Instant,
    parent: Option<u64>,
}

impl Line {
    fn span(self, of: TraceParent, role: &'static str) -> Span {
        let Self { method, route, status, started, parent } = self;
        let ended = SystemTime::now();
        Span {
            of,
            parent,
            role,
            name: format!("{} {route}", known(&method)),
            kind: Kind::Server,
            started: ended.checked_sub(started.elapsed()).unwrap_or(ended),
            ended,
            texts: vec![("http.request.method", known(&method).to_owned()), ("http.route", route)],
            status: Some(status.as_u16()),
        }
    }

    fn log(&self, sent_bytes: u64) {
        let Self { method, route, status, started, .. } = self;
        let (method, status) = (known(method), status.as_u16());
        let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        if status >= 500 {
            tracing::info!(method, route, status, sent_bytes, ms, "answered");
        } else {
            tracing::debug!(method, route, status, sent_bytes, ms, "answered");
        }
    }
}

/// A method's name, or `_OTHER` for what somebody made up (OpenTelemetry's semantic conventions for HTTP).
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|name| *name == method.as_str()).unwrap_or("_OTHER")
}

/// A body that is sent as part of its request, and ends it.
struct Observed {
    body: BoxBody,
    traced: Option<TraceParent>,
    sent_bytes: u64,
    line: Option<Line>,
    observer: Arc<Observer>,
}

impl MessageBody for Observed {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        let this = &mut *self;
        let polled = trace::within(this.traced, || Pin::new(&mut this.body).poll_next(cx));
        match &polled {
            Poll::Ready(Some(Ok(bytes))) => this.sent_bytes += bytes.len() as u64,
            Poll::Ready(Some(Err(error))) => {
                this.observer.metrics.body_failed();
                trace::within(this.traced, || tracing::error!(%error, "an answer broke off"));
            }
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let Some(line) = self.line.take() else { return };
        trace::within(self.traced, || line.log(self.sent_bytes));
        if let Some(of) = self.traced {
            trace::record(|| line.span(of, self.observer.role), of);
        }
    }
}
