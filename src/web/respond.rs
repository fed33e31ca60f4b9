//! A page as an answer, with what browsers are told about it.

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use actix_web::{HttpResponse, http::header};
use askama::Template;

use super::assets;
use super::pages::Shell;
use super::policy::{NodeOrigins, policy};
use crate::api::common::{ApiError, ProblemKind};

/// What every page needs.
pub(super) fn shell() -> Shell {
    Shell { assets: assets::VERSION.clone(), version: env!("CARGO_PKG_VERSION").to_owned() }
}

/// The answer with a page that loads nothing from elsewhere.
pub(super) fn page(status: StatusCode, page: &impl Template) -> Result<HttpResponse, ApiError> {
    page_with(status, page, &NodeOrigins::default())
}

/// The answer with a page that reads from these nodes.
pub(super) fn page_with(
    status: StatusCode,
    page: &impl Template,
    nodes: &NodeOrigins,
) -> Result<HttpResponse, ApiError> {
    let html = page.render().map_err(|error| {
        tracing::error!(%error, "a page cannot be rendered");
        ApiError::new(
            ProblemKind::Internal,
            "the page cannot be shown: the operator finds the cause in the log",
        )
    })?;
    Ok(HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((CACHE_CONTROL, "private, no-store"))
        .insert_header((header::CONTENT_SECURITY_POLICY, policy(nodes)))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header(("cross-origin-opener-policy", "same-origin"))
        .body(html))
}

/// A problem's detail as a sentence.
pub(super) fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase).into_iter().flatten();
    let text: String = first.chain(letters).collect();
    if text.ends_with(['.', '?', '!']) { text } else { text + "." }
}

/// Whether the request names `text/html` as something it takes.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT)
        .filter_map(|accept| accept.to_str().ok())
        .flat_map(|accept| accept.split(','))
        .any(|range| {
            let mut parts = range.split(';').map(str::trim);
            let is_html = parts.next().is_some_and(|media| media.eq_ignore_ascii_case("text/html"));
            is_html && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn a_page_is_for_those_who_name_html() {
        let wants = |accept: &str| {
            wants_page(TestRequest::default().insert_header((ACCEPT, accept)).to_http_request().headers())
        };
        assert!(wants("text/html") && wants("application/xml, Text/HTML;q=0.9, */*"));
        assert!(
            !wants("*/*") && !wants("application/json") && !wants("text/html;q=0") && !wants("text/htmlx")
        );
    }
}
