//! Who may do what: the store's rules, and the tokens that the ledger knows.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::ClientAddress;
use crate::domain::{Access, Entry, InvalidToken, Scope, Sha256, Timestamp, Token};
use crate::ledger::{Ledger, LedgerError, TokenRecord};

/// A token as the ledger knew it may be so old: revoking one counts everywhere within 5 s.
const CACHE_FOR: Duration = Duration::from_secs(4);
const _: () = assert!(CACHE_FOR.as_secs() < 5, "no cache decides anything for longer");
/// Tokens that are remembered.
const CACHED_TOKENS: u64 = 10_000;

/// What somebody showed to be let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// Nothing.
    Nothing,
    /// Something that is no token.
    Unreadable,
    /// A token, good or not.
    Token(Token),
}

impl Shown {
    /// A text that somebody gave as a token; an empty one is nothing.
    #[must_use]
    pub fn read(text: &str) -> Self {
        if text.trim().is_empty() {
            return Self::Nothing;
        }
        text.parse().map_or_else(|InvalidToken| Self::Unreadable, Self::Token)
    }
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error)]
pub enum Denied {
    /// No token was shown.
    #[error("this needs a token")]
    Missing,
    /// What was shown is no token, or none that counts: unknown, revoked and expired ones are not told apart.
    #[error("this token does not count here: it may have been revoked, or have expired")]
    Invalid,
    /// The token is good for something else.
    #[error("this token is not good for this: it needs the scope `{0}`")]
    Lacking(Scope),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Decides who may do what.
#[derive(Clone)]
pub struct AccessService {
    ledger: Arc<dyn Ledger>,
    access: Access,
    networks: Vec<IpNet>,
    /// Tokens that counted when they were looked up. Unknown ones are not remembered: a new token counts at
    /// once, and nobody can fill this with inventions.
    tokens: moka::sync::Cache<Sha256, Arc<TokenRecord>>,
}

impl AccessService {
    /// With the ledger that knows the tokens, the store's rules, and the cluster's own networks.
    #[must_use]
    pub fn new(ledger: Arc<dyn Ledger>, access: Access, networks: Vec<IpNet>) -> Self {
        let tokens = moka::sync::Cache::builder().max_capacity(CACHED_TOKENS).time_to_live(CACHE_FOR).build();
        Self { ledger, access, networks, tokens }
    }

    /// Who may do what.
    #[must_use]
    pub const fn rules(&self) -> &Access {
        &self.access
    }

    /// Whether everybody may do what any of these scopes is for.
    #[must_use]
    pub fn is_open(&self, any_of: &[Scope]) -> bool {
        any_of.iter().any(|scope| self.access.entry(*scope) == Entry::Anyone)
    }

    /// Lets somebody in who may do what any of these scopes is for.
    ///
    /// # Errors
    /// [`Denied`].
    pub async fn admit(&self, any_of: &[Scope], shown: &Shown) -> Result<(), Denied> {
        if self.is_open(any_of) {
            return Ok(());
        }
        let token = match shown {
            Shown::Nothing => return Err(Denied::Missing),
            Shown::Unreadable => return Err(Denied::Invalid),
            Shown::Token(token) => self.find(token).await?,
        };
        decide(any_of, token.as_deref(), self.ledger.now())
    }

    async fn find(&self, token: &Token) -> Result<Option<Arc<TokenRecord>>, LedgerError> {
        let digest = token.digest();
        if let Some(known) = self.tokens.get(&digest) {
            return Ok(Some(known));
        }
        // Found by its digest: how long that takes says nothing of a token that one does not have.
        let found = self.ledger.find_token(digest).await?.map(Arc::new);
        if let Some(found) = found.as_ref().filter(|found| found.revoked_at.is_none()) {
            self.tokens.insert(digest, Arc::clone(found));
        }
        Ok(found)
    }

    /// Whether a request comes from beside us: its peer is this machine or in the cluster's networks, and
    /// speaks for itself, or for somebody (`spoken_for`) of whom the same is known.
    #[must_use]
    pub fn is_inside(&self, peer: IpAddr, spoken_for: Option<ClientAddress>) -> bool {
        let is_ours = |address: IpAddr| {
            let address = address.to_canonical();
            address.is_loopback() || self.networks.iter().any(|network| network.contains(&address))
        };
        is_ours(peer) && spoken_for.is_none_or(|client| client.address().is_some_and(is_ours))
    }
}

/// What a token is let do at this moment.
fn decide(any_of: &[Scope], token: Option<&TokenRecord>, now: Timestamp) -> Result<(), Denied> {
    let Some(token) = token.filter(|token| token.is_good(now)) else { return Err(Denied::Invalid) };
    if any_of.iter().any(|scope| token.scopes.allow(*scope)) {
        return Ok(());
    }
    Err(Denied::Lacking(any_of.first().copied().unwrap_or(Scope::Admin)))
}

#[cfg(test)]
#[path = "access_tests.rs"]
mod tests;
