//! The node's side of the cluster: it joins, beats, and asks what became of its sessions.

mod error;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use crate::cluster::clock::LedgerClock;
use crate::cluster::http::traced;
use crate::cluster::identity::{Identity, IdentityError, IdentityFile};
use crate::cluster::keys::{SharedKeys, SharedSecret};
use crate::domain::{ClusterId, KeyId, Label, NodeId, Place, Timestamp, UploadId};
use crate::tickets::{self, JoinSecret, NodeKey};
use crate::wire::cluster::{
    Activity, ChallengeAnswer, ChallengeRequest, ConfirmRequest, Heartbeat, HeartbeatAnswer, JoinAnswer,
    JoinRequest, OutcomeAnswer, OutcomeRequest,
};
use crate::wire::{self, KEY_HEADER, NODE_HEADER, PROTOCOL, SIGNATURE_HEADER, Unread, speaks};

pub use error::AgentError;

/// How long a call to central may take in all.
const CALL: Duration = Duration::from_secs(4);
/// No answer of central is longer, in bytes: a finish carries a blob's files.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// What an agent says of its node.
#[derive(Debug, Clone)]
pub struct AgentOptions {
    /// Where central is.
    pub central_url: Url,
    /// Proves the right to become a node.
    pub join_secret: SharedSecret<JoinSecret>,
    /// Where the node stands.
    pub place: Place,
    /// What fails together with it.
    pub failure_domain: Label,
    /// Where people download from it.
    pub public_url: Url,
    /// The port it listens on.
    pub internal_port: u16,
    /// The address central reaches it at, where it is not the one its calls come from.
    pub internal_address: Option<IpAddr>,
    /// The port at which it takes calls by TLS, if it does.
    pub tls_port: Option<u16>,
    /// Its build.
    pub version: Label,
}

/// What changes from one heartbeat to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vitals {
    /// Bytes of its filesystem.
    pub total_bytes: u64,
    /// Bytes that an upload can reserve.
    pub free_bytes: u64,
    /// Sessions that live now.
    pub sessions: u64,
    /// What it does now.
    pub activity: Activity,
}

/// Speaks with central for its node. Sets the keys and the clock that the node's service
/// uses.
#[derive(Debug)]
pub struct Agent {
    options: AgentOptions,
    http: reqwest::Client,
    file: IdentityFile,
    keys: SharedKeys,
    clock: LedgerClock,
    boot: UploadId,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    identity: Option<Identity>,
    sequence: u64,
    /// The ledger's time, as the last answer said it.
    heard: Option<Timestamp>,
    /// What the last beat failed with, so that each change is logged once.
    trouble: Option<String>,
    beats: bool,
    /// The epoch that was last complained about.
    old_epoch: Option<u64>,
    /// Since when central knows the newest of several keys. Not kept: a restart only has the former
    /// ones live longer.
    newest_since: Option<Instant>,
    /// Central takes what 0.1 did not know.
    reads_more: bool,
    /// What the last try to get a newer key failed with.
    renewal: Option<String>,
}

/// A join on its way: who asks, and what both sides sign.
struct Challenge {
    cluster: ClusterId,
    node: NodeId,
    node_nonce: String,
    central_nonce: String,
}

impl Agent {
    /// Takes up the identity that is kept in the node's folder, if any.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn new(
        options: AgentOptions,
        http: reqwest::Client,
        file: IdentityFile,
        keys: SharedKeys,
        clock: LedgerClock,
    ) -> Result<Self, IdentityError> {
        let identity = file.load()?;
        if let Some(identity) = &identity {
            keys.set(identity.keys.clone());
        }
        let state = State {
            identity,
            sequence: 0,
            heard: None,
            trouble: None,
            beats: false,
            old_epoch: None,
            newest_since: None,
            reads_more: false,
            renewal: None,
        };
        Ok(Self { options, http, file, keys, clock, boot: UploadId::random(), state: Mutex::new(state) })
    }

    /// Who the node is; none before it joined first.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.state().identity.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Joins, or joins again: proves the join secret and gets the node's key, sealed.
    ///
    /// # Errors
    /// When central does not answer, refuses, or is another cluster's.
    pub async fn join(&self) -> Result<Identity, AgentError> {
        let known = self.identity();
        // Without a key each try is a new node: central may have bound the id of one whose
        // answer was lost, and a bound id comes back only with its key.
        let node = known.as_ref().map_or_else(NodeId::random, |identity| identity.node);
        let node_nonce = format!("{}{}", UploadId::random(), UploadId::random());
        let request = ChallengeRequest { protocol: PROTOCOL, node, node_nonce: node_nonce.clone() };
        let challenge: ChallengeAnswer = parse(&self.post("challenge", encode(&request)?, None).await?.0)?;
        let cluster = challenge.cluster;
        if let Some(identity) = known.as_ref().filter(|identity| identity.cluster != cluster) {
            return Err(AgentError::ForeignCluster { ours: identity.cluster, theirs: cluster });
        }
        let challenge = Challenge { cluster, node, node_nonce, central_nonce: challenge.central_nonce };
        let key = self.ask_for_key(&challenge, known.as_ref()).await?;
        let id = key.id();
        let mut identity =
            known.unwrap_or(Identity { node, cluster, keys: vec![], highest_epoch: 0, has_store: false });
        let is_newer = identity.newest_key().is_none_or(|newest| newest.id() != id);
        identity.add_key(key);
        self.keep(identity.clone()).await?;
        // Joining again with the key it has keeps no former one alive for longer.
        if is_newer {
            self.state().newest_since = None;
        }
        tracing::info!(%node, %cluster, key = %id, "joined the cluster");
        Ok(identity)
    }

    /// Proves each secret and each key that may be the one that central believes, so that it does
    /// not matter on which side a secret is changed first.
    async fn ask_for_key(
        &self,
        challenge: &Challenge,
        known: Option<&Identity>,
    ) -> Result<NodeKey, AgentError> {
        let keys: Vec<Option<&NodeKey>> = match known {
            // The newest first; an older one counts where central went back to the root before.
            Some(identity) => identity.keys.iter().rev().map(Some).collect(),
            None => vec![None],
        };
        let secrets = self.options.join_secret.get();
        let mut refused = None;
        for secret in secrets.iter() {
            for key in &keys {
                match self.ask_with(challenge, secret, *key).await {
                    // What the first try is refused for is what is to be done about.
                    Err(error @ AgentError::Refused { status: 403, .. }) => {
                        refused.get_or_insert(error);
                    }
                    answered => return answered,
                }
            }
        }
        Err(refused.unwrap_or(AgentError::NotJoined))
    }

    async fn ask_with(
        &self,
        challenge: &Challenge,
        secret: &JoinSecret,
        own_key: Option<&NodeKey>,
    ) -> Result<NodeKey, AgentError> {
        let Challenge { cluster, node, ref node_nonce, ref central_nonce } = *challenge;
        let request = JoinRequest {
            protocol: PROTOCOL,
            node,
            proof: secret.prove(cluster, node, node_nonce, central_nonce),
            key_proof: own_key.map(|key| key.prove_join(cluster, node, node_nonce, central_nonce)),
            key_id: own_key.map(NodeKey::id),
            node_nonce: node_nonce.clone(),
            central_nonce: central_nonce.clone(),
        };
        let answer: JoinAnswer = parse(&self.post("join", encode(&request)?, None).await?.0)?;
        if answer.cluster != cluster {
            return Err(AgentError::BadAnswer("it names another cluster than the challenge"));
        }
        let (id, sealed) = (answer.key_id, &answer.sealed_key);
        Ok(tickets::open_key(secret, cluster, node, node_nonce, central_nonce, id, sealed)?)
    }

    /// Remembers that the node's store was opened, so that its folder must have a marker from
    /// now on.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub async fn store_is_open(&self) -> Result<(), AgentError> {
        let mut identity = self.identity().ok_or(AgentError::NotJoined)?;
        if identity.has_store {
            return Ok(());
        }
        identity.has_store = true;
        self.keep(identity).await
    }

    async fn keep(&self, identity: Identity) -> Result<(), AgentError> {
        let (file, kept) = (self.file.clone(), identity.clone());
        tokio::task::spawn_blocking(move || file.save(&kept))
            .await
            .map_err(|error| IdentityError::Io(std::io::Error::other(error)))??;
        self.keys.set(identity.keys.clone());
        self.state().identity = Some(identity);
        Ok(())
    }

    /// Beats once, and joins again first where central does not know this node's key. Learns
    /// the ledger's time. Logs when beats begin to fail, fail otherwise, or come through again.
    ///
    /// # Errors
    /// When central does not answer, refuses, or the answer is not central's.
    pub async fn beat(&self, vitals: Vitals) -> Result<HeartbeatAnswer, AgentError> {
        let result = match self.heartbeat(vitals, false).await {
            Err(AgentError::NotJoined | AgentError::Refused { status: 401 | 403, .. }) => {
                match self.join().await {
                    Ok(_) => self.heartbeat(vitals, false).await,
                    Err(error) => Err(error),
                }
            }
            result => result,
        };
        let result = match result {
            Ok(HeartbeatAnswer { newer_key: Some(id), .. }) if self.renew(id).await => {
                // Central signs with the new key from this beat on.
                self.heartbeat(vitals, false).await
            }
            result => result,
        };
        self.note(&result);
        result
    }

    /// Gets the newer key that central has for this node; says whether it has it now. Without it the
    /// node goes on with the one it has, and tries again with the next beat.
    async fn renew(&self, newer: KeyId) -> bool {
        let has_it = |identity: &Identity| identity.newest_key().is_some_and(|key| key.id() == newer);
        if self.identity().as_ref().is_some_and(has_it) {
            return false;
        }
        let trouble = match self.join().await {
            Ok(_) => None,
            Err(error) => Some(error.to_string()),
        };
        let mut state = self.state();
        if let Some(error) = trouble.as_ref().filter(|_| state.renewal != trouble) {
            tracing::warn!(
                error,
                "central has a newer key for this node, which could not be fetched: as soon as the former signing \
                 root is taken away there, this node is refused"
            );
        }
        let has_renewed = trouble.is_none();
        state.renewal = trouble;
        has_renewed
    }

    /// Keeps the newest key alone once nothing that was signed with a former one is of use any more.
    async fn forget_former_keys(&self, answer: &HeartbeatAnswer) -> Result<(), AgentError> {
        let over = {
            let mut state = self.state();
            let has_former = state.identity.as_ref().is_some_and(|identity| identity.keys.len() > 1);
            let lives = answer.former_key_lives_ms.map(Duration::from_millis);
            let Some(lives) = lives.filter(|_| has_former && answer.counted && answer.newer_key.is_none())
            else {
                return Ok(());
            };
            let since = *state.newest_since.get_or_insert_with(Instant::now);
            state.identity.clone().filter(|_| since.elapsed() >= lives)
        };
        let Some(mut identity) = over else { return Ok(()) };
        identity.forget_former_keys();
        self.keep(identity).await?;
        tracing::info!("the former key of this node is over: nothing that it signed is of use any more");
        Ok(())
    }

    /// Says that the node stops, so that nothing is sent to it from now on.
    ///
    /// # Errors
    /// As [`Agent::beat`]; nobody needs to act on it, as central notices a silent node.
    pub async fn goodbye(&self, vitals: Vitals) -> Result<(), AgentError> {
        self.heartbeat(vitals, true).await.map(|_| ())
    }

    fn note(&self, result: &Result<HeartbeatAnswer, AgentError>) {
        let mut state = self.state();
        match result {
            Ok(_) if !state.beats => {
                state.beats = true;
                state.trouble = None;
                tracing::info!(central = %self.options.central_url, "central hears this node");
            }
            Ok(_) => {}
            Err(error) => {
                let trouble = error.to_string();
                if state.trouble.as_ref() != Some(&trouble) {
                    tracing::warn!(central = %self.options.central_url, %error, "central does not hear this node");
                    state.trouble = Some(trouble);
                }
                state.beats = false;
            }
        }
    }

    /// One beat, or two: the first of a start learns the ledger's time, which the second names. The first
    /// to a central that was of 0.1 learns that this one may be told of TLS: until then it calls plainly.
    async fn heartbeat(&self, vitals: Vitals, goodbye: bool) -> Result<HeartbeatAnswer, AgentError> {
        let told_all = self.state().reads_more || self.options.tls_port.is_none();
        let first = self.one_beat(vitals, goodbye).await?;
        if first.counted && (told_all || !first.reads_more) {
            return Ok(first);
        }
        let second = self.one_beat(vitals, goodbye).await?;
        if second.counted { Ok(second) } else { Err(AgentError::BadAnswer("it counts no beat of this node")) }
    }

    async fn one_beat(&self, vitals: Vitals, goodbye: bool) -> Result<HeartbeatAnswer, AgentError> {
        let beat = {
            let mut state = self.state();
            let state = &mut *state;
            let identity = state.identity.as_ref().ok_or(AgentError::NotJoined)?;
            state.sequence += 1;
            Heartbeat {
                protocol: PROTOCOL,
                node: identity.node,
                cluster: identity.cluster,
                boot: self.boot,
                sequence: state.sequence,
                heard: state.heard,
                place: self.options.place.clone(),
                failure_domain: self.options.failure_domain.clone(),
                public_url: self.options.public_url.as_str().trim_end_matches('/').to_owned(),
                internal_port: self.options.internal_port,
                internal_address: self.options.internal_address,
                version: self.options.version.clone(),
                total_bytes: vitals.total_bytes,
                free_bytes: vitals.free_bytes,
                sessions: vitals.sessions,
                activity: vitals.activity,
                highest_epoch: identity.highest_epoch,
                goodbye,
                reads_more: state.reads_more,
                tls_port: self.options.tls_port.filter(|_| state.reads_more),
            }
        };
        let answer: HeartbeatAnswer = match self.signed("heartbeat", &beat).await {
            Err(error @ AgentError::Refused { status: 400, .. }) => {
                // Central may be of an older release than it was. A refusal is not signed, so a node
                // with TLS does not believe it: without the port, it would be called without TLS.
                if self.options.tls_port.is_none() {
                    self.state().reads_more = false;
                }
                return Err(error);
            }
            answer => answer?,
        };
        speaks(answer.protocol)?;
        self.clock.learn(answer.ledger_time);
        {
            let mut state = self.state();
            state.reads_more = answer.reads_more;
            state.heard = Some(answer.ledger_time);
        }
        self.see_epoch(answer.epoch).await?;
        self.forget_former_keys(&answer).await?;
        Ok(answer)
    }

    /// A lower epoch than one seen before means that an old ledger came back. That is central's
    /// to repair; here it removes nothing.
    async fn see_epoch(&self, epoch: u64) -> Result<(), AgentError> {
        let raised = {
            let mut state = self.state();
            let Some(identity) = &state.identity else { return Ok(()) };
            let highest = identity.highest_epoch;
            if epoch >= highest {
                state.old_epoch = None;
            } else if state.old_epoch != Some(epoch) {
                state.old_epoch = Some(epoch);
                tracing::error!(epoch, highest, "the ledger's epoch is older than one this node has seen");
            }
            state.identity.clone().filter(|_| epoch > highest)
        };
        let Some(mut identity) = raised else { return Ok(()) };
        identity.highest_epoch = epoch;
        self.keep(identity).await
    }

    /// Asks what is to become of a prepared session.
    ///
    /// # Errors
    /// When there is no answer that is central's.
    pub async fn outcome(&self, request: &OutcomeRequest) -> Result<OutcomeAnswer, AgentError> {
        self.signed("outcome", request).await
    }

    /// Says that a session was finished.
    ///
    /// # Errors
    /// When central did not take it.
    pub async fn confirm(&self, request: &ConfirmRequest) -> Result<(), AgentError> {
        self.signed_bytes("confirm", encode(request)?).await.map(|_| ())
    }

    async fn signed<T: DeserializeOwned>(
        &self,
        call: &'static str,
        request: &(impl Serialize + Sync),
    ) -> Result<T, AgentError> {
        parse(&self.signed_bytes(call, encode(request)?).await?)
    }

    /// One signed call, with its answer's signature checked.
    async fn signed_bytes(&self, call: &'static str, body: Vec<u8>) -> Result<Vec<u8>, AgentError> {
        let (node, key) = self
            .state()
            .identity
            .as_ref()
            .and_then(|identity| Some((identity.node, identity.newest_key()?.clone())))
            .ok_or(AgentError::NotJoined)?;
        let signature = tickets::sign_call(&key, call, node, &body);
        let (answer, answer_signature) = self.post(call, body, Some((node, &key, &signature))).await?;
        let is_centrals = answer_signature
            .is_some_and(|given| tickets::verify_answer(&key, call, &signature, &answer, &given));
        if is_centrals { Ok(answer) } else { Err(AgentError::BadAnswer("its signature is not central's")) }
    }

    /// The body and the signature of a good answer.
    async fn post(
        &self,
        call: &'static str,
        body: Vec<u8>,
        signed: Option<(NodeId, &NodeKey, &str)>,
    ) -> Result<(Vec<u8>, Option<String>), AgentError> {
        let mut url = self.options.central_url.clone();
        url.set_path(&format!("/cluster/v1/{call}"));
        let mut request = self
            .http
            .post(url)
            .timeout(CALL)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(body);
        if let Some((node, key, signature)) = signed {
            request = request
                .header(NODE_HEADER, node.to_string())
                .header(KEY_HEADER, key.id().to_string())
                .header(SIGNATURE_HEADER, signature);
        }
        let response = traced(request).send().await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let signature = response.headers().get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
        let signature = signature.map(str::to_owned);
        let answer = read(response).await?;
        if status == StatusCode::OK || status == StatusCode::NO_CONTENT {
            return Ok((answer, signature));
        }
        let detail = serde_json::from_slice::<crate::wire::api::Problem>(&answer)
            .map_or_else(|_| "it gave no reason".to_owned(), |problem| printable(&problem.detail));
        Err(AgentError::Refused { status: status.as_u16(), detail })
    }
}

/// The whole answer, if it is of a sensible length.
async fn read(mut response: Response) -> Result<Vec<u8>, AgentError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(AgentError::BadAnswer("it is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The error's deepest cause: what reqwest puts around it says less, and differs each time.
fn unreachable(error: &reqwest::Error) -> AgentError {
    if error.is_timeout() {
        return AgentError::Unreachable("it took too long".to_owned());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    AgentError::Unreachable(cause.to_string())
}

/// Somebody else's words in our log: a line of bounded length.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, AgentError> {
    serde_json::to_vec(value).map_err(|_| AgentError::BadAnswer("the request cannot be written"))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, AgentError> {
    wire::read(body).map_err(|error| match error {
        Unread::Version(version) => version.into(),
        Unread::Unreadable(_) => AgentError::BadAnswer("it cannot be read"),
    })
}
