//! The one place that maps what services refuse to a status and a code. People see what
//! they can act on; the log gets the cause, once.

use std::time::Duration;

use crate::domain::{InvalidDigest, InvalidName};
use crate::service::central::LedgerError;
use crate::service::central::complete::CompleteError;
use crate::service::central::link::LinkError;
use crate::service::central::upload::UploadError;

use crate::service::central::resumable::{ResumableEnd, ResumeError};

use super::problem::{ApiError, ProblemKind};

/// One of many unfinished uploads may have come to its end by then.
const UNFINISHED_RETRY: Duration = Duration::from_mins(1);

impl From<LedgerError> for ApiError {
    fn from(error: LedgerError) -> Self {
        if let LedgerError::OtherOrder { .. } = error {
            return Self::new(ProblemKind::BadRequest, error.to_string());
        }
        tracing::error!(%error, "the ledger failed");
        match error {
            LedgerError::Unavailable(_) => {
                Self::new(ProblemKind::Unavailable, "the ledger does not answer right now: try again soon")
            }
            LedgerError::Damaged(_)
            | LedgerError::TooNew { .. }
            | LedgerError::TooOld { .. }
            | LedgerError::OtherOrder { .. } => Self::new(
                ProblemKind::Internal,
                "the ledger cannot be read: the operator finds the cause in the log",
            ),
        }
    }
}

impl From<CompleteError> for ApiError {
    fn from(error: CompleteError) -> Self {
        match error {
            CompleteError::Conflict { .. } => Self::new(ProblemKind::Collision, error.to_string()),
            CompleteError::Refused(why) => {
                tracing::warn!(%why, "receipts were refused");
                Self::new(ProblemKind::Unavailable, "the upload could not be decided in time: send it again")
            }
            CompleteError::Ledger(error) => error.into(),
            CompleteError::Unconfirmed => Self::new(ProblemKind::Unavailable, error.to_string()),
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let kind = match error {
            UploadError::Complete(error) => return error.into(),
            UploadError::TooLarge { .. } => ProblemKind::TooLarge,
            UploadError::Busy => ProblemKind::Busy,
            UploadError::NotEnoughNodes | UploadError::NodesFailed | UploadError::Stopping => {
                ProblemKind::Unavailable
            }
            UploadError::NoSpace => ProblemKind::NoSpace,
            UploadError::Stalled => ProblemKind::Timeout,
            UploadError::Incomplete => ProblemKind::Incomplete,
            UploadError::WrongDigest(_) => ProblemKind::WrongDigest,
            UploadError::CollisionAttack => ProblemKind::CollisionAttack,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<ResumableEnd> for ApiError {
    fn from(end: ResumableEnd) -> Self {
        let kind = match end {
            ResumableEnd::Terminated | ResumableEnd::Expired => ProblemKind::Ended,
            ResumableEnd::WrongDigest => ProblemKind::WrongDigest,
            ResumableEnd::CollisionAttack => ProblemKind::CollisionAttack,
            ResumableEnd::Collision => ProblemKind::Collision,
        };
        Self::new(kind, ResumeError::Ended(end).to_string())
    }
}

impl From<ResumeError> for ApiError {
    fn from(error: ResumeError) -> Self {
        let kind = match error {
            ResumeError::Upload(error) => return error.into(),
            ResumeError::Ended(end) => return end.into(),
            ResumeError::WrongOffset(offset) => {
                return Self::new(ProblemKind::WrongOffset, error.to_string()).offset(offset);
            }
            ResumeError::TooManyUnfinished(_) => {
                return Self::new(ProblemKind::TooMany, error.to_string()).retry_after(UNFINISHED_RETRY);
            }
            ResumeError::NotFound => ProblemKind::NotFound,
            ResumeError::TooMany(_) => ProblemKind::TooLarge,
            ResumeError::Checksum => ProblemKind::ChecksumMismatch,
            ResumeError::TakenOver => ProblemKind::Conflict,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<LinkError> for ApiError {
    fn from(error: LinkError) -> Self {
        let kind = match error {
            LinkError::Ledger(error) => return error.into(),
            LinkError::NotFound | LinkError::NoSuchReplica => ProblemKind::NotFound,
            LinkError::NoHealthyReplica => ProblemKind::Unavailable,
            LinkError::InvalidFrom(_) => ProblemKind::BadRequest,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<InvalidName> for ApiError {
    fn from(error: InvalidName) -> Self {
        Self::new(ProblemKind::InvalidName, error.to_string())
    }
}

impl From<InvalidDigest> for ApiError {
    fn from(error: InvalidDigest) -> Self {
        Self::new(ProblemKind::MalformedDigest, error.to_string())
    }
}
