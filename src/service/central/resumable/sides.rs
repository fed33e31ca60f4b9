//! How far each node is with a resumable upload, and a pair of them that is equally far.

use std::sync::Arc;

use futures_util::future::join_all;

use super::{Result, ResumeError, Shared, TRIES};
use crate::cluster::membership::Member;
use crate::domain::{NodeId, copy_time};
use crate::ledger::Resumable;
use crate::placement;
use crate::service::central::upload::{Inner, UploadError};

/// What an upload's nodes say.
pub(super) struct Sides {
    /// Who has a session, and what it acknowledged.
    pub(super) holders: Vec<(Arc<Member>, u64)>,
    /// Nodes that say nothing now, and are not out.
    silent: usize,
    /// Nodes that were not heard of since central's start: they may be back at once.
    unheard: usize,
}

impl Sides {
    /// Asks them. A node that is out counts as one that has nothing.
    pub(super) async fn ask(uploads: &Inner, upload: &Resumable) -> Result<Self> {
        let mut sides = Self { holders: Vec::with_capacity(2), silent: 0, unheard: 0 };
        let asked = upload.nodes.iter().map(|node| async move {
            let Some(member) = uploads.membership.healthy(*node) else {
                return Err(uploads.membership.get(*node).is_none());
            };
            match uploads.nodes.offset(&member, upload.upload, uploads.ledger.now()).await {
                Ok(offset) => Ok(offset.map(|offset| (member, offset))),
                Err(error) => {
                    tracing::warn!(node = %node, %error, "a node does not say how far an upload is");
                    if error.is_nodes_fault() {
                        uploads.membership.suspend(*node);
                    }
                    Err(false)
                }
            }
        });
        let said = join_all(asked).await;
        let is_any_silent = said.iter().any(std::result::Result::is_err);
        let out = if is_any_silent { uploads.ledger.nodes_out(&upload.nodes).await? } else { Vec::new() };
        for (node, said) in upload.nodes.iter().zip(said) {
            match said {
                Ok(Some(holder)) => sides.holders.push(holder),
                Ok(None) => {}
                // Nobody waits for it any more.
                Err(_) if out.contains(node) => {}
                Err(is_unheard) => {
                    sides.silent += 1;
                    sides.unheard += usize::from(is_unheard);
                }
            }
        }
        Ok(sides)
    }

    /// The smaller of what they acknowledged. Where no node has it any more it begins anew.
    pub(super) fn offset(&self) -> Result<u64> {
        match self.holders.iter().map(|(_, offset)| *offset).min() {
            Some(offset) => Ok(offset),
            None if self.silent > 0 => Err(UploadError::NodesFailed.into()),
            None => Ok(0),
        }
    }
}

impl Shared {
    /// Two nodes that both have at least the first `offset` bytes, which the upload must stand
    /// at; a node that is missing is replaced.
    pub(super) async fn pair(
        &self,
        upload: &mut Resumable,
        sides: Sides,
        offset: u64,
    ) -> Result<[Arc<Member>; 2]> {
        let stands = sides.offset()?;
        if stands != offset {
            return Err(ResumeError::WrongOffset(stands));
        }
        let holders = match <[_; 2]>::try_from(sides.holders) {
            Ok([(first, _), (second, _)]) => return Ok([first, second]),
            Err(holders) => holders,
        };
        let pair = match holders.into_iter().next() {
            None => self.open_pair(upload.upload, upload.size).await?,
            // A copy of all of it is not made for a node that only has to beat again.
            Some(_) if sides.unheard > 0 => return Err(UploadError::NotEnoughNodes.into()),
            Some((source, held)) => {
                let other = self.replacement(upload, &source, held).await?;
                [source, other]
            }
        };
        let nodes = pair.each_ref().map(|member| member.id);
        self.hold(upload, nodes.to_vec()).await?;
        Ok(pair)
    }

    /// A new node with what the source holds.
    async fn replacement(&self, upload: &Resumable, source: &Arc<Member>, held: u64) -> Result<Arc<Member>> {
        let uploads = &self.uploads;
        let mut tried: Vec<NodeId> = vec![source.id];
        let mut failed = UploadError::NotEnoughNodes;
        for _ in 0..TRIES {
            let (members, rooms) = uploads.rooms();
            let domain = Some(&source.failure_domain);
            let chosen = placement::choose_one(&rooms, upload.size, &tried, domain, &mut rand::rng());
            let Some(member) = chosen.ok().and_then(|node| members.iter().find(|member| member.id == node))
            else {
                break;
            };
            tried.push(member.id);
            // It may have been one of the two before, and have a part of it still.
            uploads.abort(upload.upload, std::slice::from_ref(member)).await;
            let within = uploads.limits.prepare_within.saturating_add(copy_time(held));
            let terms = self.terms(upload.size);
            let filled = uploads
                .nodes
                .fill(member, upload.upload, terms, uploads.ledger.now(), (source, held), within)
                .await;
            match filled {
                Ok(_) => return Ok(Arc::clone(member)),
                Err(error) => failed = self.failed(member, &error),
            }
        }
        Err(failed.into())
    }
}
