//! Reading: a blob for a person with a link, a prepared session for a node that copies it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{NodeError, NodeService, Result};
use crate::blobs::{BlobError, BlobReader, StoredBlob};
use crate::domain::{BlobDigests, FileName, UploadId};
use crate::tickets::{Disposition, LinkTicket, Operation};

/// What is read from the disk at once, in bytes. A transfer holds the one that is sent and
/// the one that is read ahead.
pub const READ_BYTES: u64 = 256 << 10;

/// A blob that a link permits to read, open.
pub struct Download {
    /// What it is known by.
    pub digests: BlobDigests,
    /// Under which name it is saved.
    pub name: FileName,
    /// How it is to be taken, and what it is said to be.
    pub disposition: Disposition,
    /// Its bytes.
    pub content: Content,
}

/// An open blob's or session's bytes.
#[derive(Clone)]
pub struct Content {
    reader: Arc<dyn BlobReader>,
    /// Held as long as anything is read.
    permit: Arc<OwnedSemaphorePermit>,
    /// Counts what is read.
    sent: Arc<AtomicU64>,
}

impl Content {
    /// The length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.reader.size()
    }

    /// The bytes of a range, in pieces of at most [`READ_BYTES`], one of them read ahead. An
    /// error is the stream's last item: what came before it is not the whole range.
    pub fn stream(
        &self,
        range: Range<u64>,
    ) -> impl Stream<Item = std::result::Result<Bytes, BlobError>> + Send + use<> {
        let this = self.clone();
        stream::iter(pieces(range))
            .map(move |piece| {
                let this = this.clone();
                async move { this.read(piece).await }
            })
            .buffered(2)
    }

    async fn read(&self, piece: Range<u64>) -> std::result::Result<Bytes, BlobError> {
        let _permit = &self.permit;
        let wanted = piece.end - piece.start;
        let bytes = self.reader.read(piece).await?;
        if bytes.len() as u64 == wanted {
            self.sent.fetch_add(wanted, Ordering::Relaxed);
            Ok(bytes)
        } else {
            // The file is shorter than its description says.
            Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into())
        }
    }
}

/// Cuts a range at every multiple of [`READ_BYTES`].
fn pieces(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let next = (start / READ_BYTES + 1).saturating_mul(READ_BYTES).min(range.end);
        let piece = (start < range.end).then_some(start..next);
        start = next;
        piece
    })
}

impl NodeService {
    /// Opens the blob that a link is for. The link's parts are as they came in the request,
    /// still percent-encoded.
    ///
    /// # Errors
    /// [`NodeError::Ticket`], and [`BlobError::NoBlob`] for a right link alone.
    pub async fn download(&self, sha1: &str, name: &str, query: &str) -> Result<Download> {
        let keys = self.parts.keys.get();
        let ticket = LinkTicket::verify(sha1, name, query, &keys, self.parts.node, self.now()?)?;
        let permit = permit(&self.downloads)?;
        let (StoredBlob { digests, .. }, reader) = self.store().open_blob(ticket.sha1).await?;
        if reader.size() != digests.size {
            return Err(BlobError::from(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)).into());
        }
        let content = Content { reader: reader.into(), permit, sent: Arc::clone(&self.sent) };
        Ok(Download { digests, name: ticket.name, disposition: ticket.disposition, content })
    }

    /// Opens a prepared session's bytes.
    ///
    /// # Errors
    /// [`NodeError::Ticket`], and what the store fails with.
    pub async fn read_session(&self, ticket: Option<&str>, upload: UploadId) -> Result<Content> {
        self.permit_bare(ticket, Operation::ReadSession, Some(upload))?;
        let permit = permit(&self.downloads)?;
        let reader = self.store().open_session(upload).await?.into();
        Ok(Content { reader, permit, sent: Arc::clone(&self.sent) })
    }
}

fn permit(of: &Arc<Semaphore>) -> Result<Arc<OwnedSemaphorePermit>> {
    Arc::clone(of).try_acquire_owned().map(Arc::new).map_err(|_| NodeError::Busy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_are_the_range_cut_at_every_boundary(start in 0..3 * READ_BYTES, length in 0..3 * READ_BYTES) {
            let mut at = start;
            for piece in pieces(start..start + length) {
                prop_assert_eq!(piece.start, at);
                prop_assert!(piece.end > piece.start && piece.end - piece.start <= READ_BYTES);
                at = piece.end;
                prop_assert!(at == start + length || at % READ_BYTES == 0);
            }
            prop_assert_eq!(at, start + length);
        }
    }
}
