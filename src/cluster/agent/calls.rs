//! The node's calls to central: signed, of bounded length and time, with the answer's signature checked.

use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Agent, AgentError};
use crate::cluster::http::{root_cause, traced};
use crate::domain::NodeId;
use crate::tickets::{self, NodeKey};
use crate::wire::{self, KEY_HEADER, NODE_HEADER, SIGNATURE_HEADER, Unread};

/// How long a call to central may take in all.
const CALL: Duration = Duration::from_secs(4);
/// No answer of central is longer, in bytes: a finish carries a blob's files.
const MAX_ANSWER_BYTES: usize = 4 << 20;

impl Agent {
    pub(super) async fn signed<T: DeserializeOwned>(
        &self,
        call: &'static str,
        request: &(impl Serialize + Sync),
    ) -> Result<T, AgentError> {
        parse(&self.signed_bytes(call, encode(request)?).await?)
    }

    /// One signed call, with its answer's signature checked.
    pub(super) async fn signed_bytes(
        &self,
        call: &'static str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, AgentError> {
        let (node, key) = self
            .state()
            .identity
            .as_ref()
            .and_then(|identity| Some((identity.node, identity.newest_key()?.clone())))
            .ok_or(AgentError::NotJoined)?;
        let signature = tickets::sign_call(&key, call, node, &body);
        let (answer, answer_signature) = self.post(call, body, Some((node, &key, &signature))).await?;
        let is_centrals = answer_signature
            .is_some_and(|given| tickets::verify_answer(&key, call, &signature, &answer, &given));
        if is_centrals { Ok(answer) } else { Err(AgentError::BadAnswer("its signature is not central's")) }
    }

    /// The body and the signature of a good answer.
    pub(super) async fn post(
        &self,
        call: &'static str,
        body: Vec<u8>,
        signed: Option<(NodeId, &NodeKey, &str)>,
    ) -> Result<(Vec<u8>, Option<String>), AgentError> {
        let mut url = self.options.central_url.clone();
        url.set_path(&format!("/cluster/v1/{call}"));
        let mut request = self
            .http
            .post(url)
            .timeout(CALL)
            .header(reqwest::header::CONTENT_TYPE, "application/json")
            .body(body);
        if let Some((node, key, signature)) = signed {
            request = request
                .header(NODE_HEADER, node.to_string())
                .header(KEY_HEADER, key.id().to_string())
                .header(SIGNATURE_HEADER, signature);
        }
        let response = traced(request).send().await.map_err(|error| unreachable(&error))?;
        let status = response.status();
        let signature = response.headers().get(SIGNATURE_HEADER).and_then(|value| value.to_str().ok());
        let signature = signature.map(str::to_owned);
        let answer = read(response).await?;
        if status == StatusCode::OK || status == StatusCode::NO_CONTENT {
            return Ok((answer, signature));
        }
        let detail = serde_json::from_slice::<crate::wire::api::Problem>(&answer)
            .map_or_else(|_| "it gave no reason".to_owned(), |problem| printable(&problem.detail));
        Err(AgentError::Refused { status: status.as_u16(), detail })
    }
}

/// The whole answer, if it is of a sensible length.
async fn read(mut response: Response) -> Result<Vec<u8>, AgentError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(&error))? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(AgentError::BadAnswer("it is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable(error: &reqwest::Error) -> AgentError {
    AgentError::Unreachable(if error.is_timeout() {
        "it took too long".to_owned()
    } else {
        root_cause(error)
    })
}

/// Somebody else's words in our log: a line of bounded length.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(500).collect()
}

pub(super) fn encode(value: &impl Serialize) -> Result<Vec<u8>, AgentError> {
    serde_json::to_vec(value).map_err(|_| AgentError::BadAnswer("the request cannot be written"))
}

pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, AgentError> {
    wire::read(body).map_err(|error| match error {
        Unread::Version(version) => version.into(),
        Unread::Unreadable(_) => AgentError::BadAnswer("it cannot be read"),
    })
}
