//! How a node gets its keys from central, and when it forgets former ones.

use std::time::Duration;

use tokio::time::Instant;

use super::calls::{encode, parse};
use super::{Agent, AgentError};
use crate::cluster::identity::Identity;
use crate::domain::{ClusterId, KeyId, NodeId, UploadId};
use crate::tickets::{self, JoinSecret, NodeKey};
use crate::wire::PROTOCOL;
use crate::wire::cluster::{ChallengeAnswer, ChallengeRequest, HeartbeatAnswer, JoinAnswer, JoinRequest};

/// A join on its way: who asks, and what both sides sign.
struct Challenge {
    cluster: ClusterId,
    node: NodeId,
    node_nonce: String,
    central_nonce: String,
}

impl Agent {
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

    /// Gets the newer key that central has for this node; says whether it has it now. Without it the
    /// node goes on with the one it has, and tries again with the next beat.
    pub(super) async fn renew(&self, newer: KeyId) -> bool {
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
    pub(super) async fn forget_former_keys(&self, answer: &HeartbeatAnswer) -> Result<(), AgentError> {
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
}
