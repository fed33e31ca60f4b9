//! Links: which replica is the nearest, and a ticket for it.

use std::sync::Arc;
use std::time::Duration;

use crate::cluster::membership::{Member, Membership};
use crate::domain::{Coordinates, FileName, MediaType, NodeId, Place, Sha1, Viewer};
use crate::geo::{Candidate, ClientAddress, GeoSource, InvalidFrom, Origin, locate, parse_from, rank};
use crate::ledger::{Ledger, LedgerError, ReplicaState, VisibleBlob};
use crate::metrics::Metrics;
pub use crate::tickets::Disposition;
use crate::tickets::{LinkTicket, link_expiry};

/// A blob as a link saw it may be so old: it never decides anything but where to read.
const CACHE_FOR: Duration = Duration::from_secs(5);
/// Blobs that are remembered.
const CACHED_BLOBS: u64 = 100_000;

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// No visible file has this content.
    #[error("no file with this SHA-1 is stored here")]
    NotFound,
    /// The node that was asked for holds no copy.
    #[error("the storage server that was asked for holds no copy of this file")]
    NoSuchReplica,
    /// No healthy node has a copy now.
    #[error("no storage server that has this file answers now: try again soon")]
    NoHealthyReplica,
    /// `from` cannot be read.
    #[error(transparent)]
    InvalidFrom(#[from] InvalidFrom),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// One replica in a choice.
#[derive(Debug, Clone)]
pub struct ChosenReplica {
    /// Its node.
    pub node: NodeId,
    /// Where the node stands.
    pub place: Place,
    /// Geodesic distance in kilometres.
    pub distance_km: f64,
    /// Whether the node answers now.
    pub healthy: bool,
    /// Its newest heartbeat.
    member: Option<Arc<Member>>,
}

/// The replicas of a blob in order of choice for one person.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Where the person is taken to be.
    pub origin: Origin,
    /// The blob.
    pub blob: Arc<VisibleBlob>,
    /// In order of choice; healthy ones first.
    pub replicas: Vec<ChosenReplica>,
}

/// A link to a node.
#[derive(Debug, Clone)]
pub struct Link {
    /// Where the node is downloaded from: scheme, host and port.
    pub public_url: url::Url,
    /// Path and query, with the ticket.
    pub path: String,
    /// How many kilometres it is away.
    pub distance_km: f64,
}

/// How a person asks for a replica.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish<'a> {
    /// Count from here instead of the person's own place: an address or `lat,lon`.
    pub from: Option<&'a str>,
    /// From this node alone: its id or its place's name.
    pub node: Option<&'a str>,
}

/// How long links live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkLife {
    /// At least so long.
    pub least: Duration,
    /// And then to the next multiple of this, so that a link repeats within it and caches work.
    pub step: Duration,
}

/// Makes links.
#[derive(Clone)]
pub struct LinkService {
    ledger: Arc<dyn Ledger>,
    membership: Arc<Membership>,
    geo: Arc<GeoSource>,
    central: Place,
    life: LinkLife,
    metrics: Metrics,
    /// Blobs whose replicas were all stored when they were looked up.
    blobs: moka::sync::Cache<Sha1, Arc<VisibleBlob>>,
    /// Places of nodes that were not heard of since the start.
    places: moka::sync::Cache<NodeId, Place>,
}

impl LinkService {
    /// With its collaborators; `central` is where an unknown person is taken to be.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        membership: Arc<Membership>,
        geo: Arc<GeoSource>,
        central: Place,
        life: LinkLife,
        metrics: Metrics,
    ) -> Self {
        Self {
            ledger,
            membership,
            geo,
            central,
            life,
            metrics,
            blobs: moka::sync::Cache::builder().max_capacity(CACHED_BLOBS).time_to_live(CACHE_FOR).build(),
            places: moka::sync::Cache::builder().max_capacity(1000).time_to_live(CACHE_FOR).build(),
        }
    }

    /// Where a person is taken to be.
    #[must_use]
    pub fn origin(&self, client: ClientAddress) -> Origin {
        locate(client, &self.geo.current(), &self.central)
    }

    async fn blob(&self, viewer: Viewer, sha1: Sha1) -> Result<Arc<VisibleBlob>, LinkError> {
        if let Some(blob) = self.blobs.get(&sha1) {
            return Ok(blob);
        }
        let blob = Arc::new(self.ledger.find_visible(viewer, sha1).await?.ok_or(LinkError::NotFound)?);
        // A blob that is being finished or healed changes at any moment.
        if blob.replicas.iter().all(|replica| replica.state == ReplicaState::Stored) {
            self.blobs.insert(sha1, Arc::clone(&blob));
        }
        Ok(blob)
    }

    async fn place_of(&self, node: NodeId) -> Result<Option<Place>, LedgerError> {
        if let Some(place) = self.places.get(&node) {
            return Ok(Some(place));
        }
        for known in self.ledger.nodes().await? {
            self.places.insert(known.node.id, known.node.place);
        }
        Ok(self.places.get(&node))
    }

    /// The replicas of a blob in order of choice for a person.
    ///
    /// # Errors
    /// [`LinkError`].
    pub async fn choose(
        &self,
        viewer: Viewer,
        sha1: Sha1,
        client: ClientAddress,
        wish: Wish<'_>,
    ) -> Result<Choice, LinkError> {
        let blob = self.blob(viewer, sha1).await?;
        let origin = match wish.from {
            Some(from) => parse_from(from, &self.geo.current(), &self.central)?,
            None => self.origin(client),
        };
        let mut known = Vec::with_capacity(blob.replicas.len());
        for replica in blob.replicas.iter().filter(|replica| replica.state == ReplicaState::Stored) {
            let healthy = self.membership.healthy(replica.node);
            let member = healthy.clone().or_else(|| self.membership.get(replica.node));
            let place = match &member {
                Some(member) => Some(member.place.clone()),
                None => self.place_of(replica.node).await?,
            };
            if let Some(place) = place {
                known.push((replica.node, place, healthy.is_some(), member));
            }
        }
        if let Some(wanted) = wish.node {
            known.retain(|(node, place, ..)| node.to_string() == wanted || place.slug() == wanted);
            if known.is_empty() {
                return Err(LinkError::NoSuchReplica);
            }
        }
        let candidates: Vec<Candidate> = known
            .iter()
            .map(|(node, place, healthy, _)| Candidate {
                node: *node,
                coordinates: place.coordinates,
                healthy: *healthy,
            })
            .collect();
        let replicas = rank(origin.coordinates, &candidates, rand::random())
            .into_iter()
            .filter_map(|ranked| {
                let (node, place, healthy, member) = known.iter().find(|(node, ..)| *node == ranked.node)?;
                Some(ChosenReplica {
                    node: *node,
                    place: place.clone(),
                    distance_km: ranked.distance_km,
                    healthy: *healthy,
                    member: member.clone(),
                })
            })
            .collect();
        Ok(Choice { origin, blob, replicas })
    }

    /// The name under which content is saved: the one asked for if a visible file has it,
    /// else the oldest file's, so that nobody can forge one.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn saved_as(
        &self,
        viewer: Viewer,
        blob: &VisibleBlob,
        asked: Option<&FileName>,
    ) -> Result<(FileName, MediaType), LedgerError> {
        if let Some(asked) = asked.filter(|asked| **asked != blob.file.name)
            && let Some(file) = self.ledger.file_named(viewer, blob.digests.sha1, asked).await?
        {
            return Ok((file.name, file.media_type));
        }
        Ok((blob.file.name.clone(), blob.file.media_type.clone()))
    }

    /// A link to the best replica of a choice.
    ///
    /// # Errors
    /// [`LinkError::NoHealthyReplica`].
    pub fn link(&self, choice: &Choice, name: FileName, disposition: Disposition) -> Result<Link, LinkError> {
        let best = choice.replicas.first().filter(|best| best.healthy).ok_or(LinkError::NoHealthyReplica)?;
        let member = best.member.as_ref().ok_or(LinkError::NoHealthyReplica)?;
        let ticket = LinkTicket {
            node: best.node,
            sha1: choice.blob.digests.sha1,
            name,
            disposition,
            generation: choice.blob.generation,
            expires: link_expiry(self.ledger.now(), self.life.least, self.life.step),
        };
        self.metrics.redirected(best.distance_km);
        Ok(Link {
            public_url: member.public_url.clone(),
            path: ticket.sign(&member.key),
            distance_km: best.distance_km,
        })
    }

    /// Distance in kilometres from a person to a place.
    #[must_use]
    pub fn distance_km(from: Coordinates, to: Coordinates) -> f64 {
        crate::geo::distance_km(from, to)
    }
}
