//! Central's calls to nodes: each carries a ticket, each answer is checked.

mod resumable;

use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use reqwest::{Method, RequestBuilder, Response};
use serde::de::DeserializeOwned;
use tokio::runtime::Handle;
use tokio_util::context::TokioContext;

use super::http::{ClusterHttp, root_cause, traced};
use super::membership::Member;
use crate::domain::{Timestamp, UploadId};
use crate::tickets::{CallTicket, Operation, verify_receipt};
use crate::wire::api::Problem;
use crate::wire::cluster::{ProveAnswer, ProveRequest};
use crate::wire::node::{CopyRequest, FinishRequest, PrepareAnswer};
use crate::wire::{self, OtherVersion, PROTOCOL, TICKET_HEADER, Unread, speaks};

pub use resumable::{Expected, ResumeTerms};

/// A ticket for a call is good for this long: the call begins at once.
pub const TICKET_LIFE: Duration = Duration::from_secs(120);
/// A session of a one-request upload that nobody calls for ends after this.
const IDLE: Duration = Duration::from_secs(3);
/// The most bytes of an answer that are read: a receipt over the largest file's pieces.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Why a call to a node failed.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It cannot be reached, or the connection broke.
    #[error("the node cannot be reached: {0}")]
    Unreachable(String),
    /// It answered with a problem.
    #[error("the node answered {}: {}", .0.kind, .0.detail)]
    Refused(Problem),
    /// It speaks another version.
    #[error("the node's answer is not taken: {0}")]
    Version(#[from] OtherVersion),
    /// Its answer is not what it has to be.
    #[error("the node's answer is wrong: {0}")]
    BadAnswer(&'static str),
}

impl NodeError {
    /// Whether it is this kind of problem (the last part of its `type`).
    #[must_use]
    pub fn is(&self, code: &str) -> bool {
        matches!(self, Self::Refused(problem) if problem.kind.rsplit('/').next() == Some(code))
    }

    /// The offset to go on from, where it refused another one (`wrong-offset`).
    #[must_use]
    pub const fn right_offset(&self) -> Option<u64> {
        match self {
            Self::Refused(problem) => problem.offset,
            _ => None,
        }
    }

    /// Whether the node itself is at fault, so that it is not used until its next beat.
    #[must_use]
    pub fn is_nodes_fault(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::BadAnswer(_) | Self::Version(_) => true,
            // A full disk and a full queue are no reason not to read from it.
            Self::Refused(problem) => problem.status >= 500 && problem.status != 507 && !self.is("busy"),
        }
    }
}

impl From<reqwest::Error> for NodeError {
    fn from(error: reqwest::Error) -> Self {
        let mut cause = root_cause(&error);
        if cause.contains("certificate") {
            cause.push_str(
                ". It must be for the host of the node's public_url, and of an authority that this machine believes: \
                 the usual ones, and those of `cluster.ca_file`",
            );
        }
        Self::Unreachable(cause)
    }
}

/// What an upload's session on a node may take.
#[derive(Debug, Clone, Copy)]
pub struct WriteLimits {
    /// The most bytes.
    pub limit_bytes: u64,
    /// The size that the sender declared.
    pub declared_bytes: Option<u64>,
}

/// Calls nodes.
#[derive(Debug, Clone)]
pub struct NodeClient {
    http: ClusterHttp,
    /// Where connections live. A server's thread that called one into being may end before the others,
    /// as at a stop, and what lives on it would end with it.
    runtime: Handle,
    /// The longest that a short call may take, and that an answer may take after the last byte.
    patience: Duration,
}

impl NodeClient {
    /// With the cluster's HTTP clients; connections live on this runtime.
    #[must_use]
    pub fn new(http: impl Into<ClusterHttp>, patience: Duration) -> Self {
        Self { http: http.into(), runtime: Handle::current(), patience }
    }

    async fn send(&self, call: RequestBuilder) -> Result<Response, reqwest::Error> {
        TokioContext::new(traced(call).send(), self.runtime.clone()).await
    }

    fn call(&self, method: Method, member: &Member, path: &str) -> Result<RequestBuilder, NodeError> {
        let (http, base) = self.http.reach(member.address, member.tls.as_ref())?;
        Ok(http.request(method, format!("{base}/n/v1/{path}")))
    }

    /// Makes a session, sends it the whole body and has it prepared.
    ///
    /// A body that yields an error breaks the connection, which ends the session.
    ///
    /// # Errors
    /// [`NodeError`]; the session is gone then, or goes with its idle time.
    pub async fn write<S, E>(
        &self,
        member: &Member,
        upload: UploadId,
        limits: WriteLimits,
        now: Timestamp,
        body: S,
    ) -> Result<PrepareAnswer, NodeError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let ticket = Self::write_ticket(member, upload, limits, now);
        let call = self
            .call(Method::PUT, member, &format!("sessions/{upload}"))?
            .header(TICKET_HEADER, ticket.sign(&member.key))
            .body(reqwest::Body::wrap_stream(body));
        let answer = self.send(call).await?;
        Self::check_receipt(member, upload, read_json(answer).await?)
    }

    /// Makes a session, has it filled from another node's prepared one (`source`, with its
    /// receipt), and prepared.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn copy(
        &self,
        member: &Member,
        upload: UploadId,
        limits: WriteLimits,
        now: Timestamp,
        source: (&Member, &PrepareAnswer),
        within: Duration,
    ) -> Result<PrepareAnswer, NodeError> {
        let (source, receipt) = source;
        let read =
            CallTicket::new(Operation::ReadSession, source.id, Some(upload), now.saturating_add(TICKET_LIFE));
        let request = CopyRequest {
            protocol: PROTOCOL,
            source: format!("http://{}", source.address),
            // A node of 0.1 refuses what it does not know.
            source_tls: source.tls.clone().filter(|_| member.reads_more),
            source_ticket: read.sign(&source.key),
            digests: receipt.digests,
        };
        let body = to_json(&request)?;
        let ticket = Self::write_ticket(member, upload, limits, now).with_body(&body);
        let call = self
            .call(Method::POST, member, &format!("sessions/{upload}/copy"))?
            .header(TICKET_HEADER, ticket.sign(&member.key))
            .header("content-type", "application/json")
            .timeout(within)
            .body(body);
        let answer = self.send(call).await?;
        Self::check_receipt(member, upload, read_json(answer).await?)
    }

    /// Has a prepared session finished; repeating it is success.
    ///
    /// # Errors
    /// [`NodeError`]; `no-session` when the node has neither the session nor the blob.
    pub async fn finish(
        &self,
        member: &Member,
        upload: UploadId,
        request: &FinishRequest,
        now: Timestamp,
    ) -> Result<(), NodeError> {
        let body = to_json(request)?;
        let ticket =
            CallTicket::new(Operation::Finish, member.id, Some(upload), now.saturating_add(TICKET_LIFE))
                .with_body(&body);
        let call = self
            .call(Method::POST, member, &format!("sessions/{upload}/finish"))?
            .header(TICKET_HEADER, ticket.sign(&member.key))
            .header("content-type", "application/json")
            .timeout(self.patience)
            .body(body);
        let answer = self.send(call).await?;
        expect_success(answer).await.map(drop)
    }

    /// Has a session aborted; success where there is none.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn abort(&self, member: &Member, upload: UploadId, now: Timestamp) -> Result<(), NodeError> {
        let ticket =
            CallTicket::new(Operation::Abort, member.id, Some(upload), now.saturating_add(TICKET_LIFE));
        let call = self
            .call(Method::DELETE, member, &format!("sessions/{upload}"))?
            .header(TICKET_HEADER, ticket.sign(&member.key))
            .timeout(self.patience);
        let answer = self.send(call).await?;
        expect_success(answer).await.map(drop)
    }

    /// Checks that the node with this key is where it says.
    ///
    /// # Errors
    /// [`NodeError`], when it is not.
    pub async fn prove(&self, member: &Member) -> Result<(), NodeError> {
        // An upload id is 128 random bits; two make the nonce.
        let nonce = format!("{}{}", UploadId::random(), UploadId::random());
        let request = ProveRequest { protocol: PROTOCOL, node: member.id, nonce };
        // A connection from before says nothing of the certificate of now.
        if let Some(tls) = &member.tls {
            self.http.connect_anew(tls);
        }
        let call = self.call(Method::POST, member, "prove")?.timeout(Duration::from_secs(5)).json(&request);
        let answer = self.send(call).await?;
        let answer: ProveAnswer = read_json(answer).await?;
        if member.key.is_address_proof(member.id, &request.nonce, &answer.proof) {
            Ok(())
        } else {
            Err(NodeError::BadAnswer("another node answers at this address"))
        }
    }

    fn write_ticket(member: &Member, upload: UploadId, limits: WriteLimits, now: Timestamp) -> CallTicket {
        CallTicket {
            limit_bytes: limits.limit_bytes,
            declared_bytes: limits.declared_bytes,
            idle: IDLE,
            ..CallTicket::new(Operation::Write, member.id, Some(upload), now.saturating_add(TICKET_LIFE))
        }
    }

    fn check_receipt(
        member: &Member,
        upload: UploadId,
        receipt: PrepareAnswer,
    ) -> Result<PrepareAnswer, NodeError> {
        let pieces = receipt.digests.size.div_ceil(crate::domain::PIECE_BYTES);
        speaks(receipt.protocol)?;
        if receipt.node != member.id || receipt.upload != upload {
            return Err(NodeError::BadAnswer("the receipt is for something else"));
        }
        if receipt.pieces.len() as u64 != pieces {
            return Err(NodeError::BadAnswer("the receipt has too few or too many pieces"));
        }
        if !verify_receipt(&member.key, &receipt) {
            return Err(NodeError::BadAnswer("the receipt's signature is wrong"));
        }
        Ok(receipt)
    }
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<Vec<u8>, NodeError> {
    serde_json::to_vec(value).map_err(|_| NodeError::BadAnswer("the request cannot be written"))
}

/// Reads an answer's body up to a limit.
async fn read_body(mut answer: reqwest::Response) -> Result<Vec<u8>, NodeError> {
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(NodeError::BadAnswer("the answer is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

async fn expect_success(answer: reqwest::Response) -> Result<Vec<u8>, NodeError> {
    let status = answer.status();
    let body = read_body(answer).await?;
    if status.is_success() {
        return Ok(body);
    }
    Err(serde_json::from_slice(&body)
        .map_or(NodeError::BadAnswer("an error that is no problem document"), NodeError::Refused))
}

async fn read_json<T: DeserializeOwned>(answer: reqwest::Response) -> Result<T, NodeError> {
    let body = expect_success(answer).await?;
    wire::read(&body).map_err(|error| match error {
        Unread::Version(version) => version.into(),
        Unread::Unreadable(_) => NodeError::BadAnswer("it cannot be read"),
    })
}
