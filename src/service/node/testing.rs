//! A node for tests: a store in a folder of its own, one key, and a clock that is set.

#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::Handle;

use super::{NodeParts, NodeService, ServiceLimits};
pub use crate::blobs::{
    BlobReader, BlobStore, Capacity, DescribedFile, Expected, FolderStore, FolderStoreOptions, InventoryPage,
    Prepared, PreparedSession, Result as StoreResult, SessionOptions, StoredBlob,
};
use crate::cluster::clock::LedgerClock;
use crate::cluster::http::http_client;
use crate::cluster::keys::SharedKeys;
use crate::cluster::membership::Member;
use crate::domain::{
    BlobDigests, ClusterId, FileName, Generation, KeyId, Label, MediaType, NodeId, Place, Sha1, Timestamp,
    UploadId,
};
use crate::metrics::NodeMetrics;
use crate::tickets::{CallTicket, Disposition, LinkTicket, NodeKey, Operation};

/// The ledger's time when a test begins.
pub const START: Timestamp = Timestamp::from_millis(1_800_000_000_000);

/// The decision that tests store blobs under.
pub const GENERATION: Generation = Generation { epoch: 1, number: 1 };

/// A node's service and what a test needs to speak with it.
pub struct TestNode {
    pub service: Arc<NodeService>,
    pub store: Arc<dyn BlobStore>,
    pub node: NodeId,
    pub key: NodeKey,
    pub keys: SharedKeys,
    pub clock: LedgerClock,
    pub dir: Arc<TempDir>,
}

/// What is left of a node that stopped.
pub struct Kept {
    dir: Arc<TempDir>,
    node: NodeId,
}

impl Kept {
    fn options(&self) -> FolderStoreOptions {
        FolderStoreOptions {
            dir: self.dir.path().join("data"),
            node: self.node,
            cluster: ClusterId::from_bytes([1; 16]),
            known_to_cluster: false,
            reserve_bytes: 0,
        }
    }
}

/// A node as central knows it.
pub fn member(node: &TestNode, address: SocketAddr) -> Member {
    Member {
        id: node.node,
        key: node.key.clone(),
        place: Place::city("toronto").unwrap(),
        failure_domain: Label::parse("one").unwrap(),
        public_url: "http://node.example:81".parse().unwrap(),
        address,
        tls: None,
        reads_more: true,
        version: Label::parse("1").unwrap(),
        total_bytes: 1 << 40,
        free_bytes: 1 << 40,
        sessions: 0,
        activity: crate::wire::cluster::Activity::default(),
        boot: UploadId::random(),
        sequence: 1,
        seen_at: START,
    }
}

impl TestNode {
    pub async fn new() -> Self {
        Self::with(ServiceLimits::default(), |store| store).await
    }

    /// With other limits, or a store that fails as the test wants.
    pub async fn with(
        limits: ServiceLimits,
        wrap: impl FnOnce(Arc<dyn BlobStore>) -> Arc<dyn BlobStore>,
    ) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let kept = Kept { dir, node: NodeId::random() };
        let store = wrap(Arc::new(FolderStore::open(kept.options()).await.unwrap()));
        Self::of(kept, store, limits)
    }

    /// What a restart keeps.
    pub fn kept(&self) -> Kept {
        Kept { dir: Arc::clone(&self.dir), node: self.node }
    }

    /// The same node again, as soon as the one before has let go of its folder.
    pub async fn again(kept: Kept) -> Self {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let store = loop {
            match FolderStore::open(kept.options()).await {
                Ok(store) => break Arc::new(store),
                Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        Self::of(kept, store, ServiceLimits::default())
    }

    fn of(kept: Kept, store: Arc<dyn BlobStore>, limits: ServiceLimits) -> Self {
        let Kept { dir, node } = kept;
        let key = NodeKey::from_bytes(KeyId(1), [7; 32]);
        let (keys, clock) = (SharedKeys::new(), LedgerClock::new());
        keys.set(vec![key.clone()]);
        clock.learn(START);
        let service = Arc::new(NodeService::new(NodeParts {
            metrics: NodeMetrics::new().unwrap(),
            store: Arc::clone(&store),
            node,
            version: Label::parse("0.0.0").unwrap(),
            keys: keys.clone(),
            clock: clock.clone(),
            http: http_client().unwrap().into(),
            limits,
            runtime: Handle::current(),
        }));
        Self { service, store, node, key, keys, clock, dir }
    }

    /// A ticket that fits, to be changed with `..`.
    pub fn ticket(&self, operation: Operation, upload: Option<UploadId>) -> CallTicket {
        CallTicket {
            limit_bytes: 1 << 40,
            idle: Duration::from_secs(3),
            ..CallTicket::new(operation, self.node, upload, START.saturating_add(Duration::from_mins(1)))
        }
    }

    /// A link's ticket.
    pub fn link(&self, sha1: Sha1, name: &str) -> LinkTicket {
        LinkTicket {
            node: self.node,
            sha1,
            name: FileName::parse(name).unwrap(),
            disposition: Disposition::Attachment(MediaType::parse("text/plain")),
            generation: GENERATION,
            expires: START.saturating_add(Duration::from_hours(12)),
        }
    }

    /// Stores content past every call.
    pub async fn store(&self, content: &[u8]) -> BlobDigests {
        let (upload, prepared) = self.prepare(content).await;
        self.store.finish(upload, prepared.digests.sha1, GENERATION, vec![]).await.unwrap();
        prepared.digests
    }

    /// Makes a prepared session past every call.
    pub async fn prepare(&self, content: &[u8]) -> (UploadId, Prepared) {
        let upload = UploadId::random();
        let options = SessionOptions {
            declared_bytes: None,
            limit_bytes: 1 << 40,
            idle: Duration::from_mins(1),
            resumable: false,
        };
        self.store.create_session(upload, options).await.unwrap();
        self.store.append(upload, 0, Bytes::copy_from_slice(content)).await.unwrap();
        let decide_before = START.saturating_add(Duration::from_mins(10));
        let prepared = self.store.prepare(upload, Expected::default(), decide_before).await.unwrap();
        (upload, prepared)
    }

    /// Sessions that live now.
    pub async fn sessions(&self) -> u64 {
        self.store.capacity().await.unwrap().sessions
    }

    /// Waits until no session lives, and nothing of one is on the disk.
    pub async fn is_clean_within(&self, deadline: Duration) -> bool {
        let is_empty = || {
            let sessions = self.dir.path().join("data/sessions");
            std::fs::read_dir(sessions).unwrap().next().is_none()
        };
        let clean = async {
            while self.sessions().await > 0 || !is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(deadline, clean).await.is_ok()
    }
}

/// Content in which every part differs from its neighbours.
pub fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// The same node as it is before its first heartbeat.
pub fn without_clock(node: &TestNode) -> Arc<NodeService> {
    Arc::new(NodeService::new(NodeParts {
        metrics: NodeMetrics::new().unwrap(),
        store: Arc::clone(&node.store),
        node: node.node,
        version: Label::parse("0.0.0").unwrap(),
        keys: node.keys.clone(),
        clock: LedgerClock::new(),
        http: http_client().unwrap().into(),
        limits: ServiceLimits::default(),
        runtime: Handle::current(),
    }))
}
