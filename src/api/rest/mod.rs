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

use super::common::{ApiError, ProblemKind};

/// The most bytes of a JSON body: a thousand files to precheck.
const MAX_JSON_BYTES: usize = 256 << 10;

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
/// method, so it stands before those and is guarded by its method.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .app_data(web::JsonConfig::default().limit(MAX_JSON_BYTES).error_handler(|error, _| {
            ApiError::new(
                ProblemKind::BadRequest,
                format!("the body is not the JSON that is expected: {error}"),
            )
            .into()
        }))
        .app_data(web::QueryConfig::default().error_handler(|error, _| {
            ApiError::new(ProblemKind::BadRequest, format!("the query cannot be read: {error}")).into()
        }))
        // Before all others, as paths are tried in this order and links are most of what is asked.
        .service(
            web::resource("/d/{sha1}{name:(?:/.*)?}")
                .route(web::get().to(download::download))
                .route(web::head().to(download::download))
                .default_service(web::to(method_not_allowed)),
        )
        .route("/{name}", web::put().to(upload::put))
        .service(
            web::resource("/api/v1/files")
                .route(web::post().to(upload::post))
                .route(web::get().to(files::list))
                .default_service(web::to(method_not_allowed)),
        )
        .service(resource("/api/v1/precheck", web::post().to(precheck::precheck)))
        .service(resource("/api/v1/files/{id}", web::get().to(files::file)))
        .service(resource("/api/v1/blobs/{sha1}", web::get().to(blobs::blob)))
        .service(resource("/api/v1/blobs/{sha1}/pieces", web::get().to(blobs::pieces)))
        .service(resource("/api/v1/blobs/{sha1}/replicas", web::get().to(blobs::replicas)))
        .service(resource("/api/v1/nodes", web::get().to(nodes::nodes)))
        .service(read("/healthz", health::alive))
        .service(read("/readyz", health::ready))
        .service(read("/metrics", metrics::metrics));
}

fn resource(path: &str, route: actix_web::Route) -> actix_web::Resource {
    web::resource(path).route(route).default_service(web::to(method_not_allowed))
}

/// A resource that answers `GET` and `HEAD`.
fn read<F, A>(path: &str, handler: F) -> actix_web::Resource
where
    F: actix_web::Handler<A> + Clone,
    A: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(web::to(method_not_allowed))
}

async fn method_not_allowed() -> Result<&'static str, ApiError> {
    Err(ApiError::new(ProblemKind::MethodNotAllowed, "this address does not take this method"))
}
