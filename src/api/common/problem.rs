//! Errors as problem documents (RFC 9457) with stable types.

use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, CACHE_CONTROL, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};

use crate::domain::Scope;
use crate::trace;
use crate::wire::api::Problem;

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $code:literal, $title:literal;)*) => {
        /// The kinds of problem, each with its status, stable code and title.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum ProblemKind { $($(#[$doc])* $name,)* }

        impl ProblemKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// The stable code: the last part of the problem's `type`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it is, in a few words.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

kinds! {
    /// The request cannot be read.
    BadRequest = 400, "bad-request", "The request cannot be read";
    /// A digest in a link is no digest.
    MalformedDigest = 400, "malformed-digest", "This is no digest";
    /// A file's name cannot be taken.
    InvalidName = 400, "invalid-name", "This name cannot be taken";
    /// No token was shown where one is needed.
    TokenNeeded = 401, "token-needed", "A token is needed";
    /// What was shown is no token that counts.
    InvalidToken = 401, "invalid-token", "This token does not count";
    /// The token is good for something else.
    InsufficientScope = 403, "insufficient-scope", "This token is not good for this";
    /// A signature or ticket is not right, or a node may not join.
    Forbidden = 403, "forbidden", "This is not permitted";
    /// A change asked for by another site's page.
    CrossSite = 403, "cross-site", "Another site asked for this change";
    /// Nothing is here.
    NotFound = 404, "not-found", "There is nothing here";
    /// The session does not exist.
    NoSession = 404, "no-session", "There is no such session";
    /// Another method is needed.
    MethodNotAllowed = 405, "method-not-allowed", "This method is not allowed here";
    /// The sender took too long.
    Timeout = 408, "too-slow", "The sender was too slow";
    /// The session is elsewhere than the sender thinks, or exists already.
    Conflict = 409, "conflict", "This does not fit the present state";
    /// The upload stands at another offset, which the problem names.
    WrongOffset = 409, "wrong-offset", "The upload stands at another offset";
    /// Same SHA-1, other content.
    Collision = 409, "collision", "The content collides with another";
    /// A right signature whose time is over.
    Expired = 410, "expired", "This link has expired";
    /// The upload ended before it was complete.
    Ended = 410, "ended", "This upload has ended";
    /// Another version of the protocol is spoken here.
    UnsupportedVersion = 412, "unsupported-version", "This version of the protocol is not spoken here";
    /// The content is not the one that the request is meant for.
    PreconditionFailed = 412, "precondition-failed", "The file is another one";
    /// Longer than allowed.
    TooLarge = 413, "too-large", "The file is too large";
    /// The body is of another type.
    UnsupportedMediaType = 415, "unsupported-media-type", "The body is of another type";
    /// A part has another checksum than was given (tus 1.0).
    ChecksumMismatch = 460, "checksum-mismatch", "The part is not what was announced";
    /// No part of the file lies in the range.
    RangeNotSatisfiable = 416, "range-not-satisfiable", "No part of the file lies in this range";
    /// The request is for another host.
    Misdirected = 421, "misdirected", "This host is not served here";
    /// The content has other digests than were given.
    WrongDigest = 422, "wrong-digest", "The content is not what was announced";
    /// The content carries a collision attack.
    CollisionAttack = 422, "collision-attack", "The content carries a collision attack";
    /// One sender has too many of these.
    TooMany = 429, "too-many", "There are too many of these";
    /// The upload stopped in the middle.
    Incomplete = 400, "incomplete", "The upload is incomplete";
    /// Our own fault.
    Internal = 500, "internal", "Something broke here";
    /// Another server's fault.
    BadGateway = 502, "bad-gateway", "A storage server failed";
    /// Not now.
    Unavailable = 503, "unavailable", "This cannot be done right now";
    /// Too much at once.
    Busy = 503, "busy", "Too much is going on right now";
    /// The disk is full.
    NoSpace = 507, "no-space", "There is no room for this";
}

/// An error on its way to the person or program that asked.
#[derive(Debug, Clone)]
pub struct ApiError {
    kind: ProblemKind,
    detail: String,
    retry_after: Option<Duration>,
    offset: Option<u64>,
    allow: Option<&'static str>,
    challenge: Option<Challenge>,
    is_disks_fault: bool,
}

/// What somebody who is not let in is told to show (RFC 9110 §11.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenge {
    /// What is wrong with the token that was shown (RFC 6750 §3.1); nothing where none was.
    pub error: Option<&'static str>,
    /// What a token must be good for.
    pub scope: Scope,
    /// Whether a browser shall ask the person for it, as a password (RFC 7617).
    pub offers_password: bool,
}

impl Challenge {
    /// The lines of `WWW-Authenticate`.
    fn lines(self) -> impl Iterator<Item = String> {
        let error = self.error.map(|error| format!(", error=\"{error}\"")).unwrap_or_default();
        let bearer = format!("Bearer realm=\"closeby\"{error}, scope=\"{}\"", self.scope);
        let basic = self.offers_password.then(|| "Basic realm=\"closeby\", charset=\"UTF-8\"".to_owned());
        [Some(bearer), basic].into_iter().flatten()
    }
}

impl ApiError {
    /// With what happened and what to do about it, in words for the asker.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        let retry_after = (kind.status() == 503).then_some(Duration::from_secs(2));
        Self {
            kind,
            detail: detail.into(),
            retry_after,
            offset: None,
            allow: None,
            challenge: None,
            is_disks_fault: false,
        }
    }

    /// As the disk failed, which is counted.
    #[must_use]
    pub fn of_disk(self) -> Self {
        Self { is_disks_fault: true, ..self }
    }

    /// Whether the disk failed.
    #[must_use]
    pub const fn is_disks_fault(&self) -> bool {
        self.is_disks_fault
    }

    /// For a method that is not one of those that are allowed here.
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let detail = format!("this address takes {allow}");
        Self { allow: Some(allow), ..Self::new(ProblemKind::MethodNotAllowed, detail) }
    }

    /// The same with another sentence.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.detail.push_str("; ");
        self.detail.push_str(more);
        self
    }

    /// When it is worth asking again.
    #[must_use]
    pub const fn retry_after(mut self, after: Duration) -> Self {
        self.retry_after = Some(after);
        self
    }

    /// What to show to be let in.
    #[must_use]
    pub const fn challenge(mut self, challenge: Challenge) -> Self {
        self.challenge = Some(challenge);
        self
    }

    /// The offset to go on from, in bytes.
    #[must_use]
    pub const fn offset(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// The document.
    #[must_use]
    pub fn problem(&self) -> Problem {
        Problem {
            kind: format!("/problems/{}", self.kind.code()),
            title: self.kind.title().to_owned(),
            status: self.kind.status(),
            detail: self.detail.clone(),
            offset: self.offset,
            request_id: trace::request_id().map(|id| id.to_string()),
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.title(), self.detail)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The document as JSON; it also rides along as an extension, so that a page can be
    /// made of it where a browser asked.
    fn error_response(&self) -> HttpResponse {
        let problem = self.problem();
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((CACHE_CONTROL, "no-store"));
        if let Some(after) = self.retry_after {
            response.insert_header((RETRY_AFTER, after.as_secs().max(1).to_string()));
        }
        if let Some(allow) = self.allow {
            response.insert_header((ALLOW, allow));
        }
        for line in self.challenge.into_iter().flat_map(Challenge::lines) {
            response.append_header((WWW_AUTHENTICATE, line));
        }
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let mut response = response.content_type("application/problem+json").body(body);
        response.extensions_mut().insert(problem);
        response
    }
}
