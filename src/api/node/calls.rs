//! The calls of central and of other nodes. Each is checked against its ticket by the
//! service; a missing ticket is as wrong as a forged one.

use std::future::{Ready, ready};

use actix_web::body::SizedStream;
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpRequest, HttpResponse, Resource, Route, Scope, web};
use serde::Deserialize;

use super::{ApiError, ProblemKind};
use crate::api::common::{only, read, read_document};
use crate::domain::{Sha1, UploadId};
use crate::service::node::{INVENTORY_PAGE, NodeService, PartStart};
use crate::wire::cluster::{ProveAnswer, ProveRequest};
use crate::wire::node::{Inventory, NodeStatus, OffsetAnswer, PrepareAnswer};
use crate::wire::{self, TICKET_HEADER};

/// The most bytes of a call's document: a finish carries a blob's files.
const MAX_DOCUMENT_BYTES: usize = 4 << 20;

type Service = web::Data<NodeService>;

/// A call about one upload: which, and by whose ticket.
struct Call {
    request: HttpRequest,
    upload: UploadId,
}

impl Call {
    fn ticket(&self) -> Option<&str> {
        ticket(&self.request)
    }
}

impl FromRequest for Call {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let upload = request.match_info().get("upload").and_then(|text| text.parse().ok());
        ready(match upload {
            Some(upload) => Ok(Self { request: request.clone(), upload }),
            None => Err(ApiError::new(ProblemKind::BadRequest, "this is no upload id")),
        })
    }
}

pub(super) fn scope() -> Scope {
    web::scope("/n/v1")
        .service(
            web::resource("/sessions/{upload}")
                .route(web::put().to(write))
                .route(web::post().to(open))
                .route(web::patch().to(append))
                .route(web::get().to(read_session))
                .route(web::delete().to(abort))
                .default_service(only("GET, PUT, POST, PATCH, DELETE")),
        )
        .service(read("/sessions/{upload}/offset", offset))
        .service(post("/sessions/{upload}/prepare", web::post().to(prepare)))
        .service(post("/sessions/{upload}/fill", web::post().to(fill)))
        .service(post("/sessions/{upload}/copy", web::post().to(copy)))
        .service(post("/sessions/{upload}/finish", web::post().to(finish)))
        .service(read("/inventory", inventory))
        .service(read("/status", status))
        .service(post("/prove", web::post().to(prove)))
}

fn post(path: &str, route: Route) -> Resource {
    web::resource(path).route(route).default_service(only("POST"))
}

async fn write(
    service: Service,
    call: Call,
    body: web::Payload,
) -> Result<web::Json<PrepareAnswer>, ApiError> {
    Ok(web::Json(service.write(call.ticket(), call.upload, body).await?))
}

async fn copy(
    service: Service,
    call: Call,
    body: web::Payload,
) -> Result<web::Json<PrepareAnswer>, ApiError> {
    let body = read_document(body, MAX_DOCUMENT_BYTES).await?;
    Ok(web::Json(service.copy(call.ticket(), call.upload, &body).await?))
}

async fn open(service: Service, call: Call) -> Result<HttpResponse, ApiError> {
    let opened = service.open(call.ticket(), call.upload).await?;
    let status = if opened.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(HttpResponse::build(status).json(opened.answer))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AppendQuery {
    offset: u64,
    checksum: Option<Sha1>,
}

async fn append(
    service: Service,
    call: Call,
    body: web::Payload,
) -> Result<web::Json<OffsetAnswer>, ApiError> {
    let query = web::Query::<AppendQuery>::from_query(call.request.query_string()).map_err(|_| {
        ApiError::new(ProblemKind::BadRequest, "`offset` is a number of bytes, `checksum` a SHA-1")
    })?;
    let AppendQuery { offset, checksum } = query.into_inner();
    let part = PartStart { offset, checksum };
    Ok(web::Json(service.append(call.ticket(), call.upload, part, body).await?))
}

async fn offset(service: Service, call: Call) -> Result<web::Json<OffsetAnswer>, ApiError> {
    Ok(web::Json(service.offset(call.ticket(), call.upload).await?))
}

async fn prepare(
    service: Service,
    call: Call,
    body: web::Payload,
) -> Result<web::Json<PrepareAnswer>, ApiError> {
    let body = read_document(body, MAX_DOCUMENT_BYTES).await?;
    Ok(web::Json(service.prepare(call.ticket(), call.upload, &body).await?))
}

async fn fill(service: Service, call: Call, body: web::Payload) -> Result<web::Json<OffsetAnswer>, ApiError> {
    let body = read_document(body, MAX_DOCUMENT_BYTES).await?;
    Ok(web::Json(service.fill(call.ticket(), call.upload, &body).await?))
}

async fn read_session(service: Service, call: Call) -> Result<HttpResponse, ApiError> {
    let content = service.read_session(call.ticket(), call.upload).await?;
    let size = content.size();
    Ok(HttpResponse::Ok()
        .content_type("application/octet-stream")
        .insert_header(("cache-control", "no-store"))
        .body(SizedStream::new(size, Box::pin(content.stream(0..size)))))
}

async fn finish(service: Service, call: Call, body: web::Payload) -> Result<HttpResponse, ApiError> {
    let body = read_document(body, MAX_DOCUMENT_BYTES).await?;
    service.finish(call.ticket(), call.upload, &body).await?;
    Ok(HttpResponse::NoContent().finish())
}

async fn abort(service: Service, call: Call) -> Result<HttpResponse, ApiError> {
    service.abort(call.ticket(), call.upload).await?;
    Ok(HttpResponse::NoContent().finish())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InventoryQuery {
    after: Option<Sha1>,
    limit: Option<usize>,
}

async fn inventory(service: Service, request: HttpRequest) -> Result<web::Json<Inventory>, ApiError> {
    let query = web::Query::<InventoryQuery>::from_query(request.query_string())
        .map_err(|_| ApiError::new(ProblemKind::BadRequest, "`after` is a SHA-1 and `limit` a number"))?;
    let limit = query.limit.unwrap_or(INVENTORY_PAGE);
    Ok(web::Json(service.inventory(ticket(&request), query.after, limit).await?))
}

async fn status(service: Service) -> Result<web::Json<NodeStatus>, ApiError> {
    Ok(web::Json(service.status().await?))
}

async fn prove(service: Service, body: web::Payload) -> Result<web::Json<ProveAnswer>, ApiError> {
    let body = read_document(body, MAX_DOCUMENT_BYTES).await?;
    let request: ProveRequest =
        wire::read(&body).map_err(|error| ApiError::new(ProblemKind::BadRequest, error.to_string()))?;
    Ok(web::Json(service.prove(&request)?))
}

/// The ticket, if there is exactly one.
fn ticket(request: &HttpRequest) -> Option<&str> {
    let mut values = request.headers().get_all(TICKET_HEADER);
    let ticket = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(ticket)
}
