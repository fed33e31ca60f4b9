//! What every request of a person passes first: it is for us, and no other site's page
//! made it change something.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::ORIGIN;
use actix_web::middleware::Next;
use actix_web::{Error, HttpRequest, ResponseError as _, web};

use super::problem::{ApiError, ProblemKind};
use super::site::Site;

/// Paths that are asked for by machines beside us, under whatever name they know us by.
const INTERNAL: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// Whether people ask for this path, and not machines beside us: other servers of the cluster, and what
/// watches over this one.
#[must_use]
pub fn is_for_people(path: &str) -> bool {
    !INTERNAL.contains(&path) && !path.starts_with("/cluster/v1/")
}

/// The middleware.
///
/// # Errors
/// [`ProblemKind::Misdirected`] for another host; [`ProblemKind::CrossSite`] for a change
/// with a foreign `Origin` or a cross-site `Sec-Fetch-Site`.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let verdict = request.app_data::<web::Data<Site>>().map_or(Ok(()), |site| check(site, request.request()));
    match verdict {
        Ok(()) => Ok(next.call(request).await?.map_into_boxed_body()),
        // An answer, not an error: what wraps this one can turn it into a page.
        Err(error) => Ok(request.into_response(error.error_response())),
    }
}

fn check(site: &Site, request: &HttpRequest) -> Result<(), ApiError> {
    let path = request.path();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if !is_for_people(path) && (is_read || !INTERNAL.contains(&path)) {
        return Ok(());
    }
    let base = site.base(request)?;
    if is_read {
        return Ok(());
    }
    let cross_site =
        request.headers().get("sec-fetch-site").is_some_and(|site| site.as_bytes() == b"cross-site");
    // What another app shares to this one is sent by the browser itself: no site asked for it, which
    // no page can claim, and its origin is `null`.
    let from_browser = request.headers().get("sec-fetch-site").is_some_and(|site| site.as_bytes() == b"none");
    let foreign = request.headers().get_all(ORIGIN).any(|origin| {
        origin.as_bytes() != base.as_bytes() && !(from_browser && origin.as_bytes() == b"null")
    });
    if cross_site || foreign {
        return Err(ApiError::new(
            ProblemKind::CrossSite,
            format!("another site's page asked for this change: open {base} and do it there"),
        ));
    }
    Ok(())
}
