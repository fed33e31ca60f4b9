//! What nodes ask of central, under `/cluster/v1/` (see [`crate::wire::cluster`]).

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::common::{ApiError, Document, ProblemKind, read_document};
use crate::service::central::control::{Control, ControlError, Signed, SignedAnswer};
use crate::wire::cluster::{ChallengeAnswer, ChallengeRequest, JoinAnswer, JoinRequest};
use crate::wire::{self, KEY_HEADER, NODE_HEADER, SIGNATURE_HEADER};

/// The most bytes of a signed call's body.
const MAX_BODY_BYTES: usize = 64 << 10;

/// Mounts the routes.
pub fn configure(config: &mut web::ServiceConfig, control: Arc<Control>) {
    config.service(
        web::scope("/cluster/v1")
            .app_data(web::Data::from(control))
            .route("/challenge", web::post().to(challenge))
            .route("/join", web::post().to(join))
            .route("/{call}", web::post().to(signed)),
    );
}

async fn challenge(
    control: web::Data<Control>,
    Document(request): Document<Value>,
) -> Result<web::Json<ChallengeAnswer>, ApiError> {
    Ok(web::Json(control.challenge(&message::<ChallengeRequest>(request)?)?))
}

async fn join(
    control: web::Data<Control>,
    Document(request): Document<Value>,
) -> Result<web::Json<JoinAnswer>, ApiError> {
    Ok(web::Json(control.join(&message::<JoinRequest>(request)?).await?))
}

/// A message, of our version of the protocol.
fn message<T: DeserializeOwned>(document: Value) -> Result<T, ApiError> {
    let body = serde_json::to_vec(&document).unwrap_or_default();
    wire::read(&body).map_err(|error| ApiError::new(ProblemKind::BadRequest, error.to_string()))
}

/// Every call that is signed with the node's own key.
async fn signed(
    control: web::Data<Control>,
    request: HttpRequest,
    call: web::Path<String>,
    body: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let body = read_document(body, MAX_BODY_BYTES).await?;
    let unsigned = || ApiError::new(ProblemKind::Forbidden, "the call is not signed");
    let header =
        |name| request.headers().get(name).and_then(|value| value.to_str().ok()).ok_or_else(unsigned);
    let signed = Signed {
        call: &call,
        node: header(NODE_HEADER)?.parse().map_err(|_| unsigned())?,
        key: crate::domain::KeyId(header(KEY_HEADER)?.parse().map_err(|_| unsigned())?),
        signature: header(SIGNATURE_HEADER)?,
        body: &body,
    };
    let answer: SignedAnswer = match call.as_str() {
        "heartbeat" => {
            let peer = request.peer_addr().ok_or_else(unsigned)?;
            control.heartbeat(signed, peer.ip()).await?
        }
        "outcome" => control.outcome(signed).await?,
        "confirm" => control.confirm(signed).await?,
        _ => return Err(ApiError::new(ProblemKind::NotFound, "there is no such call")),
    };
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((SIGNATURE_HEADER, answer.signature))
        .body(answer.body))
}

impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        let kind = match error {
            ControlError::Ledger(error) => return error.into(),
            ControlError::Protocol(_) | ControlError::Invalid(_) => ProblemKind::BadRequest,
            ControlError::OtherCluster | ControlError::Forbidden(_) | ControlError::UnknownKey { .. } => {
                ProblemKind::Forbidden
            }
        };
        tracing::warn!(%error, "a node was refused");
        Self::new(kind, error.to_string())
    }
}
