//! The files of `static/`, inside the binary, under `/static/{version}/{file}`.
//!
//! The version is a folder of the address, so that a module's relative imports, its worker and its
//! WebAssembly are asked for at the same version as the module itself: no build step rewrites them,
//! and an import map would have to stand in the page, which the policy forbids.

use std::sync::LazyLock;

use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, IF_NONE_MATCH};
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

/// What a script may do that runs on its own, as a worker does: a worker takes the policy of its own
/// answer, not of the page that started it.
const SCRIPT_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'";

/// One file of this version, for a year; of another one, as a page from before an update asks for it,
/// what there is now.
pub(super) async fn versioned(
    request: HttpRequest,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (version, name) = path.into_inner();
    asset(&request, &name, version == *VERSION)
}

/// One file, asked about each time.
pub(super) async fn plain(request: HttpRequest, name: web::Path<String>) -> Result<HttpResponse, ApiError> {
    asset(&request, &name, false)
}

fn asset(request: &HttpRequest, name: &str, is_versioned: bool) -> Result<HttpResponse, ApiError> {
    let file =
        Static::get(name).ok_or_else(|| ApiError::new(ProblemKind::NotFound, "there is no such file"))?;
    let etag = format!("\"{}\"", hex::encode(&file.metadata.sha256_hash()[..16]));
    let caching = if is_versioned { "public, max-age=31536000, immutable" } else { "no-cache" };
    let is_known =
        request.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((CACHE_CONTROL, caching))
        .insert_header((ETAG, etag))
        .insert_header(("x-content-type-options", "nosniff"));
    let media_type = mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream");
    if media_type.ends_with("javascript") {
        response.insert_header((CONTENT_SECURITY_POLICY, SCRIPT_POLICY));
    }
    if is_known {
        return Ok(response.finish());
    }
    Ok(response.content_type(media_type).body(file.data.into_owned()))
}
