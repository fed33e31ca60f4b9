//! The node's side of the cluster: it joins, beats, and asks what became of its sessions.

mod calls;
mod error;
mod join;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;
use url::Url;

use crate::cluster::clock::LedgerClock;
use crate::cluster::identity::{Identity, IdentityError, IdentityFile};
use crate::cluster::keys::{SharedKeys, SharedSecret};
use crate::domain::{Label, Place, Timestamp, UploadId};
use crate::tickets::JoinSecret;
use crate::wire::cluster::{
    Activity, ConfirmRequest, Heartbeat, HeartbeatAnswer, OutcomeAnswer, OutcomeRequest,
};
use crate::wire::{PROTOCOL, speaks};

use calls::encode;
pub use error::AgentError;

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
}
