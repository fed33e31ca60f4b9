//! Keys, and what they sign: tickets for one operation on one node, receipts, calls.
//!
//! Everything is HMAC-SHA256 (RFC 2104) over one canonical encoding (`encode::Encoder`):
//! a label with a version, then fields, each with its length before it. Nothing here reads
//! a clock or does I/O.

mod call;
mod encode;
mod key;
mod link;
mod message;
mod seal;

pub use call::{CallTicket, Operation};
pub use key::{InvalidKey, JoinSecret, NodeKey, NodeKeys, Rotating, SigningRoot};
pub use link::{Disposition, LinkTicket, link_expiry};
pub use message::{receipt_mac, sign_answer, sign_call, verify_answer, verify_call, verify_receipt};
pub use seal::{SealError, open_key, seal_key};

/// Why a ticket is not taken. What exactly is wrong with a forged one is nobody's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// The signature is right and its time is over.
    #[error("the ticket has expired: ask again for a new one")]
    Expired,
    /// Anything else.
    #[error("the ticket is not valid here")]
    Forbidden,
}
