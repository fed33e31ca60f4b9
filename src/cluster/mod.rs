//! The cluster. Central's side: membership and the client of a node's calls. A node's side:
//! how it joins, beats and asks ([`agent`]), its identity, its keys and the ledger's time.

pub mod agent;
pub mod clock;
pub mod http;
pub mod identity;
pub mod keys;
pub mod membership;
pub mod node_client;
#[cfg(test)]
#[allow(missing_docs)]
pub mod testing;
