//! The pages: handlers that fill one struct a page ([`pages`]), and the files of `static/`.

mod assets;
mod browse;
mod errors;
pub mod pages;
mod respond;
mod upload;
mod views;

use actix_web::web;

use crate::api::common::{ApiError, ProblemKind};

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
        .service(get("/", browse::index))
        .service(get("/files", browse::files))
        .service(get("/files/{sha1}", browse::file))
        .service(get("/servers", browse::servers))
        .service(get("/uploaded", upload::uploaded))
        .service(
            web::resource("/upload")
                .route(web::post().to(upload::upload))
                .default_service(web::to(wrong_method)),
        )
        .service(get("/static/{file}", assets::asset))
        .default_service(web::to(not_found));
}

/// A resource that answers `GET` and `HEAD`.
fn get<F, A>(path: &str, handler: F) -> actix_web::Resource
where
    F: actix_web::Handler<A> + Clone,
    A: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    web::resource(path)
        .route(web::get().to(handler.clone()))
        .route(web::head().to(handler))
        .default_service(web::to(wrong_method))
}

async fn not_found() -> Result<&'static str, ApiError> {
    Err(ApiError::new(ProblemKind::NotFound, "there is no page at this address: start at /"))
}

async fn wrong_method() -> Result<&'static str, ApiError> {
    Err(ApiError::new(ProblemKind::MethodNotAllowed, "this address does not take this method"))
}
