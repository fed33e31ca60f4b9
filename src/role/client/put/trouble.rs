//! What a server's refusal means for an upload in parts: to wait, to begin anew, or to give up.

use crate::role::client::ClientError;
use crate::role::client::http::Refusal;
use crate::wire::api::UploadedFile;

/// How one upload ended.
pub(super) enum End {
    Done(Box<UploadedFile>),
    /// The server does not know it any more, or cannot use what it has.
    Gone(ClientError),
    /// For good: nothing is left that could go on.
    Refused(ClientError),
    /// For now: the same command can go on.
    Lost(ClientError),
}

/// Why one step of an upload did not succeed.
pub(super) enum Trouble {
    /// It passes: ask again, not before so many seconds.
    Passing(ClientError, Option<u64>),
    /// As a passing one, but it is the server's own fault.
    Fault(ClientError),
    Gone(ClientError),
    Refused(ClientError),
    /// It does not pass by waiting, and ends no upload either.
    Lost(ClientError),
}

impl From<ClientError> for Trouble {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Http { .. } => Self::Passing(error, None),
            ClientError::Answer(_) | ClientError::File { .. } => Self::Lost(error),
            error => Self::Refused(error),
        }
    }
}

impl From<Refusal> for Trouble {
    fn from(Refusal { error, status, retry_after }: Refusal) -> Self {
        let Some(status) = status else { return error.into() };
        match status.as_u16() {
            404 | 410 => Self::Gone(error),
            // Another offset, or another request of ours still holds the upload. A collision
            // is for good.
            409 if !is_kind(&error, "collision") => Self::Passing(error, None),
            408 | 423 | 425 | 429 | 460 => Self::Passing(error, retry_after),
            500 => Self::Fault(error),
            502..=504 | 506 | 508.. => Self::Passing(error, retry_after),
            // With another token the same command goes on.
            401 | 403 => Self::Lost(error),
            // A node without room: what the other one has stays for a later start.
            507 => Self::Lost(error),
            _ => error.into(),
        }
    }
}

/// Whether the server refused it for this reason.
pub(super) fn is_kind(error: &ClientError, code: &str) -> bool {
    matches!(error, ClientError::Problem(problem) if problem.kind == format!("/problems/{code}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use reqwest::StatusCode;

    use super::*;
    use crate::wire::api::Problem;

    fn refusal(status: u16, kind: Option<&str>, retry_after: Option<u64>) -> Refusal {
        let error = kind.map_or_else(
            || ClientError::Answer("an HTML page".to_owned()),
            |kind| {
                ClientError::Problem(Problem {
                    kind: format!("/problems/{kind}"),
                    title: "It cannot be".to_owned(),
                    status,
                    detail: String::new(),
                    offset: None,
                    request_id: None,
                })
            },
        );
        Refusal { error, status: Some(StatusCode::from_u16(status).unwrap()), retry_after }
    }

    #[test]
    fn what_passes_is_waited_for_and_what_does_not_is_not() {
        let passes = [
            (408, "too-slow"),
            (409, "wrong-offset"),
            (409, "conflict"),
            (429, "busy"),
            (460, "checksum-mismatch"),
            (502, "bad-gateway"),
            (503, "busy"),
            (504, "x"),
        ];
        for (status, kind) in passes {
            let trouble = Trouble::from(refusal(status, Some(kind), Some(7)));
            let asked = (status != 409).then_some(7);
            assert!(matches!(trouble, Trouble::Passing(_, seconds) if seconds == asked), "{status} {kind}");
        }
        for status in [404, 410] {
            assert!(matches!(Trouble::from(refusal(status, None, None)), Trouble::Gone(_)), "{status}");
        }
        assert!(matches!(Trouble::from(refusal(500, Some("internal"), None)), Trouble::Fault(_)));
        for (status, kind) in [(409, "collision"), (413, "too-large"), (422, "wrong-digest"), (400, "x")] {
            let trouble = Trouble::from(refusal(status, Some(kind), None));
            assert!(matches!(trouble, Trouble::Refused(_)), "{status} {kind}");
        }
        assert!(matches!(Trouble::from(refusal(507, Some("no-space"), None)), Trouble::Lost(_)));
        // Not the word of a closeby: something in between, whose refusal ends no upload.
        assert!(matches!(Trouble::from(refusal(403, None, None)), Trouble::Lost(_)));
    }
}
