//! Resumable uploads over tus 1.0.0 (<https://tus.io/protocols/resumable-upload>) at
//! `/api/v1/uploads`, with creation, creation-with-upload, checksum, termination, expiration.

mod fields;

use actix_web::http::Method;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_LENGTH, LOCATION};
use actix_web::middleware::{DefaultHeaders, from_fn};
use actix_web::{HttpRequest, HttpResponse, Responder as _, web};
use utoipa::OpenApi as _;

use super::common::{
    ApiError, ProblemKind, Site, announced_digests, failed_file, only, pump, receiving_file, require,
    stored_file,
};
use crate::domain::{Scope, UploadId, Viewer};
use crate::service::central::resumable::{Look, Part, Received, ResumableEnd, ResumeError, Standing};
use crate::wire::api::UploadedFile;

const PATH: &str = "/api/v1/uploads";
const EXTENSIONS: &str = "creation,creation-with-upload,checksum,termination,expiration";

/// Mounts the routes.
pub fn configure(config: &mut web::ServiceConfig) {
    let options = || web::method(Method::OPTIONS).to(options);
    config.service(
        web::scope(PATH)
            .wrap(from_fn(|request, next| require(&[Scope::Upload], request, next)))
            .wrap(
                DefaultHeaders::new()
                    .add(("Tus-Resumable", fields::VERSION))
                    .add(("Tus-Version", fields::VERSION)),
            )
            .service(
                web::resource("")
                    .route(web::post().to(create))
                    .route(options())
                    .default_service(only("OPTIONS, POST")),
            )
            .service(
                web::resource("/{id}")
                    .route(web::get().to(look))
                    .route(web::head().to(head))
                    .route(web::patch().to(append))
                    .route(web::delete().to(terminate))
                    .route(web::post().to(overridden))
                    .route(options())
                    .default_service(only("DELETE, GET, HEAD, OPTIONS, PATCH, POST")),
            ),
    );
}

#[derive(utoipa::OpenApi)]
#[openapi(paths(options, create, look, head, append, terminate))]
struct Api;

/// The description of these calls.
#[must_use]
pub fn description() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

/// What of tus is spoken here.
#[utoipa::path(
    options, path = "/api/v1/uploads", tag = "resumable uploads", operation_id = "tus_options",
    responses((status = 204, description = "`Tus-Version`, `Tus-Extension`, `Tus-Max-Size`, `Tus-Checksum-Algorithm`"))
)]
async fn options(site: web::Data<Site>) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header(("Tus-Extension", EXTENSIONS))
        .insert_header(("Tus-Max-Size", site.resumable.limit_bytes().to_string()))
        .insert_header(("Tus-Checksum-Algorithm", "sha1"))
        .finish()
}

/// Begins a resumable upload (tus 1.0.0); the body may be its first part.
#[utoipa::path(
    post, path = "/api/v1/uploads", tag = "resumable uploads", operation_id = "tus_create",
    params(
        ("Tus-Resumable" = String, Header, description = "`1.0.0`"),
        ("Upload-Length" = u64, Header, description = "The size in bytes"),
        ("Upload-Metadata" = Option<String>, Header, description = "`filename`, `filetype` and `sha1`, each in Base64"),
    ),
    responses(
        (status = 201, description = "Begun: `Location` is its address"),
        (status = 415, description = "The body is no part", body = crate::wire::api::Problem),
        (status = 429, description = "Too many unfinished uploads from this address", body = crate::wire::api::Problem),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
async fn create(
    site: web::Data<Site>,
    request: HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let base = site.base(&request)?;
    fields::check_version(&request)?;
    let new = fields::new_upload(&request)?;
    let has_part = fields::check_first_part(&request)?;
    let part = Part { offset: 0, ..part(&request)? };
    let size = new.size;
    // Before anything is reserved for it.
    if has_part && part.declared_bytes.is_some_and(|bytes| bytes > size) {
        return Err(ResumeError::TooMany(size).into());
    }
    let upload = site.resumable.create(site.client(&request).address(), new).await?;
    let mut answer = HttpResponse::Created();
    answer
        .insert_header((LOCATION, format!("{base}{PATH}/{}", upload.upload)))
        .insert_header(("Upload-Expires", fields::expires(upload.expires_at)));
    if !has_part {
        if size == 0 {
            kept(&site, upload.upload, site.resumable.resume(upload.upload).await).await?;
            answer.insert_header(("Upload-Offset", "0"));
        }
        return Ok(answer.finish());
    }
    let offset = match take(&site, &request, upload.upload, part, body).await {
        Ok(received) => received.offset,
        // It is begun all the same, and goes on from where this part came to.
        Err(error @ (ResumeError::Upload(_) | ResumeError::Checksum | ResumeError::TakenOver)) => {
            tracing::debug!(%error, "an upload's first part was not taken");
            site.resumable.look(upload.upload).await.ok().and_then(|look| look.offset()).unwrap_or(0)
        }
        failed => kept(&site, upload.upload, failed).await?.offset,
    };
    Ok(answer.insert_header(("Upload-Offset", offset.to_string())).finish())
}

/// What a creation came to. The sender of one that failed never learns its address, so nobody could go on
/// with it or end it: its space is given back now.
async fn kept<T>(site: &Site, upload: UploadId, result: Result<T, ResumeError>) -> Result<T, ApiError> {
    if result.is_err()
        && let Err(error) = site.resumable.terminate(upload).await
    {
        tracing::debug!(%error, "an upload that was not begun is left to its expiry");
    }
    Ok(result?)
}

/// How far an upload is, to go on from there.
#[utoipa::path(
    head, path = "/api/v1/uploads/{id}", tag = "resumable uploads", operation_id = "tus_head",
    params(("id" = String, Path, description = "The upload")),
    responses(
        (status = 200, description = "`Upload-Offset`, `Upload-Length`, `Upload-Metadata`, `Upload-Expires`"),
        (status = "default", description = "No body"),
    )
)]
async fn head(
    site: web::Data<Site>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    fields::check_version(&request)?;
    let look = site.resumable.resume(parse(&id)?).await?;
    let Some(offset) = look.offset() else { return Err(ended(&look)) };
    let mut answer = HttpResponse::Ok();
    answer
        .insert_header((CACHE_CONTROL, "no-store"))
        .insert_header(("Upload-Offset", offset.to_string()))
        .insert_header(("Upload-Length", look.upload.size.to_string()))
        .insert_header(("Upload-Metadata", fields::metadata(&look.upload)));
    if matches!(look.standing, Standing::Receiving { .. }) {
        answer.insert_header(("Upload-Expires", fields::expires(look.upload.expires_at)));
    }
    Ok(answer.finish())
}

/// An upload as the object that other upload calls answer with; its outcome for a day.
#[utoipa::path(
    get, path = "/api/v1/uploads/{id}", tag = "resumable uploads", operation_id = "tus_get",
    params(("id" = String, Path, description = "The upload")),
    responses(
        (status = 200, description = "The upload: `receiving` with `offset`, or how its last part ended", body = UploadedFile),
        (status = 410, description = "Cancelled, or not finished in time", body = crate::wire::api::Problem),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
async fn look(
    site: web::Data<Site>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let base = site.base(&request)?;
    let Look { upload, standing } = site.resumable.look(parse(&id)?).await?;
    let given = upload.name.as_str();
    let object = match standing {
        Standing::Receiving { offset } => receiving_file(given, upload.size, offset),
        // Nothing is left to be looked at.
        Standing::Ended(end @ (ResumableEnd::Terminated | ResumableEnd::Expired)) => return Err(end.into()),
        Standing::Ended(end) => failed_file(given, &end.into()),
        Standing::Completed(completed) => {
            let detail = site.catalog.detail(Viewer::Public, completed.blob.digests.sha1).await?;
            stored_file(&base, given, &completed, detail.as_ref())
        }
    };
    let object = web::Json(object).customize().insert_header((CACHE_CONTROL, "no-store"));
    Ok(object.respond_to(&request).map_into_boxed_body())
}

/// Sends the part that begins at `Upload-Offset`.
#[utoipa::path(
    patch, path = "/api/v1/uploads/{id}", tag = "resumable uploads", operation_id = "tus_append",
    params(
        ("id" = String, Path, description = "The upload"),
        ("Tus-Resumable" = String, Header, description = "`1.0.0`"),
        ("Upload-Offset" = u64, Header, description = "Where the part begins"),
        ("Upload-Checksum" = Option<String>, Header, description = "`sha1 BASE64` of the part"),
        ("Repr-Digest" = Option<String>, Header, description = "Of the whole content, with the last part (RFC 9530)"),
    ),
    request_body(content = String, content_type = "application/offset+octet-stream", description = "The part's bytes"),
    responses(
        (status = 204, description = "Kept; with the last part: stored, or a duplicate"),
        (status = 409, description = "Another offset, or a collision", body = crate::wire::api::Problem),
        (status = 460, description = "The part has another checksum", body = crate::wire::api::Problem),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
async fn append(
    site: web::Data<Site>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::Payload,
) -> Result<HttpResponse, ApiError> {
    fields::check_version(&request)?;
    fields::check_part(&request)?;
    let offset = fields::needed_bytes(&request, "upload-offset")?;
    let part = Part { offset, ..part(&request)? };
    let received = take(&site, &request, parse(&id)?, part, body).await?;
    let mut answer = HttpResponse::NoContent();
    answer.insert_header(("Upload-Offset", received.offset.to_string()));
    if received.completed.is_none() {
        answer.insert_header(("Upload-Expires", fields::expires(received.upload.expires_at)));
    }
    Ok(answer.finish())
}

/// Cancels an upload; nothing of it is kept.
#[utoipa::path(
    delete, path = "/api/v1/uploads/{id}", tag = "resumable uploads", operation_id = "tus_terminate",
    params(("id" = String, Path, description = "The upload")),
    responses(
        (status = 204, description = "Gone"),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
async fn terminate(
    site: web::Data<Site>,
    request: HttpRequest,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    fields::check_version(&request)?;
    site.resumable.terminate(parse(&id)?).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// `POST` with `X-HTTP-Method-Override`, for senders that can send no other method.
async fn overridden(
    site: web::Data<Site>,
    request: HttpRequest,
    id: web::Path<String>,
    body: web::Payload,
) -> Result<HttpResponse, ApiError> {
    match fields::text(&request, "x-http-method-override") {
        Some("PATCH") => append(site, request, id, body).await,
        Some("DELETE") => terminate(site, request, id).await,
        Some("HEAD") => head(site, request, id).await,
        _ => Err(ApiError::method_not_allowed("DELETE, GET, HEAD, OPTIONS, PATCH")),
    }
}

async fn take(
    site: &Site,
    request: &HttpRequest,
    upload: UploadId,
    part: Part,
    body: web::Payload,
) -> Result<Received, ResumeError> {
    let feed = site.resumable.append(upload, site.client(request).address(), part).await?;
    pump(feed, body).await
}

/// What the fields say of a part, but for where it begins.
fn part(request: &HttpRequest) -> Result<Part, ApiError> {
    let (sha1, sha256) = announced_digests(request)?;
    Ok(Part {
        offset: 0,
        declared_bytes: fields::bytes(request, CONTENT_LENGTH.as_str())?,
        checksum: fields::checksum(request)?,
        sha1,
        sha256,
    })
}

fn parse(id: &str) -> Result<UploadId, ApiError> {
    id.parse().map_err(|_| ApiError::new(ProblemKind::NotFound, "there is no such upload"))
}

fn ended(look: &Look) -> ApiError {
    match look.standing {
        Standing::Ended(end) => end.into(),
        _ => ApiError::new(ProblemKind::NotFound, "there is no such upload"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_call_is_described() {
        let json = serde_json::to_value(description()).unwrap();
        for (path, method) in [
            (PATH, "options"),
            (PATH, "post"),
            ("/api/v1/uploads/{id}", "head"),
            ("/api/v1/uploads/{id}", "get"),
            ("/api/v1/uploads/{id}", "patch"),
            ("/api/v1/uploads/{id}", "delete"),
        ] {
            assert!(json["paths"][path][method].is_object(), "{method} {path}");
        }
    }
}
