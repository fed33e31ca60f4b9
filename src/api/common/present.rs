//! Ledger's values as the public API's objects.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::problem::ApiError;
use crate::domain::{Place, Sha1};
use crate::service::central::Origin;
use crate::service::central::catalog::Detail;
use crate::service::central::complete::{Completed, Outcome};
use crate::service::central::{FileRecord, VisibleBlob};
use crate::wire::api::{ApiPlace, File, UploadStatus, UploadedFile};

/// RFC 3986's unreserved characters stay as they are in a path's segment.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path's segment, percent-encoded.
#[must_use]
pub fn encode_segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// The path of a blob's lasting link.
#[must_use]
pub fn blob_path(sha1: Sha1) -> String {
    format!("/d/{sha1}")
}

/// The lasting link of a file.
#[must_use]
pub fn file_url(base: &str, file: &FileRecord) -> String {
    format!("{base}/d/{}/{}", file.blob.sha1, encode_segment(file.name.as_str()))
}

/// A file in the list.
#[must_use]
pub fn file_object(base: &str, file: &FileRecord) -> File {
    File {
        id: file.id.to_string(),
        name: file.name.to_string(),
        sha1: file.blob.sha1.to_string(),
        sha256: file.blob.sha256.to_string(),
        size: file.blob.size,
        media_type: file.media_type.as_str().to_owned(),
        created_at: file.created_at.to_string(),
        url: file_url(base, file),
    }
}

/// A place.
#[must_use]
pub fn place_object(place: &Place) -> ApiPlace {
    ApiPlace {
        name: place.name.to_string(),
        country: place.country.map(|country| country.to_string()),
        lat: place.coordinates.lat(),
        lon: place.coordinates.lon(),
    }
}

/// Where a person is taken to be.
#[must_use]
pub fn place_of_origin(origin: &Origin) -> ApiPlace {
    ApiPlace {
        name: origin.name(),
        country: origin.country.map(|country| country.to_string()),
        lat: origin.coordinates.lat(),
        lon: origin.coordinates.lon(),
    }
}

/// An upload that ended well; `detail` names the places of its copies.
#[must_use]
pub fn stored_file(base: &str, given: &str, completed: &Completed, detail: Option<&Detail>) -> UploadedFile {
    let VisibleBlob { digests, file, .. } = &completed.blob;
    let mut replicas: Vec<String> = detail
        .iter()
        .flat_map(|detail| &detail.replicas)
        .filter(|at| at.replica.is_usable())
        .map(|at| at.node.node.place.slug())
        .collect();
    replicas.sort();
    UploadedFile {
        name: given.to_owned(),
        status: match completed.outcome {
            Outcome::Stored => UploadStatus::Stored,
            Outcome::Duplicate { .. } => UploadStatus::Duplicate,
        },
        sha1: Some(digests.sha1.to_string()),
        sha256: Some(digests.sha256.to_string()),
        size: Some(digests.size),
        url: Some(file_url(base, file)),
        offset: None,
        replicas,
        healed: completed.outcome == Outcome::Duplicate { healed: true },
        problem: None,
    }
}

/// An upload that was not taken.
#[must_use]
pub fn failed_file(given: &str, error: &ApiError) -> UploadedFile {
    UploadedFile {
        name: given.to_owned(),
        status: UploadStatus::Error,
        sha1: None,
        sha256: None,
        size: None,
        url: None,
        offset: None,
        replicas: Vec::new(),
        healed: false,
        problem: Some(error.problem()),
    }
}

/// A resumable upload of which bytes are missing.
#[must_use]
pub fn receiving_file(given: &str, size: u64, offset: u64) -> UploadedFile {
    UploadedFile {
        name: given.to_owned(),
        status: UploadStatus::Receiving,
        sha1: None,
        sha256: None,
        size: Some(size),
        url: None,
        offset: Some(offset),
        replicas: Vec::new(),
        healed: false,
        problem: None,
    }
}

/// The status of the answer to a form: `201` if any was stored, `200` if all are
/// duplicates, else the first error's.
#[must_use]
pub fn form_status(files: &[UploadedFile]) -> u16 {
    if files.iter().any(|file| file.status == UploadStatus::Stored) {
        return 201;
    }
    files.iter().find_map(|file| file.problem.as_ref()).map_or(200, |problem| problem.status)
}
