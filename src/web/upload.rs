//! `POST /upload`, the form's target, and `/uploaded`, the page that tells how it went.
//!
//! The result's address says all that the page needs, so that it can be reloaded and kept,
//! and no server has to remember it: `k` is a `.`-joined list with one letter and a SHA-1 (base64url) for each
//! file that is kept, and each `e` names one that is not, with its problem.

use actix_multipart::Multipart;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue, LOCATION, RETRY_AFTER};
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::pages::{Outcome, ResultPage, ResultView, advice};
use super::respond::{page, sentence, shell, wants_page};
use super::views;
use crate::api::common::{
    ApiError, FormEntry, FormFile, ProblemKind, Site, admit, encode_segment, failed_file, form_status,
    read_form, shows_nothing, stored_file,
};
use crate::domain::{Scope, Sha1, Viewer};
use crate::service::central::complete::Outcome as Completion;
use crate::wire::api::{UploadStatus, UploadedFile, UploadedFiles};

/// Files that are not taken are named in the result's address up to so many bytes of it.
const MAX_NAMED_ERRORS_BYTES: usize = 8 << 10;

/// When it is worth sending a form again for which there was no room.
const RETRY_AFTER_SECONDS: (HeaderName, &str) = (RETRY_AFTER, "2");

/// Stores the files of a form, in its order.
#[utoipa::path(
    post, path = "/upload", tag = "files",
    request_body(content = String, content_type = "multipart/form-data", description = "One or more parts named `file`, at most 1000; before them a part `token`, where one is needed and the request has no `Authorization`"),
    responses(
        (status = 201, description = "Some were stored", body = UploadedFiles),
        (status = 200, description = "All are duplicates", body = UploadedFiles),
        (status = 303, description = "For browsers (`Accept: text/html`): to the page that tells how it went"),
        (status = 409, description = "For browsers: all are duplicates; the page has their links"),
        (status = "default", description = "None was stored: the first error's status", body = UploadedFiles),
    )
)]
pub(super) async fn upload(
    site: web::Data<Site>,
    request: HttpRequest,
    form: Multipart,
) -> Result<HttpResponse, ApiError> {
    let base = site.base(&request)?;
    let entry = match admit(&site, &[Scope::Upload], &request).await {
        Ok(()) => FormEntry::Admitted,
        // A browser without scripts can give it in the form alone.
        Err(error) if shows_nothing(&request) => FormEntry::ByToken(error),
        Err(error) => return Err(error),
    };
    let client = site.client(&request);
    let files = read_form(&site, client, Viewer::Public, entry, form, site.limits.form_files).await?;
    let mut objects = Vec::with_capacity(files.len());
    for file in &files {
        objects.push(match &file.outcome {
            Ok(completed) => {
                let detail = site.catalog.detail(Viewer::Public, completed.blob.digests.sha1).await?;
                stored_file(&base, &file.name, completed, detail.as_ref())
            }
            Err(error) => failed_file(&file.name, error),
        });
    }
    let status = form_status(&objects);
    if !wants_page(request.headers()) {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut answer = HttpResponse::build(status);
        answer.insert_header((CACHE_CONTROL, "no-store"));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.insert_header(RETRY_AFTER_SECONDS);
        }
        return Ok(answer.json(UploadedFiles { files: objects }));
    }
    match status {
        201 => Ok(HttpResponse::SeeOther()
            .insert_header((LOCATION, address(&files)))
            .insert_header((CACHE_CONTROL, "no-store"))
            .finish()),
        // All are here already: the answer is their links.
        200 => show(&site, &base, &files, &objects, StatusCode::CONFLICT).await,
        error => {
            let status = StatusCode::from_u16(error).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            let mut answer = show(&site, &base, &files, &objects, status).await?;
            if status == StatusCode::SERVICE_UNAVAILABLE {
                let (name, value) = RETRY_AFTER_SECONDS;
                answer.headers_mut().insert(name, HeaderValue::from_static(value));
            }
            Ok(answer)
        }
    }
}

/// The page right away, for answers that store nothing.
async fn show(
    site: &Site,
    base: &str,
    files: &[FormFile],
    objects: &[UploadedFile],
    status: StatusCode,
) -> Result<HttpResponse, ApiError> {
    let mut shown = Vec::with_capacity(files.len());
    for (file, object) in files.iter().zip(objects) {
        let outcome = match &file.outcome {
            Ok(completed) => {
                outcome(site, base, completed.blob.digests.sha1, object.status, object.healed).await?
            }
            Err(error) => {
                let problem = error.problem();
                Outcome::Error { title: problem.title, detail: sentence(&problem.detail) }
            }
        };
        shown.push(ResultView { name: file.name.clone(), outcome });
    }
    page(status, &ResultPage { shell: shell(), files: shown })
}

async fn outcome(
    site: &Site,
    base: &str,
    sha1: Sha1,
    status: UploadStatus,
    healed: bool,
) -> Result<Outcome, ApiError> {
    let Some(detail) = site.catalog.detail(Viewer::Public, sha1).await? else {
        return Ok(Outcome::Error {
            title: ProblemKind::NotFound.title().to_owned(),
            detail: "No file with this content is stored here.".to_owned(),
        });
    };
    let kept = views::kept(base, &detail, healed);
    Ok(if status == UploadStatus::Stored { Outcome::Stored(kept) } else { Outcome::Duplicate(kept) })
}

/// What to do about a file that was not taken.
fn advice_on(kind: ProblemKind) -> &'static str {
    match kind {
        ProblemKind::InvalidName => "Rename it: a name has 1 to 255 bytes and no control characters.",
        ProblemKind::BadRequest => "Send it again, on its own.",
        kind => advice(kind.status()),
    }
}

/// The result's address.
fn address(files: &[FormFile]) -> String {
    let mut kept = Vec::new();
    let mut errors = String::new();
    for file in files {
        match &file.outcome {
            Ok(completed) => {
                let letter = match completed.outcome {
                    Completion::Stored => 's',
                    Completion::Duplicate { healed: false } => 'd',
                    Completion::Duplicate { healed: true } => 'h',
                };
                kept.push(format!(
                    "{letter}{}",
                    URL_SAFE_NO_PAD.encode(completed.blob.digests.sha1.as_bytes())
                ));
            }
            Err(error) => {
                let entry = format!("&e={}.{}", error.kind().code(), encode_segment(&file.name));
                if errors.len() + entry.len() <= MAX_NAMED_ERRORS_BYTES {
                    errors.push_str(&entry);
                }
            }
        }
    }
    format!("/uploaded?k={}{errors}", kept.join("."))
}

/// The page that tells how a form went.
pub(super) async fn uploaded(site: web::Data<Site>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let base = site.base(&request)?;
    let unreadable = || {
        ApiError::new(
            ProblemKind::BadRequest,
            "this result cannot be read: the files are in the list, /files",
        )
    };
    let mut files = Vec::new();
    for (key, value) in url::form_urlencoded::parse(request.query_string().as_bytes()) {
        match &*key {
            "k" => {
                for entry in value.split('.').filter(|entry| !entry.is_empty()).take(site.limits.form_files) {
                    let (letter, digest) = entry.split_at_checked(1).ok_or_else(unreadable)?;
                    let digest = URL_SAFE_NO_PAD.decode(digest).ok();
                    let sha1 = digest.and_then(|digest| Sha1::from_slice(&digest)).ok_or_else(unreadable)?;
                    let status = match letter {
                        "s" => UploadStatus::Stored,
                        "d" | "h" => UploadStatus::Duplicate,
                        _ => return Err(unreadable()),
                    };
                    let outcome = outcome(&site, &base, sha1, status, letter == "h").await?;
                    let name = match &outcome {
                        Outcome::Stored(kept) | Outcome::Duplicate(kept) => kept.name.clone(),
                        Outcome::Error { .. } => sha1.to_string(),
                    };
                    files.push(ResultView { name, outcome });
                }
            }
            "e" => {
                let (code, name) = value.split_once('.').ok_or_else(unreadable)?;
                let kind = ProblemKind::ALL.iter().find(|kind| kind.code() == code).ok_or_else(unreadable)?;
                let outcome =
                    Outcome::Error { title: kind.title().to_owned(), detail: advice_on(*kind).to_owned() };
                files.push(ResultView { name: name.to_owned(), outcome });
            }
            _ => {}
        }
    }
    page(StatusCode::OK, &ResultPage { shell: shell(), files })
}
