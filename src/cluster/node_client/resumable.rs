//! Calls about resumable sessions: sent in parts, gone back, gone on after a cut.

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use reqwest::{Method, RequestBuilder};

use super::{NodeClient, NodeError, TICKET_LIFE, WriteLimits, read_json, to_json};
use crate::cluster::membership::Member;
use crate::domain::{Sha1, Sha256, Timestamp, UploadId};
use crate::tickets::{CallTicket, Operation};
use crate::wire::node::{FillRequest, OffsetAnswer, PrepareAnswer, PrepareRequest};
use crate::wire::{PROTOCOL, TICKET_HEADER, speaks};

/// What a resumable session on a node may take, and how long it lives between two calls.
#[derive(Debug, Clone, Copy)]
pub struct ResumeTerms {
    /// Its sizes.
    pub limits: WriteLimits,
    /// It ends when nothing was written for so long.
    pub idle: Duration,
}

/// What a resumable session must hold when it is prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The size in bytes.
    pub size: u64,
    /// The SHA-1, where it is known.
    pub sha1: Option<Sha1>,
    /// The SHA-256, where it is known.
    pub sha256: Option<Sha256>,
}

impl NodeClient {
    /// Makes a resumable session; says the acknowledged offset, above 0 where there was one
    /// already.
    ///
    /// # Errors
    /// [`NodeError`]; `conflict` when a one-request session has this id.
    pub async fn open(
        &self,
        member: &Member,
        upload: UploadId,
        terms: ResumeTerms,
        now: Timestamp,
    ) -> Result<u64, NodeError> {
        let ticket = terms_ticket(member, upload, terms, now);
        let call = self.session_call(Method::POST, member, upload, "", &ticket)?;
        read_offset(self.send(call.timeout(self.patience)).await?).await
    }

    /// Appends the whole body from this offset; says the acknowledged offset after it.
    ///
    /// A body that yields an error breaks the connection; what the node had read by then
    /// stays, unless the part has a checksum: then the node keeps all of it or nothing.
    ///
    /// # Errors
    /// [`NodeError`]; `checksum-mismatch`; `wrong-offset`, with the acknowledged one, when that is below this
    /// offset; `no-session`; `conflict` when another append took over.
    pub async fn append<S, E>(
        &self,
        member: &Member,
        upload: UploadId,
        terms: ResumeTerms,
        (offset, checksum): (u64, Option<Sha1>),
        now: Timestamp,
        body: S,
    ) -> Result<u64, NodeError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let ticket = terms_ticket(member, upload, terms, now);
        let checksum = checksum.map(|sha1| format!("&checksum={sha1}")).unwrap_or_default();
        let path = format!("?offset={offset}{checksum}");
        let call = self.session_call(Method::PATCH, member, upload, &path, &ticket)?;
        read_offset(self.send(call.body(reqwest::Body::wrap_stream(body))).await?).await
    }

    /// The acknowledged offset; none when there is no such session.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn offset(
        &self,
        member: &Member,
        upload: UploadId,
        now: Timestamp,
    ) -> Result<Option<u64>, NodeError> {
        let ticket = plain_ticket(member, upload, now);
        let call = self.session_call(Method::GET, member, upload, "/offset", &ticket)?;
        match read_offset(self.send(call.timeout(self.patience)).await?).await {
            Err(error) if error.is("no-session") => Ok(None),
            other => other.map(Some),
        }
    }

    /// Has a resumable session prepared; repeating it gives a fresh receipt of the same. A node
    /// that was restarted reads the bytes again first.
    ///
    /// # Errors
    /// [`NodeError`]; `wrong-offset` when the session is not at the expected size, and keeps
    /// it; `wrong-digest` and `collision-attack`, which repeat until it is aborted.
    pub async fn prepare(
        &self,
        member: &Member,
        upload: UploadId,
        expected: Expected,
        now: Timestamp,
        within: Duration,
    ) -> Result<PrepareAnswer, NodeError> {
        let Expected { size, sha1, sha256 } = expected;
        let body = to_json(&PrepareRequest { protocol: PROTOCOL, size, sha1, sha256 })?;
        let ticket = plain_ticket(member, upload, now).with_body(&body);
        let call = self.session_call(Method::POST, member, upload, "/prepare", &ticket)?;
        let call = call.header("content-type", "application/json").timeout(within).body(body);
        Self::check_receipt(member, upload, read_json(self.send(call).await?).await?)
    }

    /// Makes a resumable session, and has it filled with so many of the first bytes of another
    /// node's session (`source`), which has acknowledged them. A failure leaves no session.
    ///
    /// # Errors
    /// [`NodeError`]; `bad-gateway` when the source fails.
    pub async fn fill(
        &self,
        member: &Member,
        upload: UploadId,
        terms: ResumeTerms,
        now: Timestamp,
        source: (&Member, u64),
        within: Duration,
    ) -> Result<u64, NodeError> {
        let (source, bytes) = source;
        let read =
            CallTicket::new(Operation::ReadSession, source.id, Some(upload), now.saturating_add(TICKET_LIFE));
        let body = to_json(&FillRequest {
            protocol: PROTOCOL,
            source: format!("http://{}", source.address),
            source_tls: source.tls.clone().filter(|_| member.reads_more),
            source_ticket: read.sign(&source.key),
            bytes,
        })?;
        let ticket = terms_ticket(member, upload, terms, now).with_body(&body);
        let call = self.session_call(Method::POST, member, upload, "/fill", &ticket)?;
        let call = call.header("content-type", "application/json").timeout(within).body(body);
        read_offset(self.send(call).await?).await
    }

    /// A call on a session; `rest` follows its path.
    fn session_call(
        &self,
        method: Method,
        member: &Member,
        upload: UploadId,
        rest: &str,
        ticket: &CallTicket,
    ) -> Result<RequestBuilder, NodeError> {
        let call = self.call(method, member, &format!("sessions/{upload}{rest}"))?;
        Ok(call.header(TICKET_HEADER, ticket.sign(&member.key)))
    }
}

fn plain_ticket(member: &Member, upload: UploadId, now: Timestamp) -> CallTicket {
    CallTicket::new(Operation::Write, member.id, Some(upload), now.saturating_add(TICKET_LIFE))
}

fn terms_ticket(member: &Member, upload: UploadId, terms: ResumeTerms, now: Timestamp) -> CallTicket {
    let ResumeTerms { limits: WriteLimits { limit_bytes, declared_bytes }, idle } = terms;
    CallTicket { limit_bytes, declared_bytes, idle, ..plain_ticket(member, upload, now) }
}

async fn read_offset(answer: reqwest::Response) -> Result<u64, NodeError> {
    let answer: OffsetAnswer = read_json(answer).await?;
    speaks(answer.protocol)?;
    Ok(answer.offset)
}
