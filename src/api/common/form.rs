//! The upload form: each file goes straight from its part into an upload of its own.

use actix_multipart::{Field, Multipart, MultipartError};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::time::{Instant, timeout, timeout_at};

use super::access::admit_with;
use super::intake::store;
use super::problem::{ApiError, ProblemKind};
use super::site::Site;
use crate::domain::{FileName, MediaType, Scope, Viewer};
use crate::service::central::ClientAddress;
use crate::service::central::complete::Completed;
use crate::service::central::upload::NewUpload;

/// The most bytes of a part that is no file, or of the rest of a file that was refused.
const MAX_PASSED_OVER_BYTES: u64 = 64 << 20;
/// The most bytes of a token's field; a token is shorter.
const MAX_TOKEN_BYTES: usize = 256;
/// Said of the last file that a form was read to.
const REST: &str = "what follows it in the form was not read: send that again";

/// Who may send a form.
#[derive(Debug)]
pub enum FormEntry {
    /// Its sender was let in.
    Admitted,
    /// Whoever gives a token in it, as its first field; without one this is the answer.
    ByToken(ApiError),
}

/// One file of a form, and how it ended.
#[derive(Debug)]
pub struct FormFile {
    /// The name that was given.
    pub name: String,
    /// How it ended.
    pub outcome: Result<Completed, ApiError>,
}

/// Reads a form to its end, or until nothing more of it can be read. Files are taken one
/// after the other, so that the same content twice is stored, then a duplicate.
///
/// # Errors
/// When the form holds no file, or its sender may send none: then nothing of the first file was read.
pub async fn read_form(
    site: &Site,
    client: ClientAddress,
    viewer: Viewer,
    mut entry: FormEntry,
    mut form: Multipart,
    max_files: usize,
) -> Result<Vec<FormFile>, ApiError> {
    let mut files: Vec<FormFile> = Vec::new();
    let limits = site.uploads.limits();
    let patience = Patience { idle: limits.stalled_after, bytes_per_second: limits.stalled_bytes_per_second };
    loop {
        let next = match timeout(patience.idle, form.try_next()).await {
            Ok(next) => next.map_err(|error| unreadable(&error)),
            Err(_) => Err(ApiError::new(ProblemKind::Timeout, "the form came too slowly: send it again")),
        };
        let field = match next {
            Ok(Some(field)) => field,
            Ok(None) => break,
            Err(error) if files.is_empty() => return Err(error),
            // What was stored stays; the page or program learns that the rest is missing.
            Err(error) => {
                files.push(FormFile { name: String::new(), outcome: Err(error.and(REST)) });
                break;
            }
        };
        // Browsers and curl escape a quote so (WHATWG HTML, multipart/form-data), and nothing else.
        let given = field
            .content_disposition()
            .and_then(|field| field.get_filename())
            .unwrap_or_default()
            .replace("%22", "\"");
        let is_file = field.name() == Some("file");
        if let FormEntry::ByToken(error) = entry {
            // Nothing is read of a form whose sender nobody knows, but the token at its beginning.
            let token = match field.name() {
                Some("token") => read_token(field, patience.idle).await?,
                _ => String::new(),
            };
            if token.is_empty() {
                return Err(error.and("in a form, give it in the field `token`, as its first field"));
            }
            admit_with(site, &[Scope::Upload], &token).await?;
            entry = FormEntry::Admitted;
            continue;
        }
        if !is_file {
            if !pass_over(field, patience).await {
                break;
            }
            continue;
        }
        if files.len() == max_files {
            let detail = format!("a form may hold {max_files} files: send this one and the rest in another");
            files
                .push(FormFile { name: given, outcome: Err(ApiError::new(ProblemKind::BadRequest, detail)) });
            break;
        }
        let Some((mut file, goes_on)) = take(site, client, viewer, given, field, patience).await else {
            continue;
        };
        if !goes_on {
            file.outcome = file.outcome.map_err(|error| error.and(REST));
            files.push(file);
            break;
        }
        files.push(file);
    }
    if let FormEntry::ByToken(error) = entry {
        return Err(error);
    }
    if files.is_empty() {
        return Err(ApiError::new(
            ProblemKind::BadRequest,
            "the form holds no file: choose one in the field `file`",
        ));
    }
    Ok(files)
}

/// Why the rest of a form cannot be read.
fn unreadable(error: &MultipartError) -> ApiError {
    match error {
        MultipartError::Incomplete | MultipartError::Payload(_) => {
            ApiError::new(ProblemKind::Incomplete, "the form ended before its last byte")
        }
        MultipartError::ContentTypeMissing
        | MultipartError::ContentTypeParse
        | MultipartError::ContentTypeIncompatible => ApiError::new(
            ProblemKind::UnsupportedMediaType,
            "send a form: Content-Type: multipart/form-data with its boundary",
        ),
        // Where a part begins is lost, and so is what follows.
        error => ApiError::new(
            ProblemKind::BadRequest,
            format!("the form cannot be read from here on ({error}): does a name hold control characters?"),
        ),
    }
}

/// Takes one file; says, too, whether the rest of the form can be read. Nothing for the
/// nameless, empty part that browsers send when no file was chosen.
async fn take(
    site: &Site,
    client: ClientAddress,
    viewer: Viewer,
    given: String,
    mut field: Field,
    patience: Patience,
) -> Option<(FormFile, bool)> {
    let name = match FileName::parse(&given) {
        Ok(name) => name,
        Err(error) => {
            let first = timeout(patience.idle, field.try_next()).await.ok()?.ok().flatten();
            if given.is_empty() && first.is_none() {
                return None;
            }
            let goes_on = pass_over(field, patience).await;
            return Some((FormFile { name: given, outcome: Err(error.into()) }, goes_on));
        }
    };
    let media_type = field
        .content_type()
        .map(|given| MediaType::parse(given.as_ref()))
        .filter(|given| given.as_str() != MediaType::UNKNOWN)
        .unwrap_or_else(|| MediaType::guess(&name));
    let upload = NewUpload {
        viewer,
        address: client.address(),
        name,
        media_type,
        declared_bytes: None,
        sha1: None,
        sha256: None,
    };
    let outcome = store(&site.uploads, upload, field.by_ref()).await.map_err(ApiError::from);
    // A sender that was cut, or whose file is too large, is not listened to any longer.
    let goes_on = match &outcome {
        Ok(_) => true,
        Err(error)
            if matches!(
                error.kind(),
                ProblemKind::TooLarge | ProblemKind::Timeout | ProblemKind::Incomplete
            ) =>
        {
            false
        }
        Err(_) => pass_over(field, patience).await,
    };
    Some((FormFile { name: given, outcome }, goes_on))
}

/// How slowly what is no file's content may come: as an upload's sender.
#[derive(Debug, Clone, Copy)]
struct Patience {
    idle: Duration,
    bytes_per_second: u64,
}

/// Reads the field of a token.
async fn read_token(mut field: Field, within: Duration) -> Result<String, ApiError> {
    let (mut text, deadline) = (Vec::new(), Instant::now() + within);
    loop {
        let next = timeout_at(deadline, field.try_next())
            .await
            .map_err(|_| ApiError::new(ProblemKind::Timeout, "the form came too slowly: send it again"))?;
        match next.map_err(|error| unreadable(&error))? {
            None => break,
            Some(bytes) if text.len() + bytes.len() <= MAX_TOKEN_BYTES => text.extend_from_slice(&bytes),
            Some(_) => {
                return Err(ApiError::new(
                    ProblemKind::BadRequest,
                    "the field `token` is too long for a token",
                ));
            }
        }
    }
    Ok(String::from_utf8_lossy(&text).trim().to_owned())
}

/// Reads a part to its end; false when it broke, was too long or came too slowly.
async fn pass_over(mut field: Field, patience: Patience) -> bool {
    let begun = Instant::now();
    let mut passed: u64 = 0;
    loop {
        let earned = Duration::from_secs(passed / patience.bytes_per_second.max(1));
        match timeout_at(begun + patience.idle + earned, field.next()).await {
            Ok(None) => return true,
            Ok(Some(Ok(bytes))) => passed += bytes.len() as u64,
            Ok(Some(Err(_))) | Err(_) => return false,
        }
        if passed > MAX_PASSED_OVER_BYTES {
            return false;
        }
    }
}
