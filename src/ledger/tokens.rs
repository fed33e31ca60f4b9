//! Tokens as the ledger knows them.

use crate::domain::{Label, Scopes, Sha256, Timestamp, TokenId};

/// A token to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What it is called where it must not be said.
    pub id: TokenId,
    /// What the operator calls it.
    pub name: Option<Label>,
    /// What it is good for.
    pub scopes: Scopes,
    /// SHA-256 of the token: all that is kept of it.
    pub sha256: Sha256,
    /// From then on it counts no longer.
    pub expires_at: Option<Timestamp>,
}

/// A token that was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// What it is called where it must not be said.
    pub id: TokenId,
    /// What the operator calls it.
    pub name: Option<Label>,
    /// What it is good for.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it counts no longer.
    pub expires_at: Option<Timestamp>,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
}

impl TokenRecord {
    /// Whether it counts at this moment.
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|end| now < end)
    }
}
