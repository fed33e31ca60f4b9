//! The files of `static/`, inside the binary.

use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH};
use actix_web::{HttpRequest, HttpResponse, web};
use rust_embed::RustEmbed;
use sha2::{Digest as _, Sha256};

use crate::api::common::{ApiError, ProblemKind};

#[derive(RustEmbed)]
#[folder = "static/"]
struct Static;

/// Changes whenever one of the files does.
pub(super) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = Sha256::new();
    for name in Static::iter() {
        if let Some(file) = Static::get(&name) {
            hasher.update(file.metadata.sha256_hash());
        }
    }
    hex::encode(&hasher.finalize()[..6])
});

/// One file; for a year where its address says which version of it.
pub(super) async fn asset(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    let file =
        Static::get(&name).ok_or_else(|| ApiError::new(ProblemKind::NotFound, "there is no such file"))?;
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let is_versioned = request.query_string() == format!("v={}", *VERSION);
    let caching = if is_versioned { "public, max-age=31536000, immutable" } else { "no-cache" };
    let is_known =
        request.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((CACHE_CONTROL, caching))
        .insert_header((ETAG, etag))
        .insert_header(("x-content-type-options", "nosniff"));
    if is_known {
        return Ok(response.finish());
    }
    let media_type = mime_guess::from_path(name.as_str()).first_raw().unwrap_or("application/octet-stream");
    Ok(response.content_type(media_type).body(file.data.into_owned()))
}
