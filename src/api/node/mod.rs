//! What a node answers: central's and other nodes' calls under `/n/v1/` (see
//! [`crate::wire::node`]), and people's downloads under `/b/`.

mod body;
mod calls;
mod disposition;
mod error;
mod precondition;
mod public;
mod range;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use actix_web::web;

use super::common::{ApiError, ProblemKind};
use crate::service::node::NodeService;

/// Mounts the routes.
pub fn configure(config: &mut web::ServiceConfig, service: Arc<NodeService>) {
    let service = web::Data::from(service);
    config.service(calls::scope().app_data(service.clone()));
    config.service(public::resource().app_data(service));
    config.default_service(web::to(async || {
        Err::<actix_web::HttpResponse, _>(ApiError::new(
            ProblemKind::NotFound,
            "this server has no such page",
        ))
    }));
}
