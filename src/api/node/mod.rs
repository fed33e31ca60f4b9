//! What a node answers: central's and other nodes' calls under `/n/v1/` (see
//! [`crate::wire::node`]), people's downloads under `/b/`, and `/healthz` for what watches it.

mod body;
mod calls;
mod disposition;
mod error;
mod metrics;
mod precondition;
mod public;
mod range;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpResponse, web};

use super::common::{ApiError, ProblemKind, read};
use crate::service::node::NodeService;
pub use error::count_disk_errors;

/// Mounts the routes.
pub fn configure(config: &mut web::ServiceConfig, service: Arc<NodeService>) {
    let service = web::Data::from(service);
    config.service(calls::scope().app_data(service.clone()));
    config.service(public::resource().app_data(service.clone()));
    config.service(read("/metrics", metrics::metrics).app_data(service));
    config.route("/healthz", web::get().to(alive));
    config.default_service(web::to(not_found));
}

async fn not_found() -> Result<HttpResponse, ApiError> {
    Err(ApiError::new(ProblemKind::NotFound, "this server has no such page"))
}

/// The process answers. It says nothing of central: a node whose central is away still serves
/// downloads, and must not be restarted for it.
async fn alive() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .content_type("text/plain; charset=utf-8")
        .body("ok\n")
}
