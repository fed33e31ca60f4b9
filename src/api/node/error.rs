//! The one place where what a node fails with becomes a status and a stable code.

use super::{ApiError, ProblemKind};
use crate::service::node::{NodeError, StoreError, TicketError};

impl From<NodeError> for ApiError {
    fn from(error: NodeError) -> Self {
        let kind = match &error {
            NodeError::Ticket(TicketError::Expired) => ProblemKind::Expired,
            NodeError::Ticket(TicketError::Forbidden) => ProblemKind::Forbidden,
            NodeError::NotReady => ProblemKind::Unavailable,
            NodeError::Busy => ProblemKind::Busy,
            NodeError::BadRequest(_) | NodeError::Version(_) => ProblemKind::BadRequest,
            NodeError::Interrupted => ProblemKind::Incomplete,
            NodeError::Stalled => ProblemKind::Timeout,
            NodeError::TakenOver => ProblemKind::Conflict,
            NodeError::Checksum => ProblemKind::ChecksumMismatch,
            NodeError::Source(_) => ProblemKind::BadGateway,
            NodeError::Store(error) => of_store(error),
        };
        if kind == ProblemKind::Internal {
            tracing::error!(%error, "a call failed");
            return Self::new(kind, "the disk of this server failed");
        }
        let this = Self::new(kind, error.to_string());
        match error {
            NodeError::Store(StoreError::WrongOffset { at }) => this.offset(at),
            _ => this,
        }
    }
}

const fn of_store(error: &StoreError) -> ProblemKind {
    match error {
        StoreError::NoSpace => ProblemKind::NoSpace,
        StoreError::NoSession => ProblemKind::NoSession,
        StoreError::NoBlob => ProblemKind::NotFound,
        StoreError::WrongOffset { .. } => ProblemKind::WrongOffset,
        StoreError::SessionExists | StoreError::WrongState => ProblemKind::Conflict,
        StoreError::TooLong => ProblemKind::TooLarge,
        StoreError::TooShort { .. } => ProblemKind::Incomplete,
        StoreError::WrongDigest(_) => ProblemKind::WrongDigest,
        StoreError::Collision => ProblemKind::CollisionAttack,
        StoreError::Io(_) => ProblemKind::Internal,
    }
}
