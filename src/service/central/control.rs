//! What nodes ask of central: to join, to be counted, what is to become of a session.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::finish_request;
use crate::cluster::keys::SharedSecret;
use crate::cluster::membership::{Member, Membership};
use crate::cluster::node_client::{NodeClient, TICKET_LIFE};
use crate::domain::{KeyId, NodeId, Timestamp};
use crate::ledger::{Ledger, LedgerError, NodeRecord, SessionOutcome};
use crate::tickets::{JoinSecret, NodeKey, Rotating, SigningRoot, seal_key, sign_answer, verify_call};
use crate::trace;
use crate::wire::cluster::{
    ChallengeAnswer, ChallengeRequest, ConfirmRequest, Heartbeat, HeartbeatAnswer, JoinAnswer, JoinRequest,
    OutcomeAnswer, OutcomeRequest,
};
use crate::wire::node::TlsAddress;
use crate::wire::{self, OtherVersion, PROTOCOL, Unread, speaks};

/// A challenge is to be answered within this.
const CHALLENGE_LIFE: Duration = Duration::from_secs(60);
/// A heartbeat counts when it names a ledger time that is no older than this.
const BEAT_LIFE: Duration = Duration::from_secs(60);
/// A node's last heartbeat is recorded in the ledger so often.
const RECORD_EVERY: Duration = Duration::from_secs(60);

/// Why a node is not answered.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// It does not speak our protocol.
    #[error(transparent)]
    Protocol(#[from] OtherVersion),
    /// It belongs to another cluster.
    #[error("the node belongs to another cluster")]
    OtherCluster,
    /// The join secret, the node's key or a signature is wrong.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The node's key is of a signing root that is not here.
    #[error(
        "the key {key} of node {node} comes from no signing root that central has: was the node away while the root was \
         changed? Put the root from before below the one in use, on a line `former: …`, until the node has its new key"
    )]
    UnknownKey {
        /// The node.
        node: NodeId,
        /// Its key.
        key: KeyId,
    },
    /// What it says of itself cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// A call's signature, as its headers carry it.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The call's name.
    pub call: &'a str,
    /// Who calls.
    pub node: NodeId,
    /// With which key.
    pub key: KeyId,
    /// The signature.
    pub signature: &'a str,
    /// What is signed.
    pub body: &'a [u8],
}

/// An answer with its signature.
#[derive(Debug, Clone)]
pub struct SignedAnswer {
    /// The JSON body.
    pub body: Vec<u8>,
    /// The signature over it and the call's.
    pub signature: String,
}

/// Answers nodes.
pub struct Control {
    ledger: Arc<dyn Ledger>,
    membership: Arc<Membership>,
    nodes: NodeClient,
    root: SharedSecret<SigningRoot>,
    join_secret: SharedSecret<JoinSecret>,
    rules: ControlRules,
}

/// What nodes are judged by.
#[derive(Debug, Clone)]
pub struct ControlRules {
    /// Nodes must be reachable inside these.
    pub networks: Vec<IpNet>,
    /// One that is silent for so long is out.
    pub out_after: Duration,
    /// No link is of use for longer.
    pub link_life: Duration,
}

impl Control {
    /// With its collaborators.
    #[must_use]
    pub fn new(
        ledger: Arc<dyn Ledger>,
        membership: Arc<Membership>,
        nodes: NodeClient,
        root: SharedSecret<SigningRoot>,
        join_secret: SharedSecret<JoinSecret>,
        rules: ControlRules,
    ) -> Self {
        Self { ledger, membership, nodes, root, join_secret, rules }
    }

    /// Gives a node a nonce to prove the join secret with. Nothing is kept.
    ///
    /// # Errors
    /// [`ControlError::Protocol`].
    pub fn challenge(&self, request: &ChallengeRequest) -> Result<ChallengeAnswer, ControlError> {
        speaks(request.protocol)?;
        let now = self.ledger.now().as_millis();
        Ok(ChallengeAnswer {
            protocol: PROTOCOL,
            cluster: self.ledger.cluster().cluster_id,
            central_nonce: self.root.get().current().join_nonce(request.node, &request.node_nonce, now),
        })
    }

    /// Gives a node its key, sealed, for the right proof. A node id that the cluster knows
    /// is given its key only for the proof that it has it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn join(&self, request: &JoinRequest) -> Result<JoinAnswer, ControlError> {
        speaks(request.protocol)?;
        let JoinRequest { node, node_nonce, central_nonce, .. } = request;
        let cluster = self.ledger.cluster().cluster_id;
        let life = i64::try_from(CHALLENGE_LIFE.as_millis()).unwrap_or(i64::MAX);
        let (root, now) = (self.root.get(), self.ledger.now().as_millis());
        let is_ours = |root: &SigningRoot| root.is_join_nonce(*node, node_nonce, central_nonce, now, life);
        if !root.iter().any(is_ours) {
            return Err(ControlError::Forbidden("the challenge is not ours or too old: ask for a new one"));
        }
        let secrets = self.join_secret.get();
        let is_proved =
            |secret: &&JoinSecret| secret.is_proof(cluster, *node, node_nonce, central_nonce, &request.proof);
        // What the node proved is what it can open its key with.
        let Some(secret) = secrets.iter().find(is_proved) else {
            return Err(ControlError::Forbidden(
                "the join secret is wrong: give the node the one of central",
            ));
        };
        if self.ledger.nodes().await?.iter().any(|known| known.node.id == *node) {
            self.check_its_key(&root, request)?;
        }
        let key = root.newest_key(*node);
        let sealed_key = seal_key(secret, cluster, *node, node_nonce, central_nonce, &key)
            .map_err(|_| ControlError::Invalid("the key cannot be sealed".to_owned()))?;
        Ok(JoinAnswer { protocol: PROTOCOL, cluster, key_id: key.id(), sealed_key })
    }

    fn check_its_key(&self, root: &Rotating<SigningRoot>, request: &JoinRequest) -> Result<(), ControlError> {
        let JoinRequest { node, ref node_nonce, ref central_nonce, .. } = *request;
        let (Some(id), Some(proof)) = (request.key_id, &request.key_proof) else {
            return Err(ControlError::Forbidden(
                "this node id is known and its key was not proved: was the node's folder copied or lost its key?",
            ));
        };
        let cluster = self.ledger.cluster().cluster_id;
        let is_proved = |key: NodeKey| key.is_join_proof(cluster, node, node_nonce, central_nonce, proof);
        if root.keys(node, id).any(is_proved) {
            Ok(())
        } else {
            Err(ControlError::UnknownKey { node, key: id })
        }
    }

    fn verify(&self, signed: Signed<'_>) -> Result<NodeKey, ControlError> {
        let root = self.root.get();
        let mut keys = root.keys(signed.node, signed.key).peekable();
        if keys.peek().is_none() {
            return Err(ControlError::UnknownKey { node: signed.node, key: signed.key });
        }
        let key = keys
            .find(|key| verify_call(key, signed.call, signed.node, signed.body, signed.signature))
            .ok_or(ControlError::Forbidden("the signature is wrong"))?;
        trace::continue_callers();
        Ok(key)
    }

    fn answer<T: serde::Serialize>(
        key: &NodeKey,
        signed: Signed<'_>,
        answer: &T,
    ) -> Result<SignedAnswer, ControlError> {
        let body = serde_json::to_vec(answer).map_err(|error| ControlError::Invalid(error.to_string()))?;
        let signature = sign_answer(key, signed.call, signed.signature, &body);
        Ok(SignedAnswer { body, signature })
    }

    fn read<T: serde::de::DeserializeOwned>(signed: Signed<'_>) -> Result<T, ControlError> {
        wire::read(signed.body).map_err(|error| match error {
            Unread::Version(version) => version.into(),
            Unread::Unreadable(error) => ControlError::Invalid(format!("the call cannot be read: {error}")),
        })
    }

    /// Counts a node as healthy, once its key was proved at the address it names.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn heartbeat(&self, signed: Signed<'_>, peer: IpAddr) -> Result<SignedAnswer, ControlError> {
        let key = self.verify(signed)?;
        let beat: Heartbeat = Self::read(signed)?;
        speaks(beat.protocol)?;
        let cluster = self.ledger.cluster();
        if beat.cluster != cluster.cluster_id || beat.node != signed.node {
            return Err(ControlError::OtherCluster);
        }
        if beat.highest_epoch > cluster.epoch {
            tracing::error!(
                node = %beat.node, saw = beat.highest_epoch, ledger = cluster.epoch,
                "the ledger is older than what a node has seen: was it restored without a new epoch?"
            );
        }
        let now = self.ledger.now();
        let counted = beat.heard.is_some_and(|heard| is_near(heard, now, BEAT_LIFE));
        if !counted {
            tracing::debug!(node = %beat.node, "a beat names no ledger time of the last minute");
        } else if beat.goodbye {
            tracing::info!(node = %beat.node, place = %beat.place.name, "a node says goodbye");
            if self.membership.get(beat.node).is_some_and(|known| known.boot == beat.boot) {
                self.membership.suspend(beat.node);
            }
        } else {
            let member = self.member(beat, key.clone(), peer, now)?;
            self.admit(member, now).await?;
        }
        let root = self.root.get();
        let newer_key = (!root.is_current(signed.node, &key)).then(|| root.current().key_id());
        Self::answer(
            &key,
            signed,
            &HeartbeatAnswer {
                protocol: PROTOCOL,
                ledger_time: self.ledger.now(),
                epoch: cluster.epoch,
                counted,
                reads_more: true,
                newer_key,
                former_key_lives_ms: Some(
                    u64::try_from(self.rules.link_life.max(TICKET_LIFE).as_millis()).unwrap_or(u64::MAX),
                ),
            },
        )
    }

    fn member(
        &self,
        beat: Heartbeat,
        key: NodeKey,
        peer: IpAddr,
        now: Timestamp,
    ) -> Result<Member, ControlError> {
        let public_url: url::Url = beat.public_url.parse().ok().filter(is_origin).ok_or_else(|| {
            ControlError::Invalid("public_url must be http(s)://host:port and nothing more".to_owned())
        })?;
        let ip = beat.internal_address.unwrap_or(peer).to_canonical();
        if !self.rules.networks.iter().any(|network| network.contains(&ip)) || is_link_local(ip) {
            return Err(ControlError::Invalid(format!(
                "the node's address {ip} lies outside cluster.networks: add its network there or give the node another"
            )));
        }
        let tls =
            beat.tls_port.map(|port| tls_address(&public_url, SocketAddr::new(ip, port))).transpose()?;
        Ok(Member {
            id: beat.node,
            key,
            place: beat.place,
            failure_domain: beat.failure_domain,
            public_url,
            address: SocketAddr::new(ip, beat.internal_port),
            tls,
            reads_more: beat.reads_more,
            version: beat.version,
            total_bytes: beat.total_bytes,
            free_bytes: beat.free_bytes,
            sessions: beat.sessions,
            activity: beat.activity,
            boot: beat.boot,
            sequence: beat.sequence,
            seen_at: now,
        })
    }

    async fn admit(&self, member: Member, now: Timestamp) -> Result<(), ControlError> {
        let known = self.membership.get(member.id);
        let healthy = self.membership.healthy(member.id);
        if let Some(other) = &healthy
            && other.boot != member.boot
            && other.address != member.address
        {
            return Err(ControlError::Invalid(format!(
                "another process with this node's id beats from {}: was its folder copied? Stop one of them",
                other.address
            )));
        }
        let is_proved = known.as_ref().is_some_and(|known| known.boot == member.boot && known.address == member.address && known.tls == member.tls)
            // A certificate can become wrong: then the node is out until it is right again.
            && (member.tls.is_none() || healthy.is_some());
        if !is_proved {
            self.nodes.prove(&member).await.map_err(|error| {
                ControlError::Invalid(format!("the node does not answer at {}: {error}", member.address))
            })?;
            tracing::info!(node = %member.id, place = %member.place.name, address = %member.address, "a node joined");
        }
        // A node that was silent may have been recorded as out.
        let is_recorded = healthy.as_ref().is_some_and(|known| {
            known.place == member.place
                && known.failure_domain == member.failure_domain
                && known.public_url == member.public_url
                && known.version == member.version
                && known.key.id() == member.key.id()
                && !crosses(known.seen_at, now, RECORD_EVERY)
        });
        if !is_recorded {
            self.ledger.record_node(record(&member, now)).await?;
        }
        let (id, key) = (member.id, member.key.id());
        self.membership.beat(member).map_err(|error| ControlError::Invalid(error.to_string()))?;
        if known.is_none_or(|known| known.key.id() != key) {
            self.say_who_has_its_key(id, key).await?;
        }
        Ok(())
    }

    /// While the root is changed: a node has its newer key, and an operator wants to know when the former
    /// root can go.
    async fn say_who_has_its_key(&self, node: NodeId, key: KeyId) -> Result<(), ControlError> {
        let root = self.root.get();
        let newest = root.current().key_id();
        if !root.is_changing() || key != newest {
            return Ok(());
        }
        let waiting =
            self.ledger.nodes().await?.into_iter().filter(|known| known.node.key_id != newest).count();
        tracing::info!(%node, waiting, "a node has its key of the new signing root");
        if waiting == 0 {
            tracing::info!(
                "every node has its key of the new signing root: the former one can be taken away"
            );
        }
        Ok(())
    }

    /// Says what is to become of a prepared session.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn outcome(&self, signed: Signed<'_>) -> Result<SignedAnswer, ControlError> {
        let key = self.verify(signed)?;
        let request: OutcomeRequest = Self::read(signed)?;
        speaks(request.protocol)?;
        let outcome = self
            .ledger
            .session_outcome(request.upload, signed.node, request.sha1, request.decide_before)
            .await?;
        let answer = match outcome {
            SessionOutcome::Finish { generation, files } => {
                OutcomeAnswer::Finish(finish_request(request.sha1, generation, &files))
            }
            SessionOutcome::Abort => OutcomeAnswer::Abort,
            SessionOutcome::Keep => OutcomeAnswer::Keep,
        };
        Self::answer(&key, signed, &answer)
    }

    /// Takes a node's word that it finished a session on its own.
    ///
    /// # Errors
    /// [`ControlError`].
    pub async fn confirm(&self, signed: Signed<'_>) -> Result<SignedAnswer, ControlError> {
        let key = self.verify(signed)?;
        let request: ConfirmRequest = Self::read(signed)?;
        speaks(request.protocol)?;
        self.ledger.confirm_replica(request.sha1, signed.node, request.generation).await?;
        Self::answer(&key, signed, &serde_json::json!({ "protocol": PROTOCOL }))
    }

    /// Records nodes that were silent for too long as out: a background worker's one step.
    /// Counted from this central's start at the earliest, as silence before it is unknown.
    ///
    /// # Errors
    /// When the ledger fails.
    pub async fn mark_out(&self, up_for: Duration) -> Result<(), LedgerError> {
        for known in self.ledger.nodes().await? {
            let silent = self.membership.silent_for(known.node.id).unwrap_or(up_for);
            if !known.node.out && silent >= self.rules.out_after {
                tracing::warn!(node = %known.node.id, place = %known.node.place.name, "a node is out: its copies no longer count");
                self.ledger.set_node_out(known.node.id, true).await?;
            }
        }
        Ok(())
    }
}

/// Where a node takes calls by TLS. A certificate for an address is checked at that address alone.
fn tls_address(public_url: &url::Url, address: SocketAddr) -> Result<TlsAddress, ControlError> {
    let is_there = match public_url.host() {
        Some(url::Host::Ipv4(ip)) => IpAddr::from(ip) == address.ip(),
        Some(url::Host::Ipv6(ip)) => IpAddr::from(ip) == address.ip(),
        _ => true,
    };
    match public_url.host_str() {
        Some(host) if is_there => Ok(TlsAddress { host: host.to_owned(), address }),
        _ => Err(ControlError::Invalid(format!(
            "the node's public_url names another address than {}, where it is to be called by TLS: give it a name",
            address.ip()
        ))),
    }
}

fn record(member: &Member, now: Timestamp) -> NodeRecord {
    NodeRecord {
        id: member.id,
        key_id: member.key.id(),
        place: member.place.clone(),
        failure_domain: member.failure_domain.clone(),
        public_url: member.public_url.as_str().trim_end_matches('/').to_owned(),
        version: member.version.clone(),
        seen_at: now,
        out: false,
    }
}

/// Whether two times are at most `apart` from each other.
fn is_near(one: Timestamp, other: Timestamp, apart: Duration) -> bool {
    u128::from(one.as_millis().abs_diff(other.as_millis())) <= apart.as_millis()
}

/// Whether a multiple of `every` lies between two times.
fn crosses(earlier: Timestamp, later: Timestamp, every: Duration) -> bool {
    let every = i64::try_from(every.as_millis()).unwrap_or(i64::MAX).max(1);
    earlier.as_millis().div_euclid(every) != later.as_millis().div_euclid(every)
}

/// Whether a URL is http(s), host and port only (RFC 6454 §4).
fn is_origin(url: &url::Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
}

/// Link-local addresses (RFC 3927, RFC 4291 §2.5.6) are never a node's: cloud metadata lives there.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
