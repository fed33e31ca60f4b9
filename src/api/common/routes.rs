//! What every table of routes needs.

use actix_web::{FromRequest, Handler, HttpResponse, Resource, Responder, Route, web};

use super::access::guarded;
use super::problem::ApiError;
use crate::domain::Scope;

/// A resource that answers `GET` and `HEAD`.
pub fn read<F, A>(path: &str, handler: F) -> Resource
where
    F: Handler<A> + Clone,
    A: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(only("GET, HEAD"))
}

/// A resource that answers `GET` and `HEAD` to those who may do what any of these scopes is for.
pub fn read_for<F, A>(path: &str, any_of: &'static [Scope], handler: F) -> Resource
where
    F: Handler<A> + Clone,
    A: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    web::resource(path)
        .route(guarded(web::get().to(handler.clone()), any_of))
        .route(guarded(web::head().to(handler), any_of))
        .default_service(only("GET, HEAD"))
}

/// The answer to every other method: `405` with what is allowed (RFC 9110 §15.5.6).
pub fn only(allow: &'static str) -> Route {
    web::to(move || async move { Err::<HttpResponse, _>(ApiError::method_not_allowed(allow)) })
}
