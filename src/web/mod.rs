//! The pages: handlers that fill one struct a page ([`pages`]), and the files of `static/`.

mod assets;
mod browse;
mod errors;
mod help;
mod manifest;
pub mod pages;
mod policy;
mod respond;
mod upload;
mod views;

use actix_web::web;

use crate::api::common::{ApiError, ProblemKind, only, read, read_for};
use crate::domain::Scope;

pub use errors::errors_as_pages;

/// What the API's description says of the form.
#[must_use]
pub fn description() -> utoipa::openapi::OpenApi {
    #[derive(utoipa::OpenApi)]
    #[openapi(paths(upload::upload))]
    struct Form;
    <Form as utoipa::OpenApi>::openapi()
}

/// Mounts the routes, and the answer for every address that is nothing else's.
pub fn configure(config: &mut web::ServiceConfig) {
    config
        .service(read("/", browse::index))
        .service(read_for("/files", &[Scope::List], browse::files))
        .service(read_for("/files/{sha1}", &[Scope::Read], browse::file))
        .service(read("/servers", browse::servers))
        .service(read("/help", help::help))
        .service(read("/manifest.webmanifest", manifest::manifest))
        .service(read("/help/api", help::api))
        .service(read("/help/closeby.sxcu", help::uploader))
        // It tells of contents that one knows, as a precheck does.
        .service(read_for("/uploaded", &[Scope::Upload, Scope::Read], upload::uploaded))
        .service(web::resource("/upload").route(web::post().to(upload::upload)).default_service(only("POST")))
        .service(read("/static/{file}", assets::plain))
        .service(read("/static/{version}/{file}", assets::versioned))
        .default_service(web::to(not_found));
}

async fn not_found() -> Result<&'static str, ApiError> {
    Err(ApiError::new(ProblemKind::NotFound, "there is no page at this address: start at /"))
}
