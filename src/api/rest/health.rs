//! `GET /healthz` and `/readyz`.

use actix_web::http::header::{CACHE_CONTROL, RETRY_AFTER};
use actix_web::{HttpResponse, web};

use crate::api::common::Site;

/// The process answers.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = 200, description = "Alive", body = String, content_type = "text/plain")))]
pub(super) async fn alive() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .content_type("text/plain; charset=utf-8")
        .body("ok\n")
}

/// The ledger takes writes, at least two nodes are healthy, and this central is not about to stop.
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    responses(
        (status = 200, description = "Ready", body = String, content_type = "text/plain"),
        (status = 503, description = "Not ready, and why", body = String, content_type = "text/plain"),
    )
)]
pub(super) async fn ready(site: web::Data<Site>) -> HttpResponse {
    let readiness = site.catalog.readiness().await;
    let is_leaving = site.leaving.is_cancelled();
    let is_ready = readiness.is_ready() && !is_leaving;
    let mut response = if is_ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    if !is_ready {
        response.insert_header((RETRY_AFTER, "2"));
    }
    let ledger = readiness.ledger.as_ref().map_or("writable".to_owned(), |error| format!("failed ({error})"));
    let word = match (is_leaving, is_ready) {
        (true, _) => "stopping",
        (false, true) => "ready",
        (false, false) => "not ready",
    };
    response.insert_header((CACHE_CONTROL, "no-store")).content_type("text/plain; charset=utf-8").body(
        format!("{word}\nledger: {ledger}\nhealthy nodes: {} (two are needed)\n", readiness.healthy_nodes),
    )
}
