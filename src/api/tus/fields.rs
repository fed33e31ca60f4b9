//! The HTTP fields of tus 1.0.0.

use std::time::{Duration, SystemTime};

use actix_web::HttpRequest;
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HttpDate, TRANSFER_ENCODING};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::api::common::{ApiError, ProblemKind};
use crate::domain::{FileName, MediaType, Sha1, Timestamp};
use crate::service::central::resumable::{NewPartial, Resumable};

/// The version that is spoken.
pub(super) const VERSION: &str = "1.0.0";
/// The type of a part's body.
const PART: &str = "application/offset+octet-stream";
/// A file whose sender gives no name.
const NO_NAME: &str = "unnamed";

/// A field as text.
pub(super) fn text<'r>(request: &'r HttpRequest, name: &str) -> Option<&'r str> {
    request.headers().get(name).and_then(|value| value.to_str().ok())
}

fn bad(detail: impl Into<String>) -> ApiError {
    ApiError::new(ProblemKind::BadRequest, detail)
}

/// A field that is a number of bytes.
pub(super) fn bytes(request: &HttpRequest, name: &str) -> Result<Option<u64>, ApiError> {
    let Some(value) = request.headers().get(name) else { return Ok(None) };
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|digits| digits.parse().ok());
    number.map(Some).ok_or_else(|| bad(format!("{name} is no number of bytes")))
}

/// A field that must be there and is a number of bytes.
pub(super) fn needed_bytes(request: &HttpRequest, name: &str) -> Result<u64, ApiError> {
    bytes(request, name)?.ok_or_else(|| bad(format!("say {name}, a number of bytes")))
}

/// The sender speaks this version.
pub(super) fn check_version(request: &HttpRequest) -> Result<(), ApiError> {
    match text(request, "tus-resumable") {
        Some(VERSION) => Ok(()),
        _ => Err(ApiError::new(
            ProblemKind::UnsupportedVersion,
            format!("say the protocol's version: Tus-Resumable: {VERSION}"),
        )),
    }
}

fn is_part(request: &HttpRequest) -> bool {
    text(request, CONTENT_TYPE.as_str()).is_some_and(|kind| kind.trim().eq_ignore_ascii_case(PART))
}

/// The body must be a part of an upload.
pub(super) fn check_part(request: &HttpRequest) -> Result<(), ApiError> {
    if is_part(request) {
        return Ok(());
    }
    Err(ApiError::new(ProblemKind::UnsupportedMediaType, format!("send a part as Content-Type: {PART}")))
}

/// Whether a new upload comes with a part: a body, which then must be one.
pub(super) fn check_first_part(request: &HttpRequest) -> Result<bool, ApiError> {
    let has_body = request.headers().contains_key(TRANSFER_ENCODING)
        || bytes(request, CONTENT_LENGTH.as_str())?.is_some_and(|bytes| bytes > 0);
    if has_body {
        check_part(request)?;
    }
    Ok(has_body || is_part(request))
}

/// What `Upload-Checksum` says of a part.
pub(super) fn checksum(request: &HttpRequest) -> Result<Option<Sha1>, ApiError> {
    let Some(value) = request.headers().get("upload-checksum") else { return Ok(None) };
    let value = value.to_str().unwrap_or_default();
    let sum = value.strip_prefix("sha1 ").and_then(|sum| Sha1::from_base64(sum.trim()).ok());
    sum.map(Some).ok_or_else(|| bad("Upload-Checksum cannot be read: write it as sha1 BASE64"))
}

/// What `Upload-Length` and `Upload-Metadata` say of a new upload.
pub(super) fn new_upload(request: &HttpRequest) -> Result<NewPartial, ApiError> {
    if request.headers().contains_key("upload-defer-length") {
        return Err(bad("the size must be known at the beginning: say Upload-Length"));
    }
    let size = needed_bytes(request, "upload-length")?;
    let (mut name, mut other_name, mut kind, mut sha1) = (None, None, None, None);
    let metadata = match request.headers().get("upload-metadata") {
        None => "",
        Some(value) => value.to_str().map_err(|_| bad("Upload-Metadata is not ASCII"))?,
    };
    for pair in metadata.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        let unreadable = || bad(format!("Upload-Metadata: the value of {key:?} is not text in Base64"));
        let value = STANDARD.decode(value.trim()).map_err(|_| unreadable())?;
        let value = || String::from_utf8(value).map_err(|_| unreadable());
        match key {
            "filename" => name = Some(value()?),
            "name" => other_name = Some(value()?),
            "filetype" | "type" => kind = Some(value()?),
            "sha1" => sha1 = Some(value()?.parse::<Sha1>()?),
            _ => {}
        }
    }
    let name = FileName::parse(name.or(other_name).as_deref().unwrap_or(NO_NAME))?;
    let media_type = kind
        .map(|kind| MediaType::parse(&kind))
        .filter(|kind| kind.as_str() != MediaType::UNKNOWN)
        .unwrap_or_else(|| MediaType::guess(&name));
    Ok(NewPartial { name, media_type, size, sha1 })
}

/// `Upload-Metadata` as it stands in the ledger.
pub(super) fn metadata(upload: &Resumable) -> String {
    let name = STANDARD.encode(upload.name.as_str());
    let kind = STANDARD.encode(upload.media_type.as_str());
    let mut fields = format!("filename {name},filetype {kind}");
    if let Some(sha1) = upload.sha1 {
        fields.push_str(",sha1 ");
        fields.push_str(&STANDARD.encode(sha1.to_string()));
    }
    fields
}

/// `Upload-Expires`.
pub(super) fn expires(at: Timestamp) -> String {
    let millis = u64::try_from(at.as_millis()).unwrap_or_default();
    HttpDate::from(SystemTime::UNIX_EPOCH + Duration::from_millis(millis)).to_string()
}
