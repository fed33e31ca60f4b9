//! Values that cannot be wrong: each is parsed once, at the edge, and passed inward.
//!
//! Nothing here does I/O, knows of HTTP or reads a clock.

mod access;
mod digest;
mod generation;
mod id;
mod inline;
mod name;
mod order;
mod place;
mod text;
mod time;
mod token;
mod trace;

pub use access::{Access, Entry, UnknownEntry};
pub use digest::{InvalidDigest, Sha1, Sha256};
pub use generation::Generation;
pub use id::{ClusterId, FileId, InvalidId, KeyId, NodeId, TokenId, UploadId};
pub use inline::{InlineKind, InlineType};
pub use name::{FileName, InvalidName, MediaType};
pub use order::{FileOrder, UnknownOrder};
pub use place::{Coordinates, CountryCode, InvalidPlace, Place};
pub use text::{InvalidText, Label};
pub use time::Timestamp;
pub use token::{InvalidToken, Scope, Scopes, Token, UnknownScope};
pub use trace::{InvalidTraceParent, RequestId, TraceParent};

/// The length of a piece, in bytes: 4 MiB.
pub const PIECE_BYTES: u64 = 4 << 20;

/// The slowest copy between two nodes that is waited for, in bytes a second: 2 MiB.
const SLOWEST_COPY: u64 = 2 << 20;

/// How long a copy of so many bytes between two nodes may take.
#[must_use]
pub const fn copy_time(bytes: u64) -> std::time::Duration {
    std::time::Duration::from_secs(bytes / SLOWEST_COPY)
}

/// Who asks. Every lookup takes one, so that a file that only some may see can come
/// without a lookup being forgotten; today everybody sees every file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Viewer {
    /// Anybody: sees the public files.
    Public,
}

/// What a blob is known by: the ledger's key and what stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct BlobDigests {
    /// The ledger's key.
    pub sha1: Sha1,
    /// Checked wherever bytes arrive.
    pub sha256: Sha256,
    /// Length in bytes.
    pub size: u64,
}
