//! Which nodes answer now, as their heartbeats tell this central.
//!
//! It forgets everything at a restart: a node counts again from its first beat.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{Label, NodeId, Place, Timestamp, UploadId};
use crate::tickets::NodeKey;
use crate::wire::cluster::Activity;
use crate::wire::node::TlsAddress;

/// A node is healthy this long after a beat, unless a call to it failed since.
pub const HEALTHY_FOR: Duration = Duration::from_secs(15);

/// What a node's newest heartbeat said, already checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Its id.
    pub id: NodeId,
    /// Its own key.
    pub key: NodeKey,
    /// Where it stands.
    pub place: Place,
    /// What fails together with it.
    pub failure_domain: Label,
    /// Where people download from it: scheme, host and port.
    pub public_url: url::Url,
    /// Where central reaches it; its key was proved there.
    pub address: SocketAddr,
    /// Where it takes calls by TLS; then no other call is made.
    pub tls: Option<TlsAddress>,
    /// It ignores what it does not know.
    pub reads_more: bool,
    /// Its build.
    pub version: Label,
    /// Bytes of its filesystem.
    pub total_bytes: u64,
    /// Bytes that an upload can reserve.
    pub free_bytes: u64,
    /// Sessions that live on it: uploads on their way, also those that rest.
    pub sessions: u64,
    /// What it does.
    pub activity: Activity,
    /// Its start, and the beat within it.
    pub boot: UploadId,
    /// Rises with each beat of a start.
    pub sequence: u64,
    /// When it beat, in ledger time.
    pub seen_at: Timestamp,
}

#[derive(Debug)]
struct Entry {
    member: Arc<Member>,
    beat_at: Instant,
    /// A call failed, or it said goodbye: not before its next beat.
    is_suspended: bool,
}

impl Entry {
    fn is_healthy(&self, now: Instant) -> bool {
        !self.is_suspended && now.saturating_duration_since(self.beat_at) < HEALTHY_FOR
    }
}

/// The nodes that were heard of since the start.
#[derive(Debug, Default)]
pub struct Membership {
    entries: RwLock<HashMap<NodeId, Entry>>,
}

/// A heartbeat that was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this heartbeat was received before")]
pub struct Replayed;

impl Membership {
    /// Records a beat.
    ///
    /// # Errors
    /// When it is not newer than the last one of the same start.
    pub fn beat(&self, member: Member) -> Result<(), Replayed> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = entries.get(&member.id)
            && known.member.boot == member.boot
            && known.member.sequence >= member.sequence
        {
            return Err(Replayed);
        }
        let entry = Entry { member: Arc::new(member), beat_at: Instant::now(), is_suspended: false };
        entries.insert(entry.member.id, entry);
        Ok(())
    }

    /// A call to the node failed, or it stops: it is not used before its next beat.
    pub fn suspend(&self, node: NodeId) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(&node) {
            entry.is_suspended = true;
        }
    }

    /// The node's newest beat, healthy or not.
    #[must_use]
    pub fn get(&self, node: NodeId) -> Option<Arc<Member>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(&node).map(|entry| Arc::clone(&entry.member))
    }

    /// The node, if it is healthy now.
    #[must_use]
    pub fn healthy(&self, node: NodeId) -> Option<Arc<Member>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        entries.get(&node).filter(|entry| entry.is_healthy(now)).map(|entry| Arc::clone(&entry.member))
    }

    /// Every node that is healthy now.
    #[must_use]
    pub fn all_healthy(&self) -> Vec<Arc<Member>> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        entries
            .values()
            .filter(|entry| entry.is_healthy(now))
            .map(|entry| Arc::clone(&entry.member))
            .collect()
    }

    /// How long ago the node beat, if it did since the start.
    #[must_use]
    pub fn silent_for(&self, node: NodeId) -> Option<Duration> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.get(&node).map(|entry| entry.beat_at.elapsed())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::domain::KeyId;

    fn member(id: NodeId, boot: UploadId, sequence: u64) -> Member {
        Member {
            id,
            key: NodeKey::from_bytes(KeyId(1), [0; 32]),
            place: Place::city("toronto").unwrap(),
            failure_domain: Label::parse("toronto").unwrap(),
            public_url: "http://127.0.0.1:1".parse().unwrap(),
            address: "127.0.0.1:1".parse().unwrap(),
            tls: None,
            reads_more: true,
            version: Label::parse("0.1.0").unwrap(),
            total_bytes: 1,
            free_bytes: 1,
            sessions: 0,
            activity: Activity::default(),
            boot,
            sequence,
            seen_at: Timestamp::from_millis(0),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_is_healthy_for_fifteen_seconds_after_a_beat() {
        let (members, id, boot) = (Membership::default(), NodeId::random(), UploadId::random());
        assert!(members.healthy(id).is_none());
        members.beat(member(id, boot, 1)).unwrap();
        tokio::time::advance(HEALTHY_FOR - Duration::from_millis(1)).await;
        assert!(members.healthy(id).is_some());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(members.healthy(id).is_none() && members.all_healthy().is_empty());
        assert!(members.get(id).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_call_counts_until_the_next_beat() {
        let (members, id, boot) = (Membership::default(), NodeId::random(), UploadId::random());
        members.beat(member(id, boot, 1)).unwrap();
        members.suspend(id);
        assert!(members.healthy(id).is_none());
        members.beat(member(id, boot, 2)).unwrap();
        assert!(members.healthy(id).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_repeated_beat_is_refused_and_a_new_start_is_not() {
        let (members, id, boot) = (Membership::default(), NodeId::random(), UploadId::random());
        members.beat(member(id, boot, 2)).unwrap();
        assert_eq!(members.beat(member(id, boot, 2)), Err(Replayed));
        assert_eq!(members.beat(member(id, boot, 1)), Err(Replayed));
        members.beat(member(id, UploadId::random(), 1)).unwrap();
    }
}
