//! What a node says to central, under `/cluster/v1/`.
//!
//! Joining takes two calls (`challenge`, `join`) that prove the join secret on both sides
//! without sending it. Every later call is signed with the node's own key over the call's
//! name, the node's id and the body; the answer is signed with the same key over the call's
//! name, the request's signature and the body.
//!
//! Central of 0.1 refuses a call with a field that it does not know. A node therefore says what 0.1 does
//! not know only to a central that answered with [`HeartbeatAnswer::reads_more`].

use serde::{Deserialize, Serialize};

use crate::domain::{ClusterId, Generation, KeyId, Label, NodeId, Place, Sha1, Timestamp, UploadId};

/// `POST /cluster/v1/challenge`: the node wants to join.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChallengeRequest {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// Who asks.
    pub node: NodeId,
    /// 32 random bytes, hex.
    pub node_nonce: String,
}

/// Central's nonce. It is checked by central's own signature in it: nothing is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChallengeAnswer {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The cluster that the node would join.
    pub cluster: ClusterId,
    /// Opaque; given back unchanged within a minute.
    pub central_nonce: String,
}

/// `POST /cluster/v1/join`: the proof.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinRequest {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// Who asks.
    pub node: NodeId,
    /// As in the challenge.
    pub node_nonce: String,
    /// As in the answer.
    pub central_nonce: String,
    /// HMAC with the join secret over cluster, node and both nonces; hex.
    pub proof: String,
    /// HMAC with the node's own key over the same, where it has one; hex. A node id that the
    /// cluster knows is given its key only with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_proof: Option<String>,
    /// The key id of `key_proof`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<KeyId>,
}

/// The node's key, sealed with a key derived from the join secret and both nonces.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct JoinAnswer {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The cluster.
    pub cluster: ClusterId,
    /// Which key this is.
    pub key_id: KeyId,
    /// ChaCha20-Poly1305 of the 32-byte key; hex.
    pub sealed_key: String,
}

/// `POST /cluster/v1/heartbeat`, every 5 s.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// Who beats.
    pub node: NodeId,
    /// The cluster it belongs to.
    pub cluster: ClusterId,
    /// Made anew at each start, and `sequence` rises within it: a repeated beat is refused.
    pub boot: UploadId,
    /// Rises with each beat.
    pub sequence: u64,
    /// `ledger_time` of the newest answer. Without one of the last minute a beat is answered
    /// and not counted, so that nobody can repeat those of an earlier start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard: Option<Timestamp>,
    /// Where it stands.
    pub place: Place,
    /// What fails together with it.
    pub failure_domain: Label,
    /// Where people download from it.
    pub public_url: String,
    /// The port it listens on.
    pub internal_port: u16,
    /// The address central reaches it at; where none is given, the one the beat came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub internal_address: Option<std::net::IpAddr>,
    /// Its build.
    pub version: Label,
    /// Bytes of its filesystem.
    pub total_bytes: u64,
    /// Bytes that an upload can reserve.
    pub free_bytes: u64,
    /// Sessions that live now.
    pub sessions: u64,
    /// What it does now; nothing is known of a node that does not say it.
    #[serde(default)]
    pub activity: Activity,
    /// The highest epoch it ever saw.
    pub highest_epoch: u64,
    /// It stops: it is not to be used from now on.
    #[serde(default)]
    pub goodbye: bool,
    /// It ignores what it does not know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_more: bool,
    /// It takes calls by TLS, at this port, with a certificate for the host of `public_url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_port: Option<u16>,
}

/// What a node is doing at a heartbeat.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Activity {
    /// Uploads whose bytes it takes now.
    pub receiving: u64,
    /// Downloads, and copies for other nodes, that it sends now.
    pub sending: u64,
    /// Bytes that it took since the beat before, a second.
    pub received_bytes_per_s: u64,
    /// Bytes that it read to be sent since the beat before, a second.
    pub sent_bytes_per_s: u64,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The ledger's time, by which tickets expire.
    pub ledger_time: Timestamp,
    /// The ledger's epoch.
    pub epoch: u64,
    /// Whether the beat counted; if not, the next one that names `ledger_time` does.
    pub counted: bool,
    /// Central ignores what it does not know.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_more: bool,
    /// Where the signing root was changed: the id of the key that the node gets when it joins again.
    /// Until it has it, the one it has goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newer_key: Option<KeyId>,
    /// What was signed with the node's former key is of use for so long after this, in milliseconds;
    /// a central that does not say it has not changed any key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_key_lives_ms: Option<u64>,
}

/// `POST /cluster/v1/outcome`: what is to become of a prepared session?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutcomeRequest {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The session.
    pub upload: UploadId,
    /// What it holds.
    pub sha1: Sha1,
    /// As in its receipt.
    pub decide_before: Timestamp,
}

/// The answer to [`OutcomeRequest`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum OutcomeAnswer {
    /// Finish it, then say so with [`ConfirmRequest`].
    Finish(super::node::FinishRequest),
    /// Abort it.
    Abort,
    /// Keep it and ask again.
    Keep,
}

/// `POST /cluster/v1/confirm`: the node finished a session on its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfirmRequest {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// The blob.
    pub sha1: Sha1,
    /// The decision it was finished at.
    pub generation: Generation,
}

/// `POST /n/v1/prove` on the node: does it have its key, at the address it named?
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProveRequest {
    /// [`super::PROTOCOL`].
    pub protocol: u32,
    /// Whom central believes to be there.
    pub node: NodeId,
    /// 32 random bytes, hex.
    pub nonce: String,
}

/// The answer: HMAC with the node's key over its id and the nonce.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProveAnswer {
    /// Hex.
    pub proof: String,
}
