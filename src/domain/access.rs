//! Who may do what on a store.

use std::fmt;
use std::str::FromStr;

use super::Scope;

/// Who may do one kind of thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Everybody who reaches the server.
    Anyone,
    /// Who shows a token that is good for it.
    Token,
}

/// Nobody is called so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is `anyone` or `token`")]
pub struct UnknownEntry;

impl Entry {
    /// What it is called.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Token => "token",
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for Entry {
    type Err = UnknownEntry;

    fn from_str(text: &str) -> Result<Self, UnknownEntry> {
        [Self::Anyone, Self::Token].into_iter().find(|entry| entry.code() == text).ok_or(UnknownEntry)
    }
}

/// Who may do what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Storing files.
    pub upload: Entry,
    /// The list of files, searching it, and whatever else tells of files that one does not know.
    pub list: Entry,
    /// Files whose link one has.
    pub read: Entry,
    /// Asking which copy another address would get; a token for it has the scope `admin`.
    pub explain: Entry,
}

impl Access {
    /// Everything to everybody: the demo's.
    pub const OPEN: Self =
        Self { upload: Entry::Anyone, list: Entry::Anyone, read: Entry::Anyone, explain: Entry::Anyone };

    /// Who may do what this scope is for. What an operator does always takes a token.
    #[must_use]
    pub const fn entry(&self, scope: Scope) -> Entry {
        match scope {
            Scope::Upload => self.upload,
            Scope::List => self.list,
            Scope::Read => self.read,
            Scope::Admin => Entry::Token,
        }
    }
}

impl Default for Access {
    /// A public store tells nobody which files it holds and takes nothing from strangers; links open.
    fn default() -> Self {
        Self { upload: Entry::Token, list: Entry::Token, read: Entry::Anyone, explain: Entry::Token }
    }
}
