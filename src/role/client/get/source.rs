//! Where the bytes come from: the copy that central chooses, and the others when it fails.

use std::collections::VecDeque;
use std::time::Duration;

use url::{Origin, Url};

use crate::domain::{NodeId, Sha1};
use crate::role::client::{ClientError, Server};
use crate::wire::api::Choice;

/// How often central is asked again without that much came of it.
const MAX_FAILURES: u32 = 5;

/// What a copy must have given for its failure not to count: a long download on a bad line
/// goes on for as long as it gets somewhere.
const PROGRESS_BYTES: u64 = 1 << 20;

/// How often everything is loaded again because it was wrong.
const MAX_RESTARTS: u32 = 3;

/// The copies of one content.
pub(super) struct Sources<'a> {
    server: &'a Server,
    sha1: Sha1,
    /// Central's lasting links that are still to be tried, the best first.
    links: VecDeque<Url>,
    /// The one that led to the copy in use.
    current: Option<Url>,
    /// Whether the links are those of single copies, and not central's choice.
    is_by_node: bool,
    /// Where the copies are that failed since every one was last tried.
    failed: Vec<Origin>,
    /// Where bytes came from since the download last began.
    used: Vec<Origin>,
    /// Where bytes came from that turned out wrong.
    wrong: Vec<Origin>,
    /// Whether any copy was asked since central last named them.
    is_any_tried: bool,
    failures: u32,
    restarts: u32,
    last_error: Option<ClientError>,
}

impl<'a> Sources<'a> {
    pub fn new(server: &'a Server, sha1: Sha1) -> Self {
        Self {
            server,
            sha1,
            links: VecDeque::from([server.url(&["d", &sha1.to_hex()])]),
            current: None,
            is_by_node: false,
            failed: Vec::new(),
            used: Vec::new(),
            wrong: Vec::new(),
            is_any_tried: false,
            failures: 0,
            restarts: 0,
            last_error: None,
        }
    }

    pub const fn server(&self) -> &'a Server {
        self.server
    }

    /// A link to a copy, with a ticket that is good now.
    ///
    /// # Errors
    /// When central knows no copy, or every copy has failed too often.
    pub async fn next(&mut self) -> Result<Url, ClientError> {
        loop {
            if let Some(link) = self.current.take().or_else(|| self.links.pop_front()) {
                let url = match self.server.resolve(&link).await {
                    Ok(url) => url,
                    // One copy may be gone while the others are not.
                    Err(error) if self.is_by_node => {
                        self.count(error)?;
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                let origin = url.origin();
                if self.failed.contains(&origin) || self.wrong.contains(&origin) {
                    continue;
                }
                if !self.used.contains(&origin) {
                    self.used.push(origin);
                }
                self.current = Some(link);
                self.is_any_tried = true;
                return Ok(url);
            }
            self.refill().await?;
        }
    }

    /// Asks central for every copy. Once all of them failed they get another chance, after a
    /// pause, except for those that gave wrong bytes.
    async fn refill(&mut self) -> Result<(), ClientError> {
        if self.is_by_node {
            let error = self.last_error.take().unwrap_or_else(no_copy);
            if !self.is_any_tried && !self.wrong.is_empty() {
                return Err(wrong_everywhere());
            }
            self.count(error)?;
            self.failed.clear();
            tokio::time::sleep(self.server.second.saturating_mul(self.failures).min(Duration::from_secs(10)))
                .await;
        }
        self.is_by_node = true;
        self.is_any_tried = false;
        let hex = self.sha1.to_hex();
        let choice: Choice =
            self.server.get(&self.server.url(&["api", "v1", "blobs", &hex, "replicas"])).await?;
        // Links are made here, to the server that was asked: its own may name another host.
        let nodes = choice.replicas.iter().filter_map(|replica| replica.node.parse::<NodeId>().ok());
        self.links = nodes
            .map(|node| {
                let mut link = self.server.url(&["d", &hex]);
                link.query_pairs_mut().append_pair("node", &node.to_string());
                link
            })
            .collect();
        Ok(())
    }

    /// So many bytes came from the copy in use.
    pub const fn gained(&mut self, bytes: u64) {
        if bytes >= PROGRESS_BYTES {
            self.failures = 0;
        }
    }

    /// The ticket is over: the same link is resolved anew. One that is over at once again
    /// is a failure like any other.
    pub fn expired(&mut self) {
        self.failures += 1;
        if self.failures >= MAX_FAILURES {
            self.current = None;
            self.last_error =
                Some(ClientError::Answer("every link that the server gives has expired already".to_owned()));
        }
    }

    /// The copy at `url` failed.
    pub fn failed(&mut self, url: &Url, error: ClientError) {
        self.current = None;
        self.failed.push(url.origin());
        self.last_error = Some(error);
    }

    /// The bytes were wrong: nothing comes any more from where they came from, unless they
    /// began with a part of an earlier run, which may have been the wrong one. False when
    /// enough was tried.
    pub fn wrong_bytes(&mut self, was_resumed: bool) -> bool {
        self.restarts += 1;
        let used = std::mem::take(&mut self.used);
        if !was_resumed {
            self.wrong.extend(used);
        }
        self.last_error = Some(wrong_everywhere());
        self.restarts <= MAX_RESTARTS
    }

    /// Why nothing came of it.
    pub fn into_error(self) -> ClientError {
        self.last_error.unwrap_or_else(no_copy)
    }

    fn count(&mut self, error: ClientError) -> Result<(), ClientError> {
        self.failures += 1;
        if self.failures >= MAX_FAILURES { Err(error) } else { Ok(()) }
    }
}

fn no_copy() -> ClientError {
    ClientError::Answer("no copy of this content can be reached".to_owned())
}

fn wrong_everywhere() -> ClientError {
    ClientError::Answer("no copy has the SHA-256 that the ledger knows: nothing was kept".to_owned())
}
