//! What the ledger keeps of a resumable upload.

use std::net::IpAddr;

use crate::domain::{BlobDigests, FileName, MediaType, NodeId, Sha1, Sha256, Timestamp, UploadId};

/// A resumable upload that is to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewResumable {
    /// Its id; nobody else knows it.
    pub upload: UploadId,
    /// From where it is sent; forgotten as soon as it is decided or ended.
    pub sender: Option<IpAddr>,
    /// What the person called it.
    pub name: FileName,
    /// What the sender said it is.
    pub media_type: MediaType,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-1, where the sender announced it.
    pub sha1: Option<Sha1>,
    /// The nodes whose sessions take its bytes.
    pub nodes: Vec<NodeId>,
    /// It ends then, unless it goes on before.
    pub expires_at: Timestamp,
}

/// A resumable upload as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumable {
    /// Its id.
    pub upload: UploadId,
    /// What the person called it.
    pub name: FileName,
    /// What the sender said it is.
    pub media_type: MediaType,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-1, where the sender announced it.
    pub sha1: Option<Sha1>,
    /// Its SHA-256, where the sender announced it.
    pub sha256: Option<Sha256>,
    /// The nodes whose sessions take its bytes.
    pub nodes: Vec<NodeId>,
    /// The nodes that it was taken away from, and that may still have a session; at most a few.
    pub former: Vec<NodeId>,
    /// It ends then, unless it goes on before.
    pub expires_at: Timestamp,
    /// How far it is.
    pub state: ResumableState,
}

/// How far a resumable upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumableState {
    /// Not decided.
    Receiving,
    /// Decided: stored or duplicate, on this blob.
    Decided(BlobDigests),
    /// Ended undecided.
    Ended(ResumableEnd),
}

/// Why a resumable upload ended undecided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResumableEnd {
    /// Its sender ended it.
    Terminated,
    /// It went on too late, or never.
    Expired,
    /// Its content has other digests than were announced.
    WrongDigest,
    /// Its content carries a collision attack.
    CollisionAttack,
    /// Its SHA-1 stands for other content.
    Collision,
}
