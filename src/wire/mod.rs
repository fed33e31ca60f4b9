//! Types that cross the network. Each protocol carries its version from the start.

pub mod api;
pub mod cluster;
pub mod node;

/// The version of what central and nodes say to each other.
pub const PROTOCOL: u32 = 1;

/// The header that carries a ticket for a call to a node.
pub const TICKET_HEADER: &str = "closeby-ticket";

/// The header that carries a node's signature of a call to central, and central's of its
/// answer: base64url of an HMAC-SHA256.
pub const SIGNATURE_HEADER: &str = "closeby-signature";

/// The header that names the node that calls central.
pub const NODE_HEADER: &str = "closeby-node";

/// The header that names the key a signature was made with.
pub const KEY_HEADER: &str = "closeby-key";
