//! A node's store: sessions, blobs with their descriptions, the inventory.
//!
//! The trait is the seam: no path leaks through it, so that a bucket can stand behind it
//! later. [`FolderStore`] keeps everything in one folder.

#[cfg(test)]
mod contract;
mod folder;

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::domain::{BlobDigests, Generation, Sha1, Sha256, Timestamp, UploadId};

pub use folder::{FolderStore, FolderStoreOptions, OpenError};

/// What keeps the store from doing what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    /// No room for the declared size, or the disk filled up. A session that was neither
    /// prepared nor resumable is gone.
    #[error("the disk has no room for this upload")]
    NoSpace,
    /// No such session here.
    #[error("there is no such session")]
    NoSession,
    /// No such blob here.
    #[error("there is no such blob")]
    NoBlob,
    /// A session of this upload exists already.
    #[error("a session of this upload exists already")]
    SessionExists,
    /// Bytes begin, or were to end, elsewhere than the session stands.
    #[error("the session stands at byte {at}")]
    WrongOffset {
        /// Where it stands, in bytes.
        at: u64,
    },
    /// More bytes than declared or allowed.
    #[error("the upload is longer than was declared or is allowed")]
    TooLong,
    /// Fewer bytes than declared.
    #[error("the upload ended at byte {at}, before its declared size")]
    TooShort {
        /// Where it ended, in bytes.
        at: u64,
    },
    /// The content's digests are not those that were expected.
    #[error("the content has other digests than were given")]
    WrongDigest(BlobDigests),
    /// The content carries a known SHA-1 collision attack.
    #[error("the content carries a known SHA-1 collision attack and is refused")]
    Collision,
    /// The session is prepared and takes no more bytes, or is not prepared yet.
    #[error("the session is not in the state that this needs")]
    WrongState,
    /// The disk failed.
    #[error("the disk failed: {0}")]
    Io(#[from] std::io::Error),
}

impl BlobError {
    /// Whether the disk may be failing: not where the process had no descriptor or no memory left, and not
    /// where a job broke down.
    #[must_use]
    pub fn is_disks_fault(&self) -> bool {
        let Self::Io(error) = self else { return false };
        error.get_ref().and_then(|inner| inner.downcast_ref::<DiskFault>()).is_some_and(DiskFault::is_disks)
    }
}

/// What a disk answered to a call, and what the call was for.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {answer}")]
struct DiskFault {
    doing: String,
    #[source]
    answer: std::io::Error,
}

impl DiskFault {
    fn is_disks(&self) -> bool {
        use rustix::io::Errno;
        let own = [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN, Errno::INTR];
        !Errno::from_io_error(&self.answer).is_some_and(|errno| own.contains(&errno))
    }
}

impl From<DiskFault> for BlobError {
    fn from(fault: DiskFault) -> Self {
        Self::Io(std::io::Error::new(fault.answer.kind(), fault))
    }
}

/// The result of a call to the store.
pub type Result<T> = std::result::Result<T, BlobError>;

/// What a session may take, and how long it lives when nobody calls for it. A prepared one
/// does not expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionOptions {
    /// The size in bytes, when the sender declared one: reserved at once.
    pub declared_bytes: Option<u64>,
    /// The most it may take, in bytes.
    pub limit_bytes: u64,
    /// An unprepared session goes this long after its last call; a resumable one after the
    /// last that wrote or read bytes, or, over a restart, after its last write.
    pub idle: Duration,
    /// Whether it outlives its sender and a restart, and can go back to what it acknowledged.
    pub resumable: bool,
}

/// A resumable session acknowledges at every multiple of this, in bytes.
pub const ACKNOWLEDGE_BYTES: u64 = crate::domain::PIECE_BYTES;

/// What the sender said the content is; each is checked where it is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expected {
    /// SHA-1.
    pub sha1: Option<Sha1>,
    /// SHA-256.
    pub sha256: Option<Sha256>,
    /// Size in bytes.
    pub size: Option<u64>,
}

/// What a session holds once it is prepared: every byte, checked and synced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// What the content is known by.
    pub digests: BlobDigests,
    /// SHA-256 of every 4 MiB piece.
    pub pieces: Vec<Sha256>,
    /// As given to [`BlobStore::prepare`] first; repeating it changes nothing.
    pub decide_before: Timestamp,
}

/// A prepared session, as found by a look over all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedSession {
    /// Whose it is.
    pub upload: UploadId,
    /// What it holds.
    pub digests: BlobDigests,
    /// When a decision on it must be taken, in ledger time.
    pub decide_before: Timestamp,
    /// For how long nothing was heard about it (since the start-up at most).
    pub quiet_for: Duration,
}

/// A file's record in a blob's description.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DescribedFile {
    /// The file's id.
    pub id: crate::domain::FileId,
    /// Rises with every change of the record; 1 at first.
    pub revision: u64,
    /// Its name.
    pub name: crate::domain::FileName,
    /// Its media type.
    pub media_type: crate::domain::MediaType,
    /// When it was recorded or changed.
    pub at: Timestamp,
    /// Whether it was removed.
    #[serde(default)]
    pub removed: bool,
}

/// A blob that is here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredBlob {
    /// What it is known by.
    pub digests: BlobDigests,
    /// The decision that put it here.
    pub generation: Generation,
}

/// One page of the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryPage {
    /// In order of SHA-1.
    pub blobs: Vec<StoredBlob>,
    /// Go on after this one; none at the end.
    pub next: Option<Sha1>,
}

/// How full the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Bytes of its filesystem.
    pub total_bytes: u64,
    /// Bytes that a new session can reserve: free, less what is reserved and kept back.
    pub free_bytes: u64,
    /// Sessions that live now.
    pub sessions: u64,
}

/// The most that [`BlobReader::read`] gives at once, in bytes.
pub const MAX_READ_BYTES: u64 = 1 << 20;

/// An open blob or session, to read from.
#[async_trait]
pub trait BlobReader: Send + Sync {
    /// The length in bytes.
    fn size(&self) -> u64;

    /// Reads from the range's start, as far as the range goes, but at most
    /// [`MAX_READ_BYTES`] at once; fewer bytes than that only at the end.
    async fn read(&self, range: Range<u64>) -> Result<Bytes>;
}

/// A node's store.
///
/// A *resumable* session keeps what it acknowledged: those bytes are synced, are there after a
/// restart or a power cut, and can be gone back to. It acknowledges by itself at every multiple
/// of [`ACKNOWLEDGE_BYTES`], and when it is asked to. A full disk does not end it, nor do too
/// many bytes; a disk that fails does.
#[async_trait]
pub trait BlobStore: Send + Sync + 'static {
    /// Makes a session and reserves its space.
    async fn create_session(&self, upload: UploadId, options: SessionOptions) -> Result<()>;

    /// Appends where the session stands; answers with where it stands then. Hashes as it
    /// writes. Any error but [`BlobError::WrongOffset`], and [`BlobError::WrongState`] of a
    /// prepared session, ends a session that is not resumable.
    async fn append(&self, upload: UploadId, offset: u64, bytes: Bytes) -> Result<u64>;

    /// Acknowledges everything that was appended; answers with the acknowledged offset.
    ///
    /// # Errors
    /// [`BlobError::NoSession`]; [`BlobError::WrongState`] when it is not resumable;
    /// [`BlobError::NoSpace`] when the disk filled up after all: the session then stands at
    /// what it acknowledged before.
    async fn acknowledge(&self, upload: UploadId) -> Result<u64>;

    /// The acknowledged offset of a resumable session, at once; a prepared one's size.
    ///
    /// # Errors
    /// [`BlobError::NoSession`]; [`BlobError::WrongState`] when it is neither.
    async fn acknowledged(&self, upload: UploadId) -> Result<u64>;

    /// What is appended from now on is acknowledged only when [`BlobStore::acknowledge`] says so,
    /// not on the way: until then going back drops it, and so does a restart.
    ///
    /// # Errors
    /// [`BlobError::NoSession`]; [`BlobError::WrongState`] when it is prepared or not resumable.
    async fn hold(&self, upload: UploadId) -> Result<()>;

    /// Goes back to an offset that a resumable session has acknowledged, and forgets what came
    /// after it. The first call after a restart may read everything before it again.
    ///
    /// # Errors
    /// [`BlobError::NoSession`]; [`BlobError::WrongOffset`] with the acknowledged offset when
    /// that is lower; [`BlobError::WrongState`] when it is prepared or not resumable.
    async fn rewind(&self, upload: UploadId, offset: u64) -> Result<()>;

    /// Checks the digests and syncs the bytes and their description. Any error ends the
    /// session, but a resumable one only if the disk fails: other digests and collision attacks
    /// are found again by whoever asks again. Where it does not stand at the expected size, or
    /// holds back bytes, it is [`BlobError::WrongOffset`]. Repeating it gives the first answer; a prepared session outlives any error, as when other digests are expected of
    /// it then.
    async fn prepare(
        &self,
        upload: UploadId,
        expected: Expected,
        decide_before: Timestamp,
    ) -> Result<Prepared>;

    /// Puts a prepared session's bytes at their final path, never over a good blob of this
    /// generation or a newer one. Success, too, where the blob is there already at this
    /// generation or a newer one. Repeating it goes on from wherever an earlier call came.
    ///
    /// # Errors
    /// [`BlobError::NoSession`] when there is neither the session nor such a blob,
    /// [`BlobError::WrongState`] when the session is not prepared or holds another blob,
    /// [`BlobError::WrongDigest`] (with what is there) when other content of the same SHA-1
    /// is there. No error ends a prepared session, not even [`BlobError::NoSpace`].
    async fn finish(
        &self,
        upload: UploadId,
        sha1: Sha1,
        generation: Generation,
        files: Vec<DescribedFile>,
    ) -> Result<()>;

    /// Ends a session and removes its data; success where there is none. Never touches a
    /// final path. A call that works on the session is cut short; dropping this one while
    /// it waits for that does not undo it.
    async fn abort(&self, upload: UploadId) -> Result<()>;

    /// Opens a prepared session's bytes, or what a resumable one has acknowledged, for a node
    /// that copies them. Reading fails where the session goes back meanwhile.
    async fn open_session(&self, upload: UploadId) -> Result<Box<dyn BlobReader>>;

    /// Opens a blob.
    async fn open_blob(&self, sha1: Sha1) -> Result<(StoredBlob, Box<dyn BlobReader>)>;

    /// The blobs after one in order of SHA-1, at most `limit`.
    async fn inventory(&self, after: Option<Sha1>, limit: usize) -> Result<InventoryPage>;

    /// Every prepared session.
    async fn prepared_sessions(&self) -> Result<Vec<PreparedSession>>;

    /// Ends sessions whose idle time is over; says how many.
    async fn expire_sessions(&self) -> Result<usize>;

    /// How full it is.
    async fn capacity(&self) -> Result<Capacity>;
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustix::io::Errno;

    use super::*;

    #[test]
    fn a_process_without_descriptors_does_not_blame_its_disk() {
        let fault = |errno: Errno| {
            BlobError::from(DiskFault { doing: "opening blob x".to_owned(), answer: errno.into() })
        };
        for errno in [Errno::IO, Errno::ROFS, Errno::NODEV, Errno::NOENT] {
            assert!(fault(errno).is_disks_fault(), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOMEM] {
            assert!(!fault(errno).is_disks_fault(), "{errno}");
        }
        assert!(!BlobError::Io(io::Error::other("a job broke down")).is_disks_fault());
        assert!(!BlobError::NoSpace.is_disks_fault());
        let said = fault(Errno::IO).to_string();
        assert!(said.starts_with("the disk failed: opening blob x: "), "{said}");
    }
}
