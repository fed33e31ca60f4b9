//! What central (or a node with central's ticket) says to a node, under `/n/v1/`.
//!
//! | call | is | ticket |
//! | --- | --- | --- |
//! | `PUT /n/v1/sessions/{upload}` | make a session, append the whole body, prepare; answers [`PrepareAnswer`] | `write` |
//! | `POST /n/v1/sessions/{upload}/copy` | make a session, fill it from another node's, prepare; [`CopyRequest`] → [`PrepareAnswer`] | `write` |
//! | `GET /n/v1/sessions/{upload}` | the bytes of a prepared session, or the acknowledged ones of a resumable session | `read-session` |
//! | `POST /n/v1/sessions/{upload}` | make a resumable session (`201`), or find it (`200`); [`OffsetAnswer`] | `write` |
//! | `PATCH /n/v1/sessions/{upload}?offset=` | go back to that offset if need be, append the body; [`OffsetAnswer`] | `write` |
//! | `GET /n/v1/sessions/{upload}/offset` | [`OffsetAnswer`] | `write` |
//! | `POST /n/v1/sessions/{upload}/prepare` | check and sync a resumable session; [`PrepareRequest`] → [`PrepareAnswer`] | `write` |
//! | `POST /n/v1/sessions/{upload}/fill` | make a resumable session, fill it with the first bytes of another node's; [`FillRequest`] → [`OffsetAnswer`] | `write` |
//! | `POST /n/v1/sessions/{upload}/finish` | [`FinishRequest`] → `204` | `finish` |
//! | `DELETE /n/v1/sessions/{upload}` | abort → `204` | `abort` |
//! | `GET /n/v1/inventory?after=&limit=` | [`Inventory`] | `inventory` |
//! | `GET /n/v1/status` | [`NodeStatus`] | none |
//! | `POST /n/v1/prove` | [`super::cluster::ProveRequest`] → [`super::cluster::ProveAnswer`] | none |
//!
//! Errors are problem documents ([`super::api::Problem`]); a client tells them apart by `type`.

use std::net::SocketAddr;

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

/// Where a node takes calls by TLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsAddress {
    /// What its certificate is for: the host of its public URL.
    pub host: String,
    /// Where it is connected to.
    pub address: SocketAddr,
}

/// Fill a session from another node's prepared one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CopyRequest {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The other node, as `http://address:port`.
    pub source: String,
    /// Where it takes calls by TLS: there and nowhere else it is read then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_tls: Option<TlsAddress>,
    /// Central's ticket for reading there.
    pub source_ticket: String,
    /// What will arrive.
    #[serde(flatten)]
    pub digests: BlobDigests,
}

/// How far a resumable session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OffsetAnswer {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// So many bytes are acknowledged: synced, and still there after a restart.
    pub offset: u64,
}

/// Prepare a resumable session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrepareRequest {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The whole size in bytes: the offset that the session has to be at.
    pub size: u64,
    /// The SHA-1 that it must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha1: Option<Sha1>,
    /// The SHA-256 that it must have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<Sha256>,
}

/// Make a resumable session, and fill it from another node's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FillRequest {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The other node, as `http://address:port`.
    pub source: String,
    /// As in [`CopyRequest`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_tls: Option<TlsAddress>,
    /// Central's ticket for reading there.
    pub source_ticket: String,
    /// So many of its first bytes.
    pub bytes: u64,
}

/// Put a prepared session's bytes at their final path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
