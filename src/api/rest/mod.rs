//! The public HTTP API. Handlers translate: extract, call one service, convert.

mod blobs;
mod download;
mod files;
mod health;
mod metalink;
mod metrics;
mod nodes;
mod openapi;
mod precheck;
mod upload;

use actix_web::web;

use super::common::{ApiError, ProblemKind, guarded, only, read, read_for};
use crate::domain::Scope;

/// Mounts the description of this API together with `others`, the paths beside it.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn describe(
    others: utoipa::openapi::OpenApi,
) -> Result<impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static, serde_json::Error> {
    let document = web::Data::new(openapi::document(others)?);
    Ok(move |config: &mut web::ServiceConfig| {
        config.app_data(document.clone()).service(read("/api/openapi.json", openapi::openapi));
    })
}

/// Mounts the routes. `PUT /{name}` takes any name, also one that is a path of another
/// method (and drops what stands before its last `/`), so it stands before those and is guarded by its method.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .app_data(web::QueryConfig::default().error_handler(|error, _| {
            ApiError::new(ProblemKind::BadRequest, format!("the query cannot be read: {error}")).into()
        }))
        // Before all others, as paths are tried in this order and links are most of what is asked.
        .service(
            web::resource("/d/{sha1}{name:(?:/.*)?}")
                .route(guarded(web::get().to(download::download), &[Scope::Read]))
                .route(guarded(web::head().to(download::download), &[Scope::Read]))
                .default_service(only("GET, HEAD")),
        )
        .route("/{name:.*}", guarded(web::put().to(upload::put), &[Scope::Upload]))
        .service(
            web::resource("/api/v1/files")
                .route(guarded(web::post().to(upload::post), &[Scope::Upload]))
                .route(guarded(web::get().to(files::list), &[Scope::List]))
                .route(guarded(web::head().to(files::list), &[Scope::List]))
                .default_service(only("GET, HEAD, POST")),
        )
        .service(
            web::resource("/api/v1/precheck")
                .route(guarded(web::post().to(precheck::precheck), &[Scope::Upload]))
                .default_service(only("POST")),
        )
        .service(read_for("/api/v1/files/{id}", &[Scope::Read], files::file))
        .service(read_for("/api/v1/blobs/{sha1}", &[Scope::Read], blobs::blob))
        .service(read_for("/api/v1/blobs/{sha1}/pieces", &[Scope::Read], blobs::pieces))
        .service(read_for("/api/v1/blobs/{sha1}/replicas", &[Scope::Read], blobs::replicas))
        .service(read("/api/v1/nodes", nodes::nodes))
        .service(read("/healthz", health::alive))
        .service(read("/readyz", health::ready))
        .service(read("/metrics", metrics::metrics));
}
