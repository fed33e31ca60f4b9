//! What keeps a node from speaking with its cluster.

use crate::cluster::identity::IdentityError;
use crate::domain::ClusterId;
use crate::tickets;
use crate::wire::OtherVersion;

/// What keeps a node from speaking with its cluster.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No answer.
    #[error("central does not answer: {0}")]
    Unreachable(String),
    /// Central said no.
    #[error("central refused the call with status {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        detail: String,
    },
    /// An answer that is not central's, or not one that can be read.
    #[error("central's answer is not taken: {0}")]
    BadAnswer(&'static str),
    /// Central speaks another version.
    #[error("central's answer is not taken: {0}")]
    Version(#[from] OtherVersion),
    /// The data folder is another cluster's.
    #[error("this node belongs to cluster {ours}; central is of cluster {theirs}")]
    ForeignCluster {
        /// Ours.
        ours: ClusterId,
        /// Central's.
        theirs: ClusterId,
    },
    /// The join secrets differ.
    #[error(transparent)]
    Seal(#[from] tickets::SealError),
    /// The identity cannot be read or kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A signed call before the first join.
    #[error("this node has not joined a cluster yet")]
    NotJoined,
}

impl AgentError {
    /// Whether it is worth trying again without a change of this node's configuration.
    #[must_use]
    pub const fn can_pass(&self) -> bool {
        !matches!(self, Self::ForeignCluster { .. } | Self::Identity(_))
    }
}
