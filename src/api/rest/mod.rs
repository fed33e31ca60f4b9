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

use super::common::{ApiError, ProblemKind, only, read};

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
                .route(web::get().to(download::download))
                .route(web::head().to(download::download))
                .default_service(only("GET, HEAD")),
        )
        .route("/{name:.*}", web::put().to(upload::put))
        .service(
            web::resource("/api/v1/files")
                .route(web::post().to(upload::post))
                .route(web::get().to(files::list))
                .route(web::head().to(files::list))
                .default_service(only("GET, HEAD, POST")),
        )
        .service(
            web::resource("/api/v1/precheck")
                .route(web::post().to(precheck::precheck))
                .default_service(only("POST")),
        )
        .service(read("/api/v1/files/{id}", files::file))
        .service(read("/api/v1/blobs/{sha1}", blobs::blob))
        .service(read("/api/v1/blobs/{sha1}/pieces", blobs::pieces))
        .service(read("/api/v1/blobs/{sha1}/replicas", blobs::replicas))
        .service(read("/api/v1/nodes", nodes::nodes))
        .service(read("/healthz", health::alive))
        .service(read("/readyz", health::ready))
        .service(read("/metrics", metrics::metrics));
}
