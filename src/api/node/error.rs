//! The one place where what a node fails with becomes a status and a stable code.

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;

use super::{ApiError, ProblemKind};
use crate::metrics::NodeMetrics;
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
            return match error {
                NodeError::Store(error) if error.is_disks_fault() => {
                    Self::new(kind, "the disk of this server failed").of_disk()
                }
                _ => Self::new(kind, "this server failed"),
            };
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

/// Counts the calls that failed because the disk did, as only the error knows it.
///
/// # Errors
/// What comes from further in.
pub async fn count_disk_errors<B: MessageBody>(
    metrics: NodeMetrics,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let result = next.call(request).await;
    let error = match &result {
        Ok(response) => response.response().error(),
        Err(error) => Some(error),
    };
    if error.and_then(|error| error.as_error::<ApiError>()).is_some_and(ApiError::is_disks_fault) {
        metrics.disk_failed();
    }
    result
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn only_what_the_disk_answered_is_its_fault() {
        let error = StoreError::Io(io::Error::other("a job broke down"));
        assert!(!ApiError::from(NodeError::Store(error)).is_disks_fault());
        assert!(!ApiError::from(NodeError::Store(StoreError::NoSpace)).is_disks_fault());
    }
}
