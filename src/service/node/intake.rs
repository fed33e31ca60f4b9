//! From a stream of bytes into a session, with bounded memory.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::{NodeError, Result};
use crate::blobs::{BlobError, BlobStore};
use crate::domain::UploadId;

/// What is gathered before it goes to the disk, in bytes. While that is written, as much
/// again is gathered: a transfer holds two of these and what the socket gives at once.
const GATHER_BYTES: usize = 512 << 10;

/// Room for what the socket gives beyond that, in bytes.
const ROOM_BYTES: usize = 64 << 10;

/// How a session is filled.
#[derive(Debug, Clone, Copy)]
pub(super) struct Intake {
    /// The session's own idle time: while its sender is connected, it is called for more
    /// often than that.
    pub(super) idle: Duration,
    /// A sender that sends nothing for so long is cut.
    pub(super) stalled_after: Duration,
}

type Writing<'a> = Pin<Box<dyn Future<Output = std::result::Result<u64, BlobError>> + Send + 'a>>;

impl Intake {
    /// Appends the whole stream to a session from where it stands; says where it stands then.
    /// The stream's `None` is the sender's end; each of its errors means that the sender is gone.
    pub(super) async fn fill<E>(
        self,
        store: &dyn BlobStore,
        upload: UploadId,
        mut offset: u64,
        mut bytes: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
        failed: impl Fn(E) -> NodeError,
    ) -> Result<u64> {
        let every = (self.idle / 3).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let mut touch = interval_at(Instant::now() + every, every);
        touch.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut gathered = BytesMut::new();
        let mut writing: Option<Writing<'_>> = None;
        let mut is_due = false;
        let mut has_ended = false;
        let mut stalls_at = Instant::now() + self.stalled_after;
        loop {
            let is_full = gathered.len() >= GATHER_BYTES;
            if writing.is_none() {
                if has_ended && gathered.is_empty() {
                    return Ok(offset);
                }
                // An append of nothing says that the sender is still there.
                if is_full || has_ended || is_due {
                    is_due = false;
                    writing = Some(store.append(upload, offset, gathered.split().freeze()));
                    if is_full {
                        // At once: growing step by step would move the bytes several times.
                        gathered.reserve(GATHER_BYTES + ROOM_BYTES);
                    }
                    continue;
                }
            }
            let reads = !has_ended && !is_full;
            tokio::select! {
                written = written(&mut writing), if writing.is_some() => {
                    writing = None;
                    offset = written?;
                }
                chunk = bytes.next(), if reads => match chunk {
                    Some(Ok(chunk)) => {
                        stalls_at = Instant::now() + self.stalled_after;
                        gathered.extend_from_slice(&chunk);
                    }
                    Some(Err(error)) => return Err(failed(error)),
                    None => has_ended = true,
                },
                () = sleep_until(stalls_at), if reads => return Err(NodeError::Stalled),
                _ = touch.tick(), if writing.is_none() => is_due = true,
            }
            if !reads {
                // While the disk is slow, the sender is not.
                stalls_at = Instant::now() + self.stalled_after;
            }
        }
    }
}

async fn written(writing: &mut Option<Writing<'_>>) -> std::result::Result<u64, BlobError> {
    match writing {
        Some(writing) => writing.await,
        None => std::future::pending().await,
    }
}
