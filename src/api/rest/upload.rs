//! `POST /api/v1/files` and `PUT /{name}`: one file in one request.

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpRequest, HttpResponse, web};
use percent_encoding::percent_decode_str;
use serde::Deserialize;

use crate::api::common::{ApiError, ProblemKind, Site, announced_digests, media_type_of, store, stored_file};
use crate::domain::{FileName, Viewer};
use crate::service::central::complete::{Completed, Outcome};
use crate::service::central::upload::NewUpload;
use crate::wire::api::UploadedFile;

/// The query of `POST /api/v1/files`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UploadQuery {
    name: Option<String>,
}

/// Stores the body as a file.
#[utoipa::path(
    post, path = "/api/v1/files", tag = "files",
    params(("name" = String, Query, description = "What the file is called: 1 to 255 bytes of any Unicode")),
    request_body(content = String, content_type = "application/octet-stream", description = "The file's bytes; `Repr-Digest` (RFC 9530, `sha` and `sha-256`) is checked when given"),
    responses(
        (status = 201, description = "Stored: two copies are kept", body = UploadedFile),
        (status = 200, description = "Duplicate: the content was here already", body = UploadedFile),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
pub(super) async fn post(
    site: web::Data<Site>,
    request: HttpRequest,
    query: web::Query<UploadQuery>,
    body: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let given = query.into_inner().name.ok_or_else(|| {
        ApiError::new(ProblemKind::InvalidName, "say what the file is called: POST /api/v1/files?name=NAME")
    })?;
    let (status, object) = take(&site, &request, &given, body).await?;
    Ok(HttpResponse::build(status).json(object))
}

/// Stores the body as a file of this name: what `curl -T file http://host/` sends.
#[utoipa::path(
    put, path = "/{name}", tag = "files",
    params(("name" = String, Path, description = "What the file is called")),
    request_body(content = String, content_type = "application/octet-stream", description = "The file's bytes"),
    responses(
        (status = 201, description = "Stored: the link and a newline", body = String, content_type = "text/plain"),
        (status = 200, description = "Duplicate: the link and a newline", body = String, content_type = "text/plain"),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
pub(super) async fn put(
    site: web::Data<Site>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let raw = request.uri().path().trim_start_matches('/').to_owned();
    let given = percent_decode_str(&raw)
        .decode_utf8()
        .map_err(|_| ApiError::new(ProblemKind::InvalidName, "the name is not UTF-8"))?;
    let (status, object) = take(&site, &request, &given, body).await?;
    Ok(HttpResponse::build(status)
        .content_type("text/plain; charset=utf-8")
        .body(format!("{}\n", object.url.unwrap_or_default())))
}

async fn take(
    site: &Site,
    request: &HttpRequest,
    given: &str,
    body: web::Payload,
) -> Result<(StatusCode, UploadedFile), ApiError> {
    let base = site.base(request)?;
    let name = FileName::parse(given)?;
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let (sha1, sha256) = announced_digests(request)?;
    let upload = NewUpload {
        viewer: Viewer::Public,
        address: site.client(request).address(),
        media_type: media_type_of(request, &name),
        name,
        declared_bytes: header(CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok()),
        sha1,
        sha256,
    };
    let completed = store(&site.uploads, upload, body).await?;
    let object = describe(site, &base, given, &completed).await?;
    let status = match completed.outcome {
        Outcome::Stored => StatusCode::CREATED,
        Outcome::Duplicate { .. } => StatusCode::OK,
    };
    Ok((status, object))
}

async fn describe(
    site: &Site,
    base: &str,
    given: &str,
    completed: &Completed,
) -> Result<UploadedFile, ApiError> {
    let detail = site.catalog.detail(Viewer::Public, completed.blob.digests.sha1).await?;
    Ok(stored_file(base, given, completed, detail.as_ref()))
}
