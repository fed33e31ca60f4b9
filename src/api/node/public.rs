//! Downloads: `/b/{sha1}/{name}?<ticket>`. Other people's content is served here, beside
//! nothing of ours: no cookies, no pages, nothing that a browser would run.

use actix_web::body::BoxBody;
use actix_web::http::Method;
use actix_web::http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    ETAG, HeaderName, HeaderValue,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, Resource, ResponseError as _, web};

use super::body::{HeadBody, content_range, many, one};
use super::disposition::content_disposition;
use super::precondition::{Outcome, evaluate};
use super::range::{Selection, select};
use super::{ApiError, ProblemKind};
use crate::api::common::digest_fields;
use crate::domain::InlineKind;
use crate::service::node::{Disposition, Download, NodeService};

/// On every answer under `/b/`, whatever it is.
const ALWAYS: [(&str, &str); 5] = [
    ("x-content-type-options", "nosniff"),
    ("cross-origin-resource-policy", "cross-origin"),
    ("referrer-policy", "no-referrer"),
    ("access-control-allow-origin", "*"),
    ("access-control-expose-headers", "Content-Range, ETag, Repr-Digest, Content-Length, Accept-Ranges"),
];

/// What is saved, and every error: a browser that shows it all the same runs nothing of it.
const SAVED_POLICY: &str = "sandbox";
/// What is shown: nothing but itself, which the browser's own page around a film loads once more. That
/// page, around a film or an image, has looks of its own.
const SHOWN_POLICY: &str =
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; sandbox";
/// A PDF document. Browsers show none in a sandbox; their viewers keep a document's scripts from the page
/// and its origin, which has nothing to take: no cookies, no pages.
const PDF_POLICY: &str = "default-src 'none'; object-src 'self'; style-src 'unsafe-inline'";

/// What a page elsewhere may ask before it reads (Fetch's preflight); kept for a day.
const PREFLIGHT: [(&str, &str); 3] = [
    ("access-control-allow-methods", "GET, HEAD, OPTIONS"),
    ("access-control-allow-headers", "Range, If-Range, If-None-Match, If-Match"),
    ("access-control-max-age", "86400"),
];

/// The answer depends on nothing but the address: it is kept for good.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

pub(super) fn resource() -> Resource {
    web::resource("/b/{rest:.*}")
        .route(web::get().to(read))
        .route(web::head().to(read))
        .route(web::method(Method::OPTIONS).to(preflight))
        .default_service(web::to(other_method))
}

async fn preflight() -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    insert(&mut response, &PREFLIGHT);
    always(response.insert_header(("allow", "GET, HEAD, OPTIONS")).finish())
}

async fn read(service: web::Data<NodeService>, request: HttpRequest) -> HttpResponse {
    always(answer(&service, &request).await.unwrap_or_else(|error| error.error_response()))
}

async fn other_method() -> HttpResponse {
    always(ApiError::method_not_allowed("GET, HEAD, OPTIONS").error_response())
}

fn always(mut response: HttpResponse) -> HttpResponse {
    let headers = response.headers_mut();
    if !headers.contains_key(CONTENT_SECURITY_POLICY) {
        headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(SAVED_POLICY));
    }
    for (name, value) in ALWAYS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn answer(service: &NodeService, request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    // As they came: what a router or a parser would make of them is not what was signed. A
    // path of another shape has no name that could be a ticket's.
    let path = request.uri().path().strip_prefix("/b/").unwrap_or_default();
    let (sha1, name) = path.split_once('/').unwrap_or((path, ""));
    let query = request.uri().query().unwrap_or_default();
    let download = service.download(sha1, name, query).await?;
    let etag = format!("\"{}\"", download.digests.sha256);
    match evaluate(request.headers(), &etag) {
        Outcome::Failed => {
            let detail = format!("the file's entity tag is {etag}");
            Err(ApiError::new(ProblemKind::PreconditionFailed, detail))
        }
        Outcome::NotModified => {
            let mut response = HttpResponse::NotModified();
            describe(&mut response, &download, &etag);
            Ok(response.finish())
        }
        Outcome::Answer(_) if request.method() == Method::HEAD => {
            // Ranges are defined for GET alone (RFC 9110 §14.2).
            let mut response = HttpResponse::Ok();
            describe(&mut response, &download, &etag);
            response.insert_header((CONTENT_TYPE, download.disposition.media_type()));
            Ok(response.body(HeadBody(download.digests.size)))
        }
        Outcome::Answer(range) => send(&download, &etag, range),
    }
}

fn send(download: &Download, etag: &str, range: Option<&str>) -> Result<HttpResponse, ApiError> {
    let size = download.digests.size;
    let media_type = download.disposition.media_type();
    let mut response = HttpResponse::Ok();
    let (media_type, body): (String, BoxBody) =
        match range.map_or(Selection::Whole, |range| select(range, size)) {
            Selection::Whole => (media_type.to_owned(), one(&download.content, 0..size)),
            Selection::Unsatisfiable => return Ok(unsatisfiable(size)),
            Selection::Parts(parts) => {
                response = HttpResponse::PartialContent();
                if let [part] = &parts[..] {
                    response.insert_header((CONTENT_RANGE, content_range(part, size)));
                    (media_type.to_owned(), one(&download.content, part.clone()))
                } else {
                    many(&download.content, parts, media_type)
                }
            }
        };
    describe(&mut response, download, etag);
    Ok(response.insert_header((CONTENT_TYPE, media_type)).body(body))
}

/// What a browser may do with it.
fn policy(disposition: &Disposition) -> &'static str {
    match disposition {
        Disposition::Attachment(_) => SAVED_POLICY,
        Disposition::Inline(shown) if shown.kind() == InlineKind::Pdf => PDF_POLICY,
        Disposition::Inline(_) => SHOWN_POLICY,
    }
}

fn unsatisfiable(size: u64) -> HttpResponse {
    let error = ApiError::new(ProblemKind::RangeNotSatisfiable, format!("the file has {size} bytes"));
    let mut response = error.error_response();
    if let Ok(value) = HeaderValue::from_str(&format!("bytes */{size}")) {
        response.headers_mut().insert(CONTENT_RANGE, value);
    }
    response
}

/// What is said of the whole content, whichever part of it is sent.
fn describe(response: &mut HttpResponseBuilder, download: &Download, etag: &str) {
    response
        .insert_header((ETAG, etag))
        .insert_header((ACCEPT_RANGES, "bytes"))
        .insert_header((CACHE_CONTROL, FOR_GOOD))
        .insert_header((CONTENT_SECURITY_POLICY, policy(&download.disposition)))
        .insert_header((CONTENT_DISPOSITION, content_disposition(&download.disposition, &download.name)));
    for field in digest_fields(&download.digests) {
        response.insert_header(field);
    }
}

fn insert(response: &mut HttpResponseBuilder, fields: &[(&'static str, &'static str)]) {
    for field in fields {
        response.insert_header(*field);
    }
}
