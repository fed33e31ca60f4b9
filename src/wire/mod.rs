//! Types that cross the network. Each protocol carries its version from the start.

pub mod api;
pub mod cluster;
pub mod node;

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The version of what central and nodes say to each other. It rises only when a side that does not
/// know the change would do something wrong. A field that is added needs no new version: whoever does not
/// know it ignores it, and whoever misses it has a default. What is signed is always the bytes as they
/// came; a receipt alone is signed by its fields, so a new field there needs a new label of that signature.
pub const PROTOCOL: u32 = 1;

/// Why a message is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It is of another version.
    #[error(transparent)]
    Version(#[from] OtherVersion),
    /// It is no message of this kind.
    #[error("it cannot be read: {0}")]
    Unreadable(String),
}

/// The other side speaks a version that is not understood here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherVersion {
    /// Theirs.
    pub theirs: u32,
}

impl std::error::Error for OtherVersion {}

impl std::fmt::Display for OtherVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let theirs = self.theirs;
        let who = if theirs > PROTOCOL { "this side" } else { "the other side" };
        let closeby = env!("CARGO_PKG_VERSION");
        write!(
            f,
            "version {theirs} of the cluster's protocol is not spoken here (closeby {closeby} speaks version \
             {PROTOCOL}): update {who}"
        )
    }
}

/// Whether a message's version is understood.
///
/// # Errors
/// [`OtherVersion`], when it is not.
pub const fn speaks(theirs: u32) -> Result<(), OtherVersion> {
    if theirs == PROTOCOL { Ok(()) } else { Err(OtherVersion { theirs }) }
}

/// Reads a message. Its version is looked at first: one of another version may look quite
/// different, and what is to be done is to update, not to search for a damaged message.
///
/// # Errors
/// [`Unread`].
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Unread> {
    #[derive(Deserialize)]
    struct Version {
        #[serde(default)]
        protocol: Option<u32>,
    }
    let unreadable = |error: serde_json::Error| Unread::Unreadable(error.to_string());
    let Version { protocol } = serde_json::from_slice(body).map_err(unreadable)?;
    if let Some(theirs) = protocol {
        speaks(theirs)?;
    }
    serde_json::from_slice(body).map_err(unreadable)
}

/// The header that carries a ticket for a call to a node.
pub const TICKET_HEADER: &str = "closeby-ticket";

/// The header that carries a node's signature of a call to central, and central's of its
/// answer: base64url of an HMAC-SHA256.
pub const SIGNATURE_HEADER: &str = "closeby-signature";

/// The header that names the node that calls central.
pub const NODE_HEADER: &str = "closeby-node";

/// The header that names the key a signature was made with.
pub const KEY_HEADER: &str = "closeby-key";
