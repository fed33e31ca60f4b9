//! Why a node does not do what it is asked.

use crate::blobs::BlobError;
use crate::tickets::TicketError;
use crate::wire::OtherVersion;

/// Why a node does not do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// No ticket, or none for this.
    #[error(transparent)]
    Ticket(#[from] TicketError),
    /// The node knows neither keys nor time yet: it has not heard from central.
    #[error("this server has not heard from its central yet")]
    NotReady,
    /// As many of these go on as this node takes.
    #[error("this server has as much to do as it takes")]
    Busy,
    /// The request cannot be read.
    #[error("{0}")]
    BadRequest(&'static str),
    /// The caller speaks another version.
    #[error(transparent)]
    Version(#[from] OtherVersion),
    /// The sender's connection ended before the upload did.
    #[error("the connection ended before the upload was complete")]
    Interrupted,
    /// The sender sent nothing for too long.
    #[error("the sender sent nothing for too long")]
    Stalled,
    /// Another call writes this session now.
    #[error("another call has taken over this upload")]
    TakenOver,
    /// A part has another checksum than was given; nothing of it is kept.
    #[error("the part has another checksum than was given")]
    Checksum,
    /// The node to copy from failed.
    #[error("the server to copy from failed: {0}")]
    Source(String),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] BlobError),
}
