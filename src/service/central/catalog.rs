//! What is stored: precheck, list, detail, pieces, nodes.

use std::sync::Arc;

use crate::cluster::membership::{Member, Membership};
use crate::domain::{FileId, FileOrder, Sha1, Timestamp, Viewer};
use crate::ledger::{
    Cursor, FileRecord, Ledger, LedgerError, NodeWithCounts, Page, Pieces, Replica, ReplicaState, Totals,
    VisibleBlob,
};
use crate::metrics::{Found, Metrics, NodeFigures, Standing};

/// The most names of one blob that are told.
const MAX_NAMES: usize = 1000;

/// What somebody asks before sending a file.
#[derive(Debug, Clone, Copy)]
pub struct Question {
    /// The file's size in bytes.
    pub size: u64,
    /// Its SHA-1, when it was hashed already.
    pub sha1: Option<Sha1>,
}

/// The answer to one question.
#[derive(Debug, Clone)]
pub enum Precheck {
    /// Send it.
    Send,
    /// Hash it first and ask again: a stored file has this size.
    Hash,
    /// It is here.
    Exists(Box<VisibleBlob>),
}

/// A replica with its node's name and health.
#[derive(Debug, Clone)]
pub struct ReplicaAt {
    /// The replica.
    pub replica: Replica,
    /// Its node as the ledger remembers it.
    pub node: NodeWithCounts,
    /// Where people download from the node, if it was heard of since the start.
    pub public_url: Option<url::Url>,
    /// Whether the node answers now.
    pub healthy: bool,
}

/// Everything about one blob that a page or a program wants.
#[derive(Debug, Clone)]
pub struct Detail {
    /// The blob.
    pub blob: VisibleBlob,
    /// The files on it, oldest first.
    pub files: Vec<FileRecord>,
    /// Its replicas.
    pub replicas: Vec<ReplicaAt>,
}

/// A node with its newest heartbeat, where there was one since the start.
#[derive(Debug, Clone)]
pub struct NodeStanding {
    /// The node as the ledger remembers it.
    pub known: NodeWithCounts,
    /// Its newest heartbeat.
    pub member: Option<Arc<Member>>,
    /// Whether it answers now.
    pub healthy: bool,
}

/// Answers questions about what is stored.
#[derive(Clone)]
pub struct Catalog {
    ledger: Arc<dyn Ledger>,
    membership: Arc<Membership>,
    metrics: Metrics,
}

impl Catalog {
    /// With its collaborators.
    #[must_use]
    pub const fn new(ledger: Arc<dyn Ledger>, membership: Arc<Membership>, metrics: Metrics) -> Self {
        Self { ledger, membership, metrics }
    }

    /// The ledger's time.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.ledger.now()
    }

    /// Says of each file whether to send it: sizes first, then digests.
    ///
    /// A known blob is to be sent only when fewer than two replicas are usable, or when
    /// none can be read now.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn precheck(
        &self,
        viewer: Viewer,
        questions: &[Question],
    ) -> Result<Vec<Precheck>, LedgerError> {
        let sizes: Vec<u64> = questions
            .iter()
            .filter(|question| question.sha1.is_none())
            .map(|question| question.size)
            .collect();
        let mut seen = self.ledger.sizes_seen(viewer, &sizes).await?.into_iter();
        let mut answers = Vec::with_capacity(questions.len());
        for question in questions {
            answers.push(match question.sha1 {
                None if seen.next().unwrap_or(true) => Precheck::Hash,
                None => Precheck::Send,
                Some(sha1) => match self.ledger.find_visible(viewer, sha1).await? {
                    Some(blob) if self.is_kept(&blob) => {
                        self.metrics.duplicate(Found::Precheck, blob.digests.size);
                        Precheck::Exists(Box::new(blob))
                    }
                    _ => Precheck::Send,
                },
            });
        }
        Ok(answers)
    }

    /// Two usable replicas, of which one can be read now.
    fn is_kept(&self, blob: &VisibleBlob) -> bool {
        let usable = blob.replicas.iter().filter(|replica| replica.is_usable()).count();
        let readable = blob.replicas.iter().any(|replica| {
            replica.state == ReplicaState::Stored && self.membership.healthy(replica.node).is_some()
        });
        usable >= 2 && readable
    }

    /// One page of the list.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn list(
        &self,
        viewer: Viewer,
        query: &str,
        order: FileOrder,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<FileRecord>, LedgerError> {
        self.ledger.list_files(viewer, query, order, after, limit).await
    }

    /// One file.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn file(&self, viewer: Viewer, id: FileId) -> Result<Option<FileRecord>, LedgerError> {
        self.ledger.find_file(viewer, id).await
    }

    /// One blob, as it is known by now.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn blob(&self, viewer: Viewer, sha1: Sha1) -> Result<Option<VisibleBlob>, LedgerError> {
        self.ledger.find_visible(viewer, sha1).await
    }

    /// Everything about one blob.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn detail(&self, viewer: Viewer, sha1: Sha1) -> Result<Option<Detail>, LedgerError> {
        let Some(blob) = self.ledger.find_visible(viewer, sha1).await? else { return Ok(None) };
        let files = self.ledger.files_of(viewer, sha1, MAX_NAMES).await?;
        let nodes = self.ledger.nodes().await?;
        let replicas = blob
            .replicas
            .iter()
            .filter_map(|replica| {
                let node = nodes.iter().find(|node| node.node.id == replica.node)?;
                Some(ReplicaAt {
                    replica: replica.clone(),
                    node: node.clone(),
                    public_url: self.membership.get(replica.node).map(|member| member.public_url.clone()),
                    healthy: self.membership.healthy(replica.node).is_some(),
                })
            })
            .collect();
        Ok(Some(Detail { blob, files, replicas }))
    }

    /// A blob's pieces.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn pieces(&self, viewer: Viewer, sha1: Sha1) -> Result<Option<Pieces>, LedgerError> {
        self.ledger.pieces(viewer, sha1).await
    }

    /// Every node that ever joined.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn nodes(&self) -> Result<Vec<NodeStanding>, LedgerError> {
        let mut nodes: Vec<NodeStanding> = self
            .ledger
            .nodes()
            .await?
            .into_iter()
            .map(|known| NodeStanding {
                member: self.membership.get(known.node.id),
                healthy: self.membership.healthy(known.node.id).is_some(),
                known,
            })
            .collect();
        nodes.sort_by(|a, b| {
            (&a.known.node.place.name, a.known.node.id).cmp(&(&b.known.node.place.name, b.known.node.id))
        });
        Ok(nodes)
    }

    /// The ledger's counters.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn totals(&self) -> Result<Totals, LedgerError> {
        self.ledger.totals().await
    }

    /// What the metrics say of the store as it stands.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn standing(&self, running: usize, slots: usize) -> Result<Standing, LedgerError> {
        let (totals, load, nodes) =
            (self.ledger.totals().await?, self.ledger.load().await?, self.nodes().await?);
        let count =
            |wanted: fn(&NodeStanding) -> bool| nodes.iter().filter(|node| wanted(node)).count() as u64;
        let on_out = nodes.iter().filter(|node| node.known.node.out).map(|node| node.known.replicas).sum();
        Ok(Standing {
            files: totals.files,
            blobs: totals.blobs,
            blob_bytes: totals.bytes,
            replicas: [
                totals.pending_replicas,
                totals.stored_replicas.saturating_sub(on_out),
                totals.bad_replicas,
                on_out,
            ],
            nodes: [
                count(|node| node.healthy),
                count(|node| !node.healthy && !node.known.node.out),
                count(|node| !node.healthy && node.known.node.out),
            ],
            by_node: nodes.iter().map(|node| self.figures(node)).collect(),
            uploads_running: running as u64,
            upload_slots: slots as u64,
            uploads_unfinished: load.unfinished_uploads,
            oldest_pending: load.oldest_pending,
            ledger_queue: load.waiting_writes,
            ledger_file_bytes: load.file_bytes,
            ledger_disk_free_bytes: load.disk_free_bytes,
        })
    }

    fn figures(&self, node: &NodeStanding) -> NodeFigures {
        let NodeStanding { known, member, healthy } = node;
        NodeFigures {
            id: known.node.id,
            place: known.node.place.name.to_string(),
            is_healthy: *healthy,
            is_out: known.node.out,
            total_bytes: member.as_ref().map(|member| member.total_bytes),
            free_bytes: member.as_ref().map(|member| member.free_bytes),
            silent_for: self.membership.silent_for(known.node.id),
            replicas: known.replicas,
        }
    }

    /// Whether central can do its work: the ledger takes writes, two nodes are healthy.
    pub async fn readiness(&self) -> Readiness {
        Readiness {
            ledger: self.ledger.check_writable().await.err().map(|error| error.to_string()),
            healthy_nodes: self.membership.all_healthy().len(),
        }
    }
}

/// Whether central can do its work, and what keeps it from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Readiness {
    /// Why the ledger cannot be written.
    pub ledger: Option<String>,
    /// How many nodes are healthy.
    pub healthy_nodes: usize,
}

impl Readiness {
    /// Whether uploads and downloads can be expected to work.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.ledger.is_none() && self.healthy_nodes >= 2
    }
}
