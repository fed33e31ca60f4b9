//! What a node does for central, for other nodes and for people who download.
//!
//! Every call is checked against a ticket first, by the ledger's time; before a node knows
//! that time, it takes no call.

mod download;
mod error;
mod guard;
mod intake;
mod resumable;
mod sessions;
mod settle;
#[cfg(test)]
#[allow(missing_docs)]
pub mod testing;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::blobs::{BlobStore, Capacity};
use crate::cluster::clock::LedgerClock;
use crate::cluster::http::ClusterHttp;
use crate::cluster::keys::SharedKeys;
use crate::domain::{Label, NodeId, Sha1, Timestamp, UploadId};
use crate::metrics::{Fullness, NodeMetrics, NodeStanding};
use crate::tickets::{CallTicket, NodeKey, Operation};
use crate::trace;
use crate::wire::cluster::{ProveAnswer, ProveRequest};
use crate::wire::node::{Inventory, InventoryBlob, NodeStatus};
use crate::wire::{PROTOCOL, speaks};

use super::turns::Turns;
pub use crate::blobs::BlobError as StoreError;
pub use crate::tickets::{Disposition, TicketError};
pub use download::{Content, Download, READ_BYTES};
pub use error::NodeError;
pub use resumable::{Opened, PartStart};
use settle::PendingConfirms;

/// The result of a use case.
pub type Result<T> = std::result::Result<T, NodeError>;

/// The most blobs on one page of the inventory.
pub const INVENTORY_PAGE: usize = 1000;

/// A node is joined as long as it heard from central within this time: three heartbeats.
const JOINED: Duration = Duration::from_secs(15);

/// What a node's service bounds itself by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Upload sessions that are filled at once.
    pub sessions: usize,
    /// Downloads at once.
    pub downloads: usize,
    /// A sender that sends nothing for so long is cut.
    pub sender_stalled_after: Duration,
    /// How long after its receipt a session can be decided at the latest.
    pub decide_within: Duration,
}

impl Default for ServiceLimits {
    fn default() -> Self {
        Self {
            sessions: 256,
            downloads: 4096,
            sender_stalled_after: Duration::from_secs(30),
            decide_within: Duration::from_mins(10),
        }
    }
}

/// What a node's service works with.
pub struct NodeParts {
    /// Where the bytes are.
    pub store: Arc<dyn BlobStore>,
    /// Who the node is.
    pub node: NodeId,
    /// Its build.
    pub version: Label,
    /// Its keys, as the agent sets them.
    pub keys: SharedKeys,
    /// The ledger's time, as the agent sets it.
    pub clock: LedgerClock,
    /// For reading another node's session.
    pub http: ClusterHttp,
    /// What it counts.
    pub metrics: NodeMetrics,
    /// Its bounds.
    pub limits: ServiceLimits,
    /// Where the clean-up of an upload runs whose caller is gone: a runtime that outlives the
    /// server's own.
    pub runtime: Handle,
}

/// What moves through a node now, and what ever did since its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traffic {
    /// Uploads whose bytes it takes now.
    pub receiving: u64,
    /// Downloads and copies that it sends now.
    pub sending: u64,
    /// Bytes that it took.
    pub received_bytes: u64,
    /// Bytes that it read to be sent.
    pub sent_bytes: u64,
}

/// A ticket that was checked.
struct Permit {
    ticket: CallTicket,
    /// The key it is signed with: central knows the node by it, so it signs the receipt, too, even
    /// where a newer one came meanwhile.
    key: NodeKey,
}

impl std::ops::Deref for Permit {
    type Target = CallTicket;

    fn deref(&self) -> &CallTicket {
        &self.ticket
    }
}

/// The use cases of a node.
pub struct NodeService {
    parts: NodeParts,
    uploads: Arc<Semaphore>,
    downloads: Arc<Semaphore>,
    received: Arc<AtomicU64>,
    sent: Arc<AtomicU64>,
    cleanup: TaskTracker,
    pending_confirms: PendingConfirms,
    turns: Turns,
}

impl NodeService {
    /// A service of these parts.
    #[must_use]
    pub fn new(parts: NodeParts) -> Self {
        let permits = |limit: usize| Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
        Self {
            uploads: permits(parts.limits.sessions),
            downloads: permits(parts.limits.downloads),
            received: Arc::default(),
            sent: Arc::default(),
            cleanup: TaskTracker::new(),
            pending_confirms: PendingConfirms::default(),
            turns: Turns::default(),
            parts,
        }
    }

    /// Who the node is.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.parts.node
    }

    fn store(&self) -> &dyn BlobStore {
        &*self.parts.store
    }

    /// The ledger's time.
    fn now(&self) -> Result<Timestamp> {
        self.parts.clock.now().ok_or(NodeError::NotReady)
    }

    /// The ticket in a header, if it permits this. A missing one is as wrong as a forged one.
    fn permit(
        &self,
        header: Option<&str>,
        operation: Operation,
        upload: Option<UploadId>,
        now: Timestamp,
    ) -> Result<Permit> {
        let keys = self.parts.keys.get();
        let header = header.ok_or(TicketError::Forbidden)?;
        let ticket = CallTicket::verify(header, &keys, self.parts.node, operation, now)?;
        let key = CallTicket::key_id(header).and_then(|id| keys.get(id));
        let key = key.ok_or(TicketError::Forbidden)?.clone();
        if ticket.upload != upload {
            return Err(TicketError::Forbidden.into());
        }
        trace::continue_callers();
        Ok(Permit { ticket, key })
    }

    /// Checks the ticket of a call that has no body.
    fn permit_bare(
        &self,
        header: Option<&str>,
        operation: Operation,
        upload: Option<UploadId>,
    ) -> Result<Permit> {
        let ticket = self.permit(header, operation, upload, self.now()?)?;
        if ticket.body_sha256.is_some() { Err(TicketError::Forbidden.into()) } else { Ok(ticket) }
    }

    /// Checks the ticket of a call whose body it names.
    fn permit_body(
        &self,
        header: Option<&str>,
        operation: Operation,
        upload: Option<UploadId>,
        body: &[u8],
    ) -> Result<Permit> {
        let ticket = self.permit(header, operation, upload, self.now()?)?;
        if ticket.permits_body(body) { Ok(ticket) } else { Err(TicketError::Forbidden.into()) }
    }

    /// A page of the inventory, of at most [`INVENTORY_PAGE`] blobs.
    ///
    /// # Errors
    /// [`NodeError::Ticket`], and what the store fails with.
    pub async fn inventory(
        &self,
        ticket: Option<&str>,
        after: Option<Sha1>,
        limit: usize,
    ) -> Result<Inventory> {
        self.permit_bare(ticket, Operation::Inventory, None)?;
        let page = self.store().inventory(after, limit.clamp(1, INVENTORY_PAGE)).await?;
        let blobs = page
            .blobs
            .into_iter()
            .map(|blob| InventoryBlob { digests: blob.digests, generation: blob.generation })
            .collect();
        Ok(Inventory { protocol: PROTOCOL, node: self.parts.node, blobs, next: page.next })
    }

    /// How full the store is.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn capacity(&self) -> Result<Capacity> {
        Ok(self.store().capacity().await?)
    }

    /// What moves through it.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let taken = |of: &Semaphore, limit: usize| {
            limit.min(Semaphore::MAX_PERMITS).saturating_sub(of.available_permits()) as u64
        };
        Traffic {
            receiving: taken(&self.uploads, self.parts.limits.sessions),
            sending: taken(&self.downloads, self.parts.limits.downloads),
            received_bytes: self.received.load(Ordering::Relaxed),
            sent_bytes: self.sent.load(Ordering::Relaxed),
        }
    }

    async fn fullness(&self) -> Result<Fullness> {
        let Capacity { total_bytes, free_bytes, sessions } = self.capacity().await?;
        let prepared = self.store().prepared_sessions().await?.len() as u64;
        Ok(Fullness { total_bytes, free_bytes, sessions, prepared })
    }

    /// What the metrics say of the node as it stands; of a store that does not answer, how it stood.
    ///
    /// # Errors
    /// When they cannot be written.
    pub async fn scrape(&self) -> Result<Vec<u8>> {
        let (fullness, traffic) = (self.fullness().await, self.traffic());
        // What was counted is told most of all when something fails.
        if let Err(error) = &fullness
            && self.parts.metrics.is_store_up()
        {
            tracing::warn!(%error, "the store does not answer: the metrics say how it stood");
        }
        let standing = NodeStanding {
            fullness: fullness.ok(),
            receiving: traffic.receiving,
            sending: traffic.sending,
            received_bytes: traffic.received_bytes,
            sent_bytes: traffic.sent_bytes,
        };
        let text = self.parts.metrics.scrape(&standing);
        Ok(text.map_err(|error| StoreError::Io(std::io::Error::other(error)))?)
    }

    /// Counts how an upload's content was found.
    fn checked<T>(&self, prepared: std::result::Result<T, StoreError>) -> std::result::Result<T, StoreError> {
        match &prepared {
            Ok(_) => self.parts.metrics.digest(true),
            Err(StoreError::WrongDigest(_) | StoreError::Collision) => self.parts.metrics.digest(false),
            Err(_) => {}
        }
        prepared
    }

    /// What the node says of itself to anybody.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn status(&self) -> Result<NodeStatus> {
        let capacity = self.capacity().await?;
        Ok(NodeStatus {
            protocol: PROTOCOL,
            node: self.parts.node,
            version: self.parts.version.clone(),
            total_bytes: capacity.total_bytes,
            free_bytes: capacity.free_bytes,
            joined: self.parts.clock.was_set_within(JOINED),
        })
    }

    /// Proves that the node with this id has its key here.
    ///
    /// # Errors
    /// [`NodeError::Ticket`] when another node is asked for; [`NodeError::NotReady`] before
    /// this one has a key.
    pub fn prove(&self, request: &ProveRequest) -> Result<ProveAnswer> {
        speaks(request.protocol)?;
        if request.node != self.parts.node || request.nonce.len() != 64 {
            return Err(TicketError::Forbidden.into());
        }
        let keys = self.parts.keys.get();
        let key = keys.newest().ok_or(NodeError::NotReady)?;
        Ok(ProveAnswer { proof: key.prove_address(request.node, &request.nonce) })
    }

    /// Ends sessions whose time is over; says how many.
    ///
    /// # Errors
    /// What the store fails with.
    pub async fn expire_sessions(&self) -> Result<usize> {
        Ok(self.store().expire_sessions().await?)
    }

    /// Waits for the clean-up of uploads whose caller is gone. Called when no more calls come.
    pub async fn close(&self) {
        self.cleanup.close();
        self.cleanup.wait().await;
    }
}
