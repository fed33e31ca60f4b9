//! The public API's JSON objects.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A problem document (RFC 9457).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// A stable code of this kind of problem, as a relative reference: `/problems/not-found`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What this kind of problem is, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here and what to do.
    pub detail: String,
    /// With `wrong-offset`: the offset to go on from, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// What the operator finds in the logs: the id of the request that had this problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

/// How one uploaded file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum UploadStatus {
    /// New content: two copies are kept.
    Stored,
    /// The content is here already: the answer is its link.
    Duplicate,
    /// A resumable upload that is not complete: `offset` says how far it is.
    Receiving,
    /// It was not taken: see `problem`.
    Error,
}

/// One uploaded file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UploadedFile {
    /// The name that was given.
    pub name: String,
    /// How it ended.
    pub status: UploadStatus,
    /// SHA-1 in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
    /// SHA-256 in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Length in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The lasting link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Of a resumable upload that is not complete: so many bytes are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
    /// Where its copies are, in alphabetical order.
    pub replicas: Vec<String>,
    /// Fewer than two good copies were left, and this upload filled them up.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub healed: bool,
    /// Why it was not taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Problem>,
}

/// The answer to `POST /upload`: the files in the order of the form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct UploadedFiles {
    /// In the order of the form.
    pub files: Vec<UploadedFile>,
}

/// `POST /api/v1/precheck`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrecheckRequest {
    /// At most 1000.
    pub files: Vec<PrecheckFile>,
}

/// A file that somebody may send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrecheckFile {
    /// Length in bytes.
    pub size: u64,
    /// SHA-1 in hex, when it is known already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha1: Option<String>,
}

/// The answer to a precheck, in the same order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PrecheckAnswer {
    /// In the order of the question.
    pub files: Vec<PrecheckResult>,
}

/// What to do with one file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PrecheckResult {
    /// What to do.
    pub state: PrecheckState,
    /// The link of content that exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

/// What to do with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PrecheckState {
    /// Send it.
    Send,
    /// Ask again with its SHA-1: a stored file has this size.
    Hash,
    /// It is here: `url` is its link.
    Exists,
}

/// A file in the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct File {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// SHA-1 of its content, hex.
    pub sha1: String,
    /// SHA-256 of its content, hex.
    pub sha256: String,
    /// Length in bytes.
    pub size: u64,
    /// What its sender said it is.
    pub media_type: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// The lasting link.
    pub url: String,
}

/// One page of the list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Files {
    /// The files.
    pub files: Vec<File>,
    /// Give it as `after` for the next page, which may be short or empty before the end; null at the end.
    pub next: Option<String>,
}

/// A blob and where it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Blob {
    /// SHA-1, hex.
    pub sha1: String,
    /// SHA-256, hex.
    pub sha256: String,
    /// Length in bytes.
    pub size: u64,
    /// The lasting link.
    pub url: String,
    /// The files on it, oldest first.
    pub files: Vec<File>,
    /// Its replicas.
    pub replicas: Vec<BlobReplica>,
}

/// A replica of a blob.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlobReplica {
    /// The node's id.
    pub node: String,
    /// Its place.
    pub place: ApiPlace,
    /// `pending`, `stored` or `bad`.
    pub state: String,
    /// Whether the node answers now.
    pub healthy: bool,
    /// When the node last verified it; RFC 3339, UTC.
    pub verified_at: String,
}

/// A place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ApiPlace {
    /// A city, else a country and coordinates.
    pub name: String,
    /// ISO 3166-1 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

/// A blob's pieces.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlobPieces {
    /// SHA-1 of the blob, hex.
    pub sha1: String,
    /// Length of the blob in bytes.
    pub size: u64,
    /// Length of a piece in bytes; the last may be shorter.
    pub piece_length: u64,
    /// SHA-256 of each piece, hex.
    pub sha256: Vec<String>,
}

/// The choice of a replica, explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Choice {
    /// Who asks, from where.
    pub client: ChoiceClient,
    /// The replicas in order of choice.
    pub replicas: Vec<ChoiceReplica>,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChoiceClient {
    /// The address, where there is one.
    pub address: Option<String>,
    /// The place that was counted from.
    pub place: ApiPlace,
    /// `geoip`, `given`, or `central` when the client's own place is unknown.
    pub known_by: String,
}

/// A replica in a choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ChoiceReplica {
    /// The node's id.
    pub node: String,
    /// Its place.
    pub place: ApiPlace,
    /// Geodesic distance in kilometres.
    pub distance_km: f64,
    /// Whether it answers now.
    pub healthy: bool,
    /// The lasting link to this very replica.
    pub url: String,
}

/// The nodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Nodes {
    /// In order of place.
    pub nodes: Vec<Node>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Node {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub place: ApiPlace,
    /// What fails together with it.
    pub failure_domain: String,
    /// Whether it beat within 15 s and no call failed since.
    pub healthy: bool,
    /// Absent for so long that its copies no longer count.
    pub out: bool,
    /// Where people download from it.
    pub public_url: String,
    /// Its build.
    pub version: String,
    /// Bytes of its filesystem, as of its last heartbeat.
    pub total_bytes: u64,
    /// Bytes free for uploads, as of its last heartbeat.
    pub free_bytes: u64,
    /// What it does, as of its last heartbeat.
    #[serde(default)]
    pub activity: NodeActivity,
    /// Stored replicas.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Its last heartbeat; RFC 3339, UTC.
    pub seen_at: String,
}

/// What a node does, as of its last heartbeat; all zero when it is idle, or does not say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeActivity {
    /// Uploads whose bytes it takes.
    pub receiving: u64,
    /// Downloads, and copies for other nodes, that it sends.
    pub sending: u64,
    /// Uploads that are not finished: those that it takes, and those that rest.
    pub unfinished: u64,
    /// Bytes a second that it took since the heartbeat before.
    pub received_bytes_per_second: u64,
    /// Bytes a second that it sent since the heartbeat before.
    pub sent_bytes_per_second: u64,
}
