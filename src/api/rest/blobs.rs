//! `GET /api/v1/blobs/{sha1}` and what belongs to it.

use actix_web::{HttpRequest, web};
use serde::Deserialize;

use crate::api::common::{
    ApiError, ProblemKind, Site, admit_asking_for, blob_path, file_object, file_url, place_object,
    place_of_origin,
};
use crate::domain::{PIECE_BYTES, Sha1, Viewer};
use crate::service::central::KnownBy;
use crate::service::central::ReplicaState;
use crate::service::central::link::Wish;
use crate::wire::api::{Blob, BlobPieces, BlobReplica, Choice, ChoiceClient, ChoiceReplica};

fn not_found() -> ApiError {
    ApiError::new(ProblemKind::NotFound, "no file with this SHA-1 is stored here")
}

/// A blob: digests, size, files and replicas.
#[utoipa::path(
    get, path = "/api/v1/blobs/{sha1}", tag = "blobs",
    params(("sha1" = String, Path, description = "SHA-1 in hex")),
    responses(
        (status = 200, description = "The blob", body = Blob),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
pub(super) async fn blob(
    site: web::Data<Site>,
    request: HttpRequest,
    sha1: web::Path<String>,
) -> Result<web::Json<Blob>, ApiError> {
    let base = site.base(&request)?;
    let sha1: Sha1 = sha1.parse()?;
    let detail = site.catalog.detail(Viewer::Public, sha1).await?.ok_or_else(not_found)?;
    let digests = detail.blob.digests;
    let replicas = detail
        .replicas
        .iter()
        .map(|at| BlobReplica {
            node: at.replica.node.to_string(),
            place: place_object(&at.node.node.place),
            state: state_name(at.replica.state).to_owned(),
            healthy: at.healthy,
            verified_at: at.replica.verified_at.to_string(),
        })
        .collect();
    Ok(web::Json(Blob {
        sha1: digests.sha1.to_string(),
        sha256: digests.sha256.to_string(),
        size: digests.size,
        url: file_url(&base, &detail.blob.file),
        files: detail.files.iter().map(|file| file_object(&base, file)).collect(),
        replicas,
    }))
}

const fn state_name(state: ReplicaState) -> &'static str {
    match state {
        ReplicaState::Pending => "pending",
        ReplicaState::Stored => "stored",
        ReplicaState::Bad => "bad",
    }
}

/// A blob's pieces of 4 MiB with the SHA-256 of each.
#[utoipa::path(
    get, path = "/api/v1/blobs/{sha1}/pieces", tag = "blobs",
    params(("sha1" = String, Path, description = "SHA-1 in hex")),
    responses(
        (status = 200, description = "The pieces", body = BlobPieces),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
pub(super) async fn pieces(
    site: web::Data<Site>,
    sha1: web::Path<String>,
) -> Result<web::Json<BlobPieces>, ApiError> {
    let sha1: Sha1 = sha1.parse()?;
    let pieces = site.catalog.pieces(Viewer::Public, sha1).await?.ok_or_else(not_found)?;
    Ok(web::Json(BlobPieces {
        sha1: sha1.to_string(),
        size: pieces.digests.size,
        piece_length: PIECE_BYTES,
        sha256: pieces.sha256.iter().map(ToString::to_string).collect(),
    }))
}

/// The query of a choice.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FromQuery {
    from: Option<String>,
}

/// The choice of a replica for the asker, or for another place, explained.
#[utoipa::path(
    get, path = "/api/v1/blobs/{sha1}/replicas", tag = "blobs",
    params(
        ("sha1" = String, Path, description = "SHA-1 in hex"),
        ("from" = Option<String>, Query, description = "An IP address, or `lat,lon` in degrees. An address that is not the asker's own can take a token with the scope `admin`"),
    ),
    responses(
        (status = 200, description = "The replicas in order of choice", body = Choice),
        (status = "default", description = "A problem document (RFC 9457)", body = crate::wire::api::Problem),
    )
)]
pub(super) async fn replicas(
    site: web::Data<Site>,
    request: HttpRequest,
    sha1: web::Path<String>,
    query: web::Query<FromQuery>,
) -> Result<web::Json<Choice>, ApiError> {
    let base = site.base(&request)?;
    let sha1: Sha1 = sha1.parse()?;
    admit_asking_for(&site, &request, query.from.as_deref()).await?;
    let wish = Wish { from: query.from.as_deref(), node: None };
    let choice = site.links.choose(Viewer::Public, sha1, site.client(&request), wish).await?;
    let client = ChoiceClient {
        address: choice.origin.address.map(|address| address.to_string()),
        place: place_of_origin(&choice.origin),
        known_by: match choice.origin.known_by {
            KnownBy::GeoIp => "geoip",
            KnownBy::Given => "given",
            KnownBy::Central => "central",
        }
        .to_owned(),
    };
    let replicas = choice
        .replicas
        .iter()
        .map(|replica| ChoiceReplica {
            node: replica.node.to_string(),
            place: place_object(&replica.place),
            distance_km: (replica.distance_km * 10.0).round() / 10.0,
            healthy: replica.healthy,
            url: format!("{base}{}?node={}", blob_path(sha1), replica.node),
        })
        .collect();
    Ok(web::Json(Choice { client, replicas }))
}
