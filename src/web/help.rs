//! `/help`, its page of the API, and what can be downloaded there.

use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, X_CONTENT_TYPE_OPTIONS};
use actix_web::{HttpRequest, HttpResponse, web};

use super::pages::{ApiPage, ExampleFile, HelpPage, Reference, sharex};
use super::respond::{page, shell};
use crate::api::common::{ApiDescription, ApiError, Site, file_url};
use crate::domain::{FileOrder, Scope, Viewer};

/// How to use this server from elsewhere.
pub(super) async fn help(site: web::Data<Site>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let base_url = site.base(&request)?;
    // Which file is the newest is the list's to tell.
    let newest = if site.access.is_open(&[Scope::List]) {
        site.catalog.list(Viewer::Public, "", FileOrder::Newest, None, 1).await?.items.into_iter().next()
    } else {
        None
    };
    let example =
        newest.map(|file| ExampleFile { url: file_url(&base_url, &file), sha1: file.blob.sha1.to_string() });
    page(StatusCode::OK, &HelpPage { shell: shell(), base_url, access: *site.access.rules(), example })
}

/// The custom uploader for ShareX.
pub(super) async fn uploader(site: web::Data<Site>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((CONTENT_DISPOSITION, "attachment; filename=\"closeby.sxcu\""))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(sharex(&site.base(&request)?, !site.access.is_open(&[Scope::Upload]))))
}

/// The API, as people read it.
pub(super) async fn api(
    site: web::Data<Site>,
    request: HttpRequest,
    description: web::Data<ApiDescription>,
) -> Result<HttpResponse, ApiError> {
    let (base_url, reference) = (site.base(&request)?, Reference::of(&description.value));
    page(StatusCode::OK, &ApiPage { shell: shell(), base_url, reference })
}
