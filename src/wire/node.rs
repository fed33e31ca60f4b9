//! What central (or a node with central's ticket) says to a node, under `/n/v1/`.
//!
//! | call | is | ticket |
//! | --- | --- | --- |
//! | `PUT /n/v1/sessions/{upload}` | make a session, append the whole body, prepare; answers [`PrepareAnswer`] | `write` |
//! | `POST /n/v1/sessions/{upload}/copy` | make a session, fill it from another node's, prepare; [`CopyRequest`] → [`PrepareAnswer`] | `write` |
//! | `GET /n/v1/sessions/{upload}` | a prepared session's bytes | `read-session` |
//! | `POST /n/v1/sessions/{upload}/finish` | [`FinishRequest`] → `204` | `finish` |
//! | `DELETE /n/v1/sessions/{upload}` | abort → `204` | `abort` |
//! | `GET /n/v1/inventory?after=&limit=` | [`Inventory`] | `inventory` |
//! | `GET /n/v1/status` | [`NodeStatus`] | none |
//! | `POST /n/v1/prove` | [`super::cluster::ProveRequest`] → [`super::cluster::ProveAnswer`] | none |
//!
//! Errors are problem documents ([`super::api::Problem`]); a client tells them apart by `type`.

use serde::{Deserialize, Serialize};

use crate::domain::{
    BlobDigests, FileId, FileName, Generation, KeyId, Label, MediaType, NodeId, Sha1, Sha256, Timestamp,
    UploadId,
};

/// A prepared session's signed receipt, with the pieces it is about.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrepareAnswer {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// Who holds the bytes.
    pub node: NodeId,
    /// The session.
    pub upload: UploadId,
    /// What was received.
    #[serde(flatten)]
    pub digests: BlobDigests,
    /// SHA-256 of every piece.
    pub pieces: Vec<Sha256>,
    /// When it was verified, in ledger time.
    pub verified_at: Timestamp,
    /// The session may be given up after this moment unless it was decided.
    pub decide_before: Timestamp,
    /// The key the receipt is signed with.
    pub key_id: KeyId,
    /// HMAC with the node's key over all of the above; hex.
    pub receipt: String,
}

/// Fill a session from another node's prepared one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CopyRequest {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The other node, as `http://address:port`.
    pub source: String,
    /// Central's ticket for reading there.
    pub source_ticket: String,
    /// What will arrive.
    #[serde(flatten)]
    pub digests: BlobDigests,
}

/// Put a prepared session's bytes at their final path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FinishRequest {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The blob.
    pub sha1: Sha1,
    /// The decision.
    pub generation: Generation,
    /// The files on it, for its description.
    pub files: Vec<FileOnBlob>,
}

/// A file's record, as nodes keep it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileOnBlob {
    /// Its id.
    pub id: FileId,
    /// Rises with every change.
    pub revision: u64,
    /// Its name.
    pub name: FileName,
    /// Its media type.
    pub media_type: MediaType,
    /// When it was recorded.
    pub at: Timestamp,
}

/// One page of a node's inventory, in order of SHA-1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inventory {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// Who answers.
    pub node: NodeId,
    /// The blobs.
    pub blobs: Vec<InventoryBlob>,
    /// Ask with `after` this for the next page; none at the end.
    pub next: Option<Sha1>,
}

/// A blob in an inventory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InventoryBlob {
    /// What it is known by.
    #[serde(flatten)]
    pub digests: BlobDigests,
    /// The decision that put it there.
    pub generation: Generation,
}

/// What a node says of itself to anybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// Its id.
    pub node: NodeId,
    /// Its build.
    pub version: Label,
    /// Bytes of its filesystem.
    pub total_bytes: u64,
    /// Bytes that an upload can reserve.
    pub free_bytes: u64,
    /// Whether it joined a cluster and hears from it.
    pub joined: bool,
}
