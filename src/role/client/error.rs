//! Why a command failed, in words for the person who typed it.

use std::io;
use std::path::{Path, PathBuf};

use crate::cluster::http::root_cause;
use crate::wire::api::Problem;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The server said no.
    #[error("{title}: {detail}", title = printable(&.0.title), detail = detail(.0))]
    Problem(Problem),
    /// The server said something that is not in the API.
    #[error("{0}")]
    Answer(String),
    /// The server cannot be reached, or fell silent.
    #[error("{url}: {cause}", cause = cause(.error))]
    Http {
        /// Whom we asked.
        url: String,
        /// Why.
        error: reqwest::Error,
    },
    /// A file here cannot be used.
    #[error("{path}: {error}", path = printable(&.path.to_string_lossy()))]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Something about a file here.
    #[error("{path}: {message}", path = printable(&.path.to_string_lossy()))]
    Refused {
        /// Which.
        path: PathBuf,
        /// What, and what to do.
        message: String,
    },
    /// Nothing can be printed.
    #[error("cannot write to stdout: {0}")]
    Output(io::Error),
    /// The person, or the system, stopped it.
    #[error("interrupted: {0}")]
    Interrupted(String),
    /// Some of several files failed; each has been reported.
    #[error("{failed} of {all} files failed")]
    Some {
        /// How many failed.
        failed: usize,
        /// Of how many.
        all: usize,
    },
}

impl ClientError {
    /// About an HTTP call. Never with the query, which can hold a ticket.
    pub(super) fn http(url: &url::Url, error: reqwest::Error) -> Self {
        let mut shown = url.clone();
        shown.set_query(None);
        Self::Http { url: shown.to_string(), error: error.without_url() }
    }

    /// About a file here.
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |error| Self::File { path, error }
    }

    /// About a file here.
    pub(super) fn refused(path: &Path, message: impl Into<String>) -> Self {
        Self::Refused { path: path.to_owned(), message: message.into() }
    }

    /// As a problem document, for `--json`; one of our own where the server gave none.
    pub(super) fn problem(&self) -> Problem {
        match self {
            Self::Problem(problem) => problem.clone(),
            other => Problem {
                kind: "about:blank".to_owned(),
                title: "The file was not stored".to_owned(),
                status: 0,
                detail: other.to_string(),
                offset: None,
                request_id: None,
            },
        }
    }
}

/// What a problem says, in words for who typed a command: the server's own are for every kind of client.
fn detail(problem: &Problem) -> String {
    if problem.kind == "/problems/token-needed" {
        return "give one with --token-file FILE or in CLOSEBY_TOKEN; it is sent to the server of --server alone. \
                Whoever runs that server makes one with `closeby token new`"
            .to_owned();
    }
    printable(&problem.detail)
}

/// What lies at the bottom of an error.
fn cause(error: &reqwest::Error) -> String {
    if error.is_timeout() { "no answer in time".to_owned() } else { printable(&root_cause(error)) }
}

/// A text from elsewhere, without what would move the cursor or colour the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
