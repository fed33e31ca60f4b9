//! One part of a resumable upload, on its way to both nodes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use super::{Look, Result, ResumableService, ResumeError, Shared, Sides, Standing};
use crate::cluster::membership::Member;
use crate::domain::{Sha1, Sha256, UploadId};
use crate::ledger::{Resumable, ResumableState};
use crate::service::central::complete::Completed;
use crate::service::central::slots::Slot;
use crate::service::central::transfer::{Leg, Transfer};
use crate::service::central::upload::{Bounds, Fed, Feed, UploadError};
use crate::service::turns::Turn;
use crate::trace;

/// How long a part that has to be empty is watched for bytes that it must not have.
const EMPTY_WITHIN: Duration = Duration::from_secs(5);

/// What is known of a part before its first byte.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Where it begins.
    pub offset: u64,
    /// Its length in bytes, when the sender says so.
    pub declared_bytes: Option<u64>,
    /// Its own SHA-1, when the sender says so.
    pub checksum: Option<Sha1>,
    /// The whole upload's SHA-1, when the sender knows it by now.
    pub sha1: Option<Sha1>,
    /// The whole upload's SHA-256, when the sender knows it by now.
    pub sha256: Option<Sha256>,
}

/// What became of a part.
#[derive(Debug, Clone)]
pub struct Received {
    /// The upload, as the ledger knows it.
    pub upload: Resumable,
    /// The offset after it.
    pub offset: u64,
    /// How the upload ended, if this was its last part.
    pub completed: Option<Box<Completed>>,
}

impl ResumableService {
    /// Begins a part: whoever still sends one is cut, and a node that is missing is replaced.
    ///
    /// # Errors
    /// [`ResumeError`].
    pub async fn append(
        &self,
        upload: UploadId,
        address: Option<std::net::IpAddr>,
        part: Part,
    ) -> Result<Feed<Received, ResumeError>> {
        let shared = &self.shared;
        let state = shared.find(upload).await?.state;
        match state {
            ResumableState::Receiving => {}
            ResumableState::Ended(end) => return Err(ResumeError::Ended(end)),
            ResumableState::Decided(_) => return self.after_the_end(upload, part).await,
        }
        let slot = shared.uploads.slots.take(address).map_err(|_| UploadError::Busy)?;
        // In a task: whoever sends may go away, and no session is to stay without being recorded.
        let beginning = Arc::clone(shared);
        let beginning = trace::carried(async move { beginning.begin(upload, part).await });
        let beginning = shared.uploads.tasks.spawn(beginning);
        let Begun { mut upload, pair, turn, cut } = beginning.await.map_err(|_| UploadError::Stopping)??;
        let (feed, (mut fed, answer)) = Feed::new();
        let shared = Arc::clone(shared);
        self.shared.uploads.tasks.spawn(trace::carried(async move {
            // Where nothing is missing, only the end is.
            let taken = if part.offset == upload.size {
                match tokio::time::timeout(EMPTY_WITHIN, fed.recv()).await {
                    Ok(Some(Fed::Data(_))) => Err(ResumeError::TooMany(upload.size)),
                    _ => Ok(part.offset),
                }
            } else {
                shared.take(&mut upload, part, pair, &slot, fed, cut).await
            };
            drop(slot);
            let result = match taken {
                Ok(offset) => shared.finish(upload, offset, turn).await,
                Err(error) => Err(error),
            };
            // The sender may be gone; what was kept stands all the same.
            let _ = answer.send(result);
        }));
        Ok(feed)
    }
    /// A last part that is sent again, empty or not: what was decided stands.
    async fn after_the_end(&self, upload: UploadId, part: Part) -> Result<Feed<Received, ResumeError>> {
        let Look { upload, standing } = self.look(upload).await?;
        if part.offset != upload.size {
            return Err(ResumeError::WrongOffset(upload.size));
        }
        let Standing::Completed(completed) = standing else { return Err(ResumeError::NotFound) };
        let (feed, (fed, answer)) = Feed::new();
        drop(fed);
        let _ = answer.send(Ok(Received { offset: upload.size, upload, completed: Some(completed) }));
        Ok(feed)
    }
}

/// A part whose turn it is, with the nodes it goes to.
struct Begun {
    upload: Resumable,
    pair: [Arc<Member>; 2],
    turn: Turn,
    cut: CancellationToken,
}

impl Shared {
    async fn begin(&self, upload: UploadId, part: Part) -> Result<Begun> {
        let waiting = self.turns.take(upload);
        let cut = waiting.cut();
        let turn = waiting.turn().await.ok_or(ResumeError::TakenOver)?;
        let mut upload = self.find(upload).await?;
        match upload.state {
            ResumableState::Receiving => {}
            // Since it was looked at before its turn.
            ResumableState::Ended(end) => return Err(ResumeError::Ended(end)),
            ResumableState::Decided(_) => return Err(ResumeError::WrongOffset(upload.size)),
        }
        let room = upload.size.saturating_sub(part.offset);
        let sides = Sides::ask(&self.uploads, &upload).await?;
        let pair = self.pair(&mut upload, sides, part.offset).await?;
        if part.declared_bytes.is_some_and(|bytes| bytes > room) {
            return Err(ResumeError::TooMany(upload.size));
        }
        if part.sha1.is_some() || part.sha256.is_some() {
            self.uploads.ledger.announce_upload(upload.upload, part.sha1, part.sha256).await?;
            upload.sha1 = part.sha1.or(upload.sha1);
            upload.sha256 = part.sha256.or(upload.sha256);
        }
        // Never a write a part: its life is only said anew when it has noticeably grown.
        if self.now().saturating_add(self.limits.life).since(upload.expires_at) > self.limits.life / 24 {
            let nodes = upload.nodes.clone();
            self.hold(&mut upload, nodes).await?;
        }
        Ok(Begun { upload, pair, turn, cut })
    }

    async fn finish(&self, upload: Resumable, offset: u64, turn: Turn) -> Result<Received> {
        if offset != upload.size {
            return Ok(Received { upload, offset, completed: None });
        }
        let completed = self.complete(&upload, turn).await?;
        Ok(Received { upload, offset, completed: Some(Box::new(completed)) })
    }

    /// Moves a part to both nodes; says the offset after it. What arrived before a failure of
    /// the sender stays, unless it has a checksum: the nodes check that, so that no crash of this
    /// central leaves bytes that nobody has checked.
    async fn take(
        &self,
        upload: &mut Resumable,
        part: Part,
        pair: [Arc<Member>; 2],
        slot: &Slot,
        fed: tokio::sync::mpsc::Receiver<Fed>,
        cut: CancellationToken,
    ) -> Result<u64> {
        let uploads = &self.uploads;
        let (id, terms, now) = (upload.upload, self.terms(upload.size), self.now());
        let legs = pair.into_iter().map(|member| {
            let nodes = uploads.nodes.clone();
            Leg::start(member, move |target, body| async move {
                nodes.append(&target, id, terms, (part.offset, part.checksum), now, body).await
            })
        });
        let mut transfer = Transfer::new(legs.collect(), uploads.limits.node_stalled_after);
        let room = upload.size.saturating_sub(part.offset);
        let bounds = Bounds { limit_bytes: room, declared_bytes: part.declared_bytes };
        let received = tokio::select! {
            received = uploads.receive(bounds, slot, fed, &mut transfer) => received.map_err(ResumeError::from),
            () = cut.cancelled() => Err(ResumeError::TakenOver),
        };
        // Ended, not cut, whatever happened: the nodes acknowledge what came.
        let (kept, failed) = transfer.end(uploads.limits.prepare_within, &uploads.membership).await;
        let is_full = failed.iter().any(|(_, error)| error.is("no-space"));
        let received = match received {
            Err(ResumeError::Upload(UploadError::TooLarge { .. })) => Err(ResumeError::TooMany(upload.size)),
            received => received,
        };
        let mut holders = kept;
        if matches!(received, Err(ResumeError::TooMany(_))) {
            holders = self.go_back(id, upload.size, part.offset, holders).await;
        }
        if holders.is_empty() {
            let is_other = failed.iter().any(|(_, error)| error.is("checksum-mismatch"));
            let error = match is_full {
                _ if is_other => ResumeError::Checksum,
                true => UploadError::NoSpace.into(),
                false => UploadError::NodesFailed.into(),
            };
            return received.and(Err(error));
        }
        if holders.len() < 2 {
            // The other one has less; the next part finds a new one for it.
            let nodes = holders.iter().map(|(member, _)| member.id).collect();
            self.hold(upload, nodes).await?;
            let gone: Vec<Arc<Member>> = failed.into_iter().map(|(member, _)| member).collect();
            uploads.abort(id, &gone).await;
        }
        if holders.len() == 2 && self.now().since(now) > self.limits.life / 24 {
            let nodes = upload.nodes.clone();
            self.hold(upload, nodes).await?;
        }
        received?;
        holders.iter().map(|(_, offset)| *offset).min().ok_or_else(|| UploadError::NodesFailed.into())
    }

    /// Takes sessions back to where a part began; says which went.
    async fn go_back(
        &self,
        upload: UploadId,
        size: u64,
        offset: u64,
        holders: Vec<(Arc<Member>, u64)>,
    ) -> Vec<(Arc<Member>, u64)> {
        let calls = holders.into_iter().map(|(member, _)| async move {
            let nothing = stream::empty::<std::result::Result<Bytes, std::io::Error>>();
            let call = self.uploads.nodes.append(
                &member,
                upload,
                self.terms(size),
                (offset, None),
                self.now(),
                nothing,
            );
            match call.await {
                Ok(offset) => Some((member, offset)),
                Err(error) => {
                    self.failed(&member, &error);
                    None
                }
            }
        });
        join_all(calls).await.into_iter().flatten().collect()
    }
}
