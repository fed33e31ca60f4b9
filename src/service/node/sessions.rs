//! An upload on this node: filled and prepared in one call, then finished or aborted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::context::TokioContext;
use url::Host;

use super::guard::SessionGuard;
use super::intake::Intake;
use super::{NodeError, NodeService, Permit, Result};
use crate::blobs::{BlobError, DescribedFile, Expected, Prepared, SessionOptions};
use crate::cluster::http::{root_cause, traced};
use crate::domain::{Timestamp, UploadId, copy_time};
use crate::tickets::{CallTicket, NodeKey, Operation, receipt_mac};
use crate::trace;
use crate::wire::node::{CopyRequest, FileOnBlob, FinishRequest, PrepareAnswer, TlsAddress};
use crate::wire::{self, PROTOCOL, TICKET_HEADER, Unread, speaks};

/// Another node has so long to begin its answer.
const SOURCE_ANSWERS_WITHIN: Duration = Duration::from_secs(10);

impl NodeService {
    /// Makes a session, appends the whole stream, prepares, and answers with the receipt.
    /// The stream's `None` is the sender's end, each of its errors means that the sender is
    /// gone. Without a receipt no session is left, whether this fails or is dropped.
    ///
    /// # Errors
    /// [`NodeError::Ticket`], [`NodeError::Interrupted`], [`NodeError::Stalled`], and what the
    /// store fails with.
    pub async fn write<E>(
        &self,
        ticket: Option<&str>,
        upload: UploadId,
        bytes: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    ) -> Result<PrepareAnswer> {
        let ticket = self.permit_bare(ticket, Operation::Write, Some(upload))?;
        let _permit = self.upload_permit()?;
        let guard = self.create(upload, one_request(&ticket, ticket.declared_bytes)).await?;
        let expected = Expected { size: ticket.declared_bytes, ..Expected::default() };
        let filled = self.take_in(upload, &ticket, expected, bytes, |_| NodeError::Interrupted).await;
        Self::settle_session(guard, filled).await
    }

    /// Makes a session, fills it from another node's prepared one, prepares, and answers with
    /// the receipt. Without a receipt no session is left.
    ///
    /// # Errors
    /// As [`NodeService::write`], and [`NodeError::Source`].
    pub async fn copy(&self, ticket: Option<&str>, upload: UploadId, body: &[u8]) -> Result<PrepareAnswer> {
        let ticket = self.permit_body(ticket, Operation::Write, Some(upload), body)?;
        let request: CopyRequest = read_request(body)?;
        speaks(request.protocol)?;
        let source = Source::new(&request.source, request.source_tls, request.source_ticket, upload)?;
        if request.digests.size > ticket.limit_bytes {
            return Err(BlobError::TooLong.into());
        }
        let _permit = self.upload_permit()?;
        let guard = self.create(upload, one_request(&ticket, Some(request.digests.size))).await?;
        let expected = Expected {
            sha1: Some(request.digests.sha1),
            sha256: Some(request.digests.sha256),
            size: Some(request.digests.size),
        };
        let filled = self.take_from(&source, upload, &ticket, expected).await;
        Self::settle_session(guard, filled).await
    }

    async fn take_from(
        &self,
        source: &Source,
        upload: UploadId,
        permit: &Permit,
        expected: Expected,
    ) -> Result<PrepareAnswer> {
        let bytes = Box::pin(self.ask_source(source).await?.bytes_stream());
        let filled = self.take_in(upload, permit, expected, bytes, |error| source_failed(&error)).await;
        match filled {
            Err(NodeError::Stalled) => Err(NodeError::Source("it stopped sending".to_owned())),
            // It sent other bytes than central's ticket says it has.
            Err(NodeError::Store(
                error @ (BlobError::WrongDigest(_) | BlobError::TooShort { .. } | BlobError::TooLong),
            )) => Err(NodeError::Source(error.to_string())),
            filled => filled,
        }
    }

    /// Asks another node for a session's bytes.
    pub(super) async fn ask_source(&self, source: &Source) -> Result<reqwest::Response> {
        let Source { address, tls, path, ticket } = source;
        let (http, base) =
            self.parts.http.reach(*address, tls.as_ref()).map_err(|error| source_failed(&error))?;
        let asking = traced(http.get(format!("{base}{path}")).header(TICKET_HEADER, ticket)).send();
        // The connection lives on a runtime that outlives the server's threads.
        let asking = TokioContext::new(asking, self.parts.runtime.clone());
        let answer = tokio::time::timeout(SOURCE_ANSWERS_WITHIN, asking)
            .await
            .map_err(|_| NodeError::Source("it does not answer".to_owned()))?
            .map_err(|error| source_failed(&error))?;
        if answer.status() != reqwest::StatusCode::OK {
            return Err(NodeError::Source(format!("it answered with status {}", answer.status().as_u16())));
        }
        Ok(answer)
    }

    /// The same stream, of which every byte is counted.
    pub(super) fn counted<E>(
        &self,
        bytes: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
    ) -> impl Stream<Item = std::result::Result<Bytes, E>> + Unpin {
        let received = Arc::clone(&self.received);
        bytes.inspect(move |chunk| {
            if let Ok(chunk) = chunk {
                received.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            }
        })
    }

    pub(super) fn upload_permit(&self) -> Result<OwnedSemaphorePermit> {
        Arc::clone(&self.uploads).try_acquire_owned().map_err(|_| NodeError::Busy)
    }

    /// Makes a session that ends with its guard.
    pub(super) async fn create(&self, upload: UploadId, options: SessionOptions) -> Result<SessionGuard> {
        let (store, runtime) = (Arc::clone(&self.parts.store), self.parts.runtime.clone());
        let cleanup = self.cleanup.clone();
        // In a task of its own: where the caller is gone before the session is made, its guard
        // is dropped there, and the session with it.
        let making = async move {
            store.create_session(upload, options).await?;
            Ok(SessionGuard::new(store, upload, cleanup, runtime))
        };
        let made = self.cleanup.spawn_on(trace::carried(making), &self.parts.runtime).await;
        made.map_err(|error| BlobError::Io(std::io::Error::other(error)))?
    }

    /// Appends the stream to a session and prepares it.
    async fn take_in<E>(
        &self,
        upload: UploadId,
        permit: &Permit,
        expected: Expected,
        bytes: impl Stream<Item = std::result::Result<Bytes, E>> + Unpin,
        failed: impl Fn(E) -> NodeError,
    ) -> Result<PrepareAnswer> {
        let intake = Intake { idle: permit.idle, stalled_after: self.parts.limits.sender_stalled_after };
        let size = intake.fill(self.store(), upload, 0, self.counted(bytes), failed).await?;
        self.prepare_session(upload, &permit.key, expected, size).await
    }

    /// Prepares a session, and makes its receipt.
    async fn prepare_session(
        &self,
        upload: UploadId,
        key: &NodeKey,
        expected: Expected,
        size: u64,
    ) -> Result<PrepareAnswer> {
        let verified_at = self.now()?;
        let decide_before = self.decide_before(verified_at, size);
        let prepared = self.checked(self.store().prepare(upload, expected, decide_before).await)?;
        Ok(self.receipt(upload, key, prepared, verified_at))
    }

    /// Until when a receipt of now can be decided.
    pub(super) fn decide_before(&self, verified_at: Timestamp, size: u64) -> Timestamp {
        // If the other node fails now, a third copies the whole from here before it is decided.
        let within = self.parts.limits.decide_within.saturating_add(copy_time(size));
        verified_at.saturating_add(within)
    }

    /// A receipt, signed with the key that the call for it was signed with.
    pub(super) fn receipt(
        &self,
        upload: UploadId,
        key: &NodeKey,
        prepared: Prepared,
        verified_at: Timestamp,
    ) -> PrepareAnswer {
        let mut answer = PrepareAnswer {
            protocol: PROTOCOL,
            node: self.parts.node,
            upload,
            digests: prepared.digests,
            pieces: prepared.pieces,
            verified_at,
            decide_before: prepared.decide_before,
            key_id: key.id(),
            receipt: String::new(),
        };
        answer.receipt = receipt_mac(key, &answer);
        answer
    }

    /// A session with a receipt stays, any other ends before the answer is given.
    async fn settle_session(guard: SessionGuard, filled: Result<PrepareAnswer>) -> Result<PrepareAnswer> {
        match filled {
            Ok(answer) => {
                guard.keep();
                Ok(answer)
            }
            Err(error) => {
                guard.abort().await;
                Err(error)
            }
        }
    }

    /// Puts a prepared session's bytes at their final path. Repeating it is success.
    ///
    /// # Errors
    /// [`NodeError::Ticket`], and what the store fails with.
    pub async fn finish(&self, ticket: Option<&str>, upload: UploadId, body: &[u8]) -> Result<()> {
        self.permit_body(ticket, Operation::Finish, Some(upload), body)?;
        let request: FinishRequest = read_request(body)?;
        self.finish_session(upload, request).await
    }

    pub(super) async fn finish_session(&self, upload: UploadId, request: FinishRequest) -> Result<()> {
        let FinishRequest { protocol, sha1, generation, files } = request;
        speaks(protocol)?;
        let files = files.into_iter().map(describe).collect();
        Ok(self.store().finish(upload, sha1, generation, files).await?)
    }

    /// Ends a session. Success where there is none.
    ///
    /// # Errors
    /// [`NodeError::Ticket`], and what the store fails with.
    pub async fn abort(&self, ticket: Option<&str>, upload: UploadId) -> Result<()> {
        self.permit_bare(ticket, Operation::Abort, Some(upload))?;
        Ok(self.store().abort(upload).await?)
    }
}

fn one_request(ticket: &CallTicket, declared_bytes: Option<u64>) -> SessionOptions {
    let CallTicket { limit_bytes, idle, .. } = *ticket;
    SessionOptions { declared_bytes, limit_bytes, idle, resumable: false }
}

fn describe(file: FileOnBlob) -> DescribedFile {
    let FileOnBlob { id, revision, name, media_type, at } = file;
    DescribedFile { id, revision, name, media_type, at, removed: false }
}

pub(super) fn read_request<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T> {
    wire::read(body).map_err(|error| match error {
        Unread::Version(version) => version.into(),
        Unread::Unreadable(_) => NodeError::BadRequest("the call's body cannot be read"),
    })
}

/// Where another node's session is read, and by whose leave.
pub(super) struct Source {
    address: SocketAddr,
    tls: Option<TlsAddress>,
    path: String,
    ticket: String,
}

impl Source {
    /// The plain address is `http`, an address and a port, nothing else. Central has proved it, so no
    /// name is looked up here; the name beside it is only what the certificate is for.
    pub(super) fn new(
        source: &str,
        tls: Option<TlsAddress>,
        ticket: String,
        upload: UploadId,
    ) -> Result<Self> {
        let wrong = || NodeError::BadRequest("the source is not http, an address and a port");
        let address = source.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
        let address: SocketAddr = address.and_then(|text| text.parse().ok()).ok_or_else(wrong)?;
        if let Some(TlsAddress { host, .. }) = &tls {
            Host::parse(host).map_err(|_| NodeError::BadRequest("the source's host is no host"))?;
        }
        Ok(Self { address, tls, path: format!("/n/v1/sessions/{upload}"), ticket })
    }
}

fn source_failed(error: &reqwest::Error) -> NodeError {
    // What reqwest says holds the whole URL; the kind is enough for central.
    let cause = root_cause(error);
    let kind = match error.is_connect() {
        // The certificate's fault is for an operator to mend, and names no address.
        true if cause.contains("certificate") => return NodeError::Source(cause),
        true => "no connection",
        false => "the connection ended",
    };
    NodeError::Source(kind.to_owned())
}

#[cfg(test)]
mod source_tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_source_is_an_address_and_a_port() {
        let upload = UploadId::from_bytes([7; 16]);
        for good in ["http://127.0.0.1:81", "http://[::1]:81", "http://10.0.0.1:81/"] {
            let source = Source::new(good, None, "t".to_owned(), upload).unwrap();
            assert_eq!(source.address.port(), 81, "{good}");
            assert_eq!(source.path, "/n/v1/sessions/07070707070707070707070707070707");
        }
        for bad in [
            "",
            "127.0.0.1:81",
            "https://127.0.0.1:81",
            "file:///etc/passwd",
            "http://localhost:81",
            "http://user@127.0.0.1:81",
            "http://127.0.0.1:81/path",
            "http://127.0.0.1:81/?q",
            "http://127.0.0.1:81/#f",
        ] {
            assert!(Source::new(bad, None, "t".to_owned(), upload).is_err(), "{bad}");
        }
        let tls = |host: &str| {
            let tls = TlsAddress { host: host.to_owned(), address: "10.0.0.1:443".parse().unwrap() };
            Source::new("http://10.0.0.1:81", Some(tls), "t".to_owned(), upload)
        };
        for host in ["toronto.files.example", "10.0.0.1", "[fd00::1]"] {
            assert!(tls(host).is_ok(), "{host}");
        }
        for host in ["", "files.example/x", "a@b", "files.example:1", "a?b", "a#b"] {
            assert!(tls(host).is_err(), "{host}");
        }
    }
}
