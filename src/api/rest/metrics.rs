//! `GET /metrics`, for Prometheus.

use actix_web::{HttpRequest, HttpResponse, web};

use crate::api::common::{ApiError, ProblemKind, Site, admit_operator};

/// Counters and gauges in Prometheus' text format; every family from the first scrape on.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain")))]
pub(super) async fn metrics(site: web::Data<Site>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    admit_operator(&site, &request).await?;
    let standing = site.catalog.standing(site.uploads.running(), site.uploads.limits().uploads).await;
    // What was counted is told most of all when something fails.
    if let Err(error) = &standing
        && site.metrics.is_ledger_up()
    {
        tracing::warn!(%error, "the ledger does not answer: the metrics say how it stood");
    }
    let text = site.metrics.scrape(standing.ok().as_ref()).map_err(|error| {
        tracing::error!(%error, "the metrics cannot be written");
        ApiError::new(
            ProblemKind::Internal,
            "the metrics cannot be written: the operator finds the cause in the log",
        )
    })?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}
