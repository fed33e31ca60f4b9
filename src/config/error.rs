//! What stops a start.

use std::io;
use std::path::PathBuf;

/// Why a configuration is not taken. No message carries a secret, or any value that could be
/// one.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be made.
    #[error("cannot write {path}: {source}", path = path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The configuration file is wrong.
    #[error("{path}, line {line}: {message}", path = path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What.
        message: String,
    },
    /// A variable of the environment is wrong.
    #[error("{name} in the environment: {message}")]
    Variable {
        /// Which.
        name: String,
        /// What.
        message: String,
    },
    /// A value is wrong or missing.
    #[error("`{key}` {message}")]
    Key {
        /// Which, with the tables it stands in: `limits.file_bytes`.
        key: &'static str,
        /// What, and what to do.
        message: String,
    },
}

impl ConfigError {
    /// About a key.
    pub(super) fn key(key: &'static str, message: impl Into<String>) -> Self {
        Self::Key { key, message: message.into() }
    }
}
