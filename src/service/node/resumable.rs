//! A resumable upload on this node: made, appended to in parts, prepared.
//!
//! What arrives is written by a task of its own: a handler ends with its connection, and what
//! was received up to then is to be kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use sha1::Digest as _;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio_util::sync::CancellationToken;

use super::intake::Intake;
use super::sessions::{Source, read_request};
use super::{NodeError, NodeService, Result};
use crate::blobs::{BlobError, BlobStore, Expected, SessionOptions};
use crate::domain::{Sha1, UploadId};
use crate::service::turns::Waiting;
use crate::tickets::{CallTicket, Operation};
use crate::trace;
use crate::wire::node::{FillRequest, OffsetAnswer, PrepareAnswer, PrepareRequest};
use crate::wire::{PROTOCOL, speaks};

/// So many chunks wait between a connection and the task that writes; each is what the socket
/// gave at once.
const CHUNKS_WAITING: usize = 8;
/// The longest that a session goes without a call while its sender is connected.
const TOUCH_WITHIN: Duration = Duration::from_secs(3);
/// The connection feels when its sender stalls, not the task that writes.
const NEVER: Duration = Duration::from_hours(24 * 365);

/// Where a part begins, and what is known of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PartStart {
    /// The session's offset.
    pub offset: u64,
    /// The part's own SHA-1, where it is given: then it counts as a whole or not at all.
    pub checksum: Option<Sha1>,
}

/// How a resumable session was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Whether it was made now.
    pub is_new: bool,
    /// How far it is.
    pub answer: OffsetAnswer,
}

impl NodeService {
    /// Makes an empty resumable session, or finds the one that is there.
    ///
    /// # Errors
    /// [`NodeError::Ticket`], and what the store fails with.
    pub async fn open(&self, ticket: Option<&str>, upload: UploadId) -> Result<Opened> {
        let ticket = self.permit_bare(ticket, Operation::Write, Some(upload))?;
        match self.store().create_session(upload, options(&ticket)).await {
            Ok(()) => Ok(Opened { is_new: true, answer: answer(0) }),
            Err(BlobError::SessionExists) => {
                let offset = self.store().acknowledged(upload).await?;
                Ok(Opened { is_new: false, answer: answer(offset) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// How far a resumable session is.
    ///
    /// # Errors
    /// [`NodeError::Ticket`], and what the store fails with.
    pub async fn offset(&self, ticket: Option<&str>, upload: UploadId) -> Result<OffsetAnswer> {
        self.permit_bare(ticket, Operation::Write, Some(upload))?;
        Ok(answer(self.store().acknowledged(upload).await?))
    }

    /// Goes back to an acknowledged offset if the session is behind it, and appends the whole
    /// stream. Whatever ends it, even that it is dropped: what came up to then is acknowledged,
    /// as far as the disk takes it. With a checksum it is all of the stream or nothing. A second
    /// call cuts the first.
    ///
    /// # Errors
    /// [`NodeError::Ticket`], [`NodeError::Interrupted`], [`NodeError::Stalled`],
    /// [`NodeError::TakenOver`], [`NodeError::Checksum`], and what the store fails with.
    pub async fn append<E>(
        &self,
        ticket: Option<&str>,
        upload: UploadId,
        part: PartStart,
        bytes: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    ) -> Result<OffsetAnswer> {
        self.permit_bare(ticket, Operation::Write, Some(upload))?;
        let permit = self.upload_permit()?;
        self.receive(upload, part, permit, bytes, |_| NodeError::Interrupted).await.map(answer)
    }

    /// Prepares a resumable session, and answers with a receipt that can be decided from now on
    /// as long as a first one: central's row of the upload says what becomes of the session.
    ///
    /// # Errors
    /// [`NodeError::Ticket`], [`NodeError::TakenOver`], and what the store fails with.
    pub async fn prepare(
        &self,
        ticket: Option<&str>,
        upload: UploadId,
        body: &[u8],
    ) -> Result<PrepareAnswer> {
        let permit = self.permit_body(ticket, Operation::Write, Some(upload), body)?;
        let PrepareRequest { protocol, size, sha1, sha256 } = read_request(body)?;
        speaks(protocol)?;
        // Of a session that only one request ever fills, nothing is asked here.
        self.store().acknowledged(upload).await?;
        let _turn = self.turns.take(upload).turn().await.ok_or(NodeError::TakenOver)?;
        let verified_at = self.now()?;
        let decide_before = self.decide_before(verified_at, size);
        let expected = Expected { sha1, sha256, size: Some(size) };
        let mut prepared = self.checked(self.store().prepare(upload, expected, decide_before).await)?;
        prepared.decide_before = prepared.decide_before.max(decide_before);
        Ok(self.receipt(upload, &permit.key, prepared, verified_at))
    }

    /// Makes a resumable session, and fills it with the first bytes of another node's one.
    /// Without success no session is left, but where there is one already, this changes
    /// nothing: it is success if that one is as far.
    ///
    /// # Errors
    /// [`NodeError::Ticket`], [`NodeError::Source`], and what the store fails with.
    pub async fn fill(&self, ticket: Option<&str>, upload: UploadId, body: &[u8]) -> Result<OffsetAnswer> {
        let ticket = self.permit_body(ticket, Operation::Write, Some(upload), body)?;
        let FillRequest { protocol, source, source_tls, source_ticket, bytes } = read_request(body)?;
        speaks(protocol)?;
        let source = Source::new(&source, source_tls, source_ticket, upload)?;
        if bytes > ticket.declared_bytes.unwrap_or(ticket.limit_bytes) {
            return Err(BlobError::TooLong.into());
        }
        let permit = self.upload_permit()?;
        let guard = match self.create(upload, options(&ticket)).await {
            Err(NodeError::Store(BlobError::SessionExists))
                if self.store().acknowledged(upload).await? == bytes =>
            {
                return Ok(answer(bytes));
            }
            guard => guard?,
        };
        match self.receive_from(&source, upload, bytes, permit).await {
            Ok(offset) => {
                guard.keep();
                Ok(answer(offset))
            }
            Err(error) => {
                guard.abort().await;
                Err(error)
            }
        }
    }

    async fn receive_from(
        &self,
        source: &Source,
        upload: UploadId,
        bytes: u64,
        permit: OwnedSemaphorePermit,
    ) -> Result<u64> {
        let source = self.ask_source(source).await?;
        let first = first(bytes, Box::pin(source.bytes_stream()));
        let start = PartStart::default();
        let received = self.receive(upload, start, permit, Box::pin(first), NodeError::Source).await;
        match received {
            Err(NodeError::Stalled) => Err(NodeError::Source("it stopped sending".to_owned())),
            received => received,
        }
    }

    /// Hands a stream on to a task that writes it, and waits for that.
    async fn receive<E>(
        &self,
        upload: UploadId,
        part: PartStart,
        permit: OwnedSemaphorePermit,
        bytes: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
        failed: impl Fn(E) -> NodeError,
    ) -> Result<u64> {
        let mut bytes = self.counted(bytes);
        let waiting = self.turns.take(upload);
        let cut = waiting.cut();
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING);
        let writing = write(Arc::clone(&self.parts.store), upload, part, waiting, receiver);
        let writing = async move {
            let _permit = permit;
            writing.await
        };
        let writing = self.cleanup.spawn_on(trace::carried(writing), &self.parts.runtime);
        let ended = self.forward(&mut bytes, sender, &cut, failed).await;
        let written = writing.await.map_err(|error| BlobError::Io(std::io::Error::other(error)))?;
        // A sender that is gone is no matter where the store failed before.
        let written = written?;
        ended.map(|()| written)
    }

    /// Gives a stream's chunks to the task that writes, until either ends.
    async fn forward<E>(
        &self,
        bytes: &mut (impl Stream<Item = std::result::Result<Bytes, E>> + Unpin),
        sender: mpsc::Sender<Bytes>,
        cut: &CancellationToken,
        failed: impl Fn(E) -> NodeError,
    ) -> Result<()> {
        let stalled_after = self.parts.limits.sender_stalled_after;
        loop {
            // Room first: while the disk is slow, the sender is not. No room ever means that
            // the task has ended and says why.
            let Ok(room) = sender.reserve().await else { return Ok(()) };
            tokio::select! {
                () = cut.cancelled() => return Err(NodeError::TakenOver),
                () = sender.closed() => return Ok(()),
                chunk = tokio::time::timeout(stalled_after, bytes.next()) => match chunk {
                    Err(_) => return Err(NodeError::Stalled),
                    Ok(None) => return Ok(()),
                    Ok(Some(Err(error))) => return Err(failed(error)),
                    Ok(Some(Ok(chunk))) => room.send(chunk),
                },
            }
        }
    }
}

/// Writes what comes until no more does, and acknowledges it; says the acknowledged offset.
async fn write(
    store: Arc<dyn BlobStore>,
    upload: UploadId,
    part: PartStart,
    waiting: Waiting,
    receiver: mpsc::Receiver<Bytes>,
) -> Result<u64> {
    let _turn = waiting.turn().await.ok_or(NodeError::TakenOver)?;
    let PartStart { offset, checksum } = part;
    store.rewind(upload, offset).await?;
    if checksum.is_some() {
        // Not even a crash is to leave bytes that nobody has checked.
        store.hold(upload).await?;
    }
    let mut hasher = checksum.map(|_| sha1::Sha1::new());
    let bytes = Box::pin(stream::unfold(receiver, async |mut receiver| {
        receiver.recv().await.map(|chunk| (Ok::<_, NodeError>(chunk), receiver))
    }));
    let bytes = bytes.inspect(|chunk| {
        if let (Some(hasher), Ok(chunk)) = (&mut hasher, chunk) {
            hasher.update(chunk);
        }
    });
    let intake = Intake { idle: TOUCH_WITHIN, stalled_after: NEVER };
    let filled = intake.fill(&*store, upload, offset, bytes, std::convert::identity).await;
    let sum = hasher.map(|hasher| Sha1::new(hasher.finalize().into()));
    if checksum.is_some() && (filled.is_err() || sum != checksum) {
        store.rewind(upload, offset).await?;
        return Err(filled.err().unwrap_or(NodeError::Checksum));
    }
    let acknowledged = store.acknowledge(upload).await;
    filled?;
    Ok(acknowledged?)
}

fn options(ticket: &CallTicket) -> SessionOptions {
    let CallTicket { declared_bytes, limit_bytes, idle, .. } = *ticket;
    SessionOptions { declared_bytes, limit_bytes, idle, resumable: true }
}

const fn answer(offset: u64) -> OffsetAnswer {
    OffsetAnswer { protocol: PROTOCOL, offset }
}

/// The first so many bytes of a stream; an error where it has fewer.
fn first(
    bytes: u64,
    source: impl Stream<Item = reqwest::Result<Bytes>> + Unpin + Send,
) -> impl Stream<Item = std::result::Result<Bytes, String>> + Send {
    stream::try_unfold((source, bytes), async |(mut source, left)| {
        if left == 0 {
            return Ok(None);
        }
        let mut chunk = match source.next().await {
            Some(Ok(chunk)) => chunk,
            Some(Err(_)) => return Err("the connection ended".to_owned()),
            None => return Err("it holds fewer bytes than it was asked for".to_owned()),
        };
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - chunk.len() as u64;
        Ok(Some((chunk, (source, left))))
    })
}
