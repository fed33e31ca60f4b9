//! A page for every error, where a browser asked.

use actix_web::Error;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::middleware::Next;

use super::pages::ErrorPage;
use super::respond::{page, sentence, shell, wants_page};
use crate::wire::api::Problem;

/// The middleware: turns a problem document into a page for those who name `text/html`.
///
/// # Errors
/// What comes from further in without an answer.
pub async fn errors_as_pages(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let is_for_people = wants_page(request.headers()) && !request.path().starts_with("/api/");
    let response = next.call(request).await?.map_into_boxed_body();
    let problem = response.response().extensions().get::<Problem>().cloned();
    let (true, Some(problem)) = (is_for_people, problem) else { return Ok(response) };
    let retry_after = response.headers().get(RETRY_AFTER).cloned();
    let file_sha1 =
        response.request().match_info().get("sha1").filter(|_| problem.status == 503).map(ToOwned::to_owned);
    let error = ErrorPage {
        shell: shell(),
        status: problem.status,
        title: problem.title,
        detail: sentence(&problem.detail),
        retry_after_s: retry_after.as_ref().and_then(|after| after.to_str().ok()?.parse().ok()),
        file_sha1,
        request_id: problem.request_id,
    };
    let allow = response.headers().get(ALLOW).cloned();
    let challenges: Vec<HeaderValue> = response.headers().get_all(WWW_AUTHENTICATE).cloned().collect();
    let Ok(mut body) = page(response.status(), &error) else { return Ok(response) };
    if let Some(allow) = allow {
        body.headers_mut().insert(ALLOW, allow);
    }
    if let Some(after) = retry_after {
        body.headers_mut().insert(RETRY_AFTER, after);
    }
    for challenge in challenges {
        body.headers_mut().append(WWW_AUTHENTICATE, challenge);
    }
    let (request, _) = response.into_parts();
    Ok(ServiceResponse::new(request, body))
}
