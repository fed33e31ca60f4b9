//! Conditional requests (RFC 9110 §13) on content that never changes.

use actix_web::http::header::{HeaderMap, HeaderName, IF_MATCH, IF_NONE_MATCH, IF_RANGE, RANGE};

/// What the conditions come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome<'a> {
    /// `412`.
    Failed,
    /// `304`.
    NotModified,
    /// Answer, with this `Range` field if any.
    Answer(Option<&'a str>),
}

/// Looks at a request's conditions in the order of RFC 9110 §13.2.2. The entity tag is a
/// strong one, in its quotes. There is no last-modified date here, so conditions on dates are
/// passed over, and a date in `If-Range` never matches.
pub(super) fn evaluate<'a>(headers: &'a HeaderMap, etag: &str) -> Outcome<'a> {
    let tags = |name: &HeaderName| {
        let lines: Vec<&str> =
            headers.get_all(name).map(|value| value.to_str().unwrap_or_default()).collect();
        (!lines.is_empty()).then(|| lines.join(","))
    };
    if let Some(wanted) = tags(&IF_MATCH) {
        let is_ours = |tag: &str| tag == "*" || tag == etag;
        if !list(&wanted).any(is_ours) {
            return Outcome::Failed;
        }
    }
    if let Some(known) = tags(&IF_NONE_MATCH) {
        // Compared weakly: `W/` makes no difference here.
        let is_ours = |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag;
        if list(&known).any(is_ours) {
            return Outcome::NotModified;
        }
    }
    let may_be_partial = tags(&IF_RANGE).is_none_or(|validator| validator.trim() == etag);
    let mut ranges = headers.get_all(RANGE);
    let range = ranges.next().and_then(|value| value.to_str().ok());
    let is_one = ranges.next().is_none();
    Outcome::Answer(range.filter(|_| may_be_partial && is_one))
}

/// The elements of a list. A tag with a comma in it falls apart here, and no part of it can
/// have both of our tag's quotes.
fn list(field: &str) -> impl Iterator<Item = &str> {
    field.split(',').map(|element| element.trim_matches([' ', '\t']))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use actix_web::http::header::HeaderValue;

    const ETAG: &str = "\"abc\"";

    fn outcome(fields: &[(&str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.parse().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        format!("{:?}", evaluate(&headers, ETAG))
    }

    #[test]
    fn conditions_come_in_their_order() {
        let range = ("range", "bytes=0-0");
        for (fields, expected) in [
            (vec![], "Answer(None)"),
            (vec![range], "Answer(Some(\"bytes=0-0\"))"),
            (vec![range, range], "Answer(None)"),
            (vec![("if-none-match", ETAG)], "NotModified"),
            (vec![("if-none-match", "W/\"abc\"")], "NotModified"),
            (vec![("if-none-match", "*")], "NotModified"),
            (vec![("if-none-match", "\"x\", \"abc\"")], "NotModified"),
            (vec![("if-none-match", "\"x\""), ("if-none-match", ETAG)], "NotModified"),
            (vec![("if-none-match", "\"x\"")], "Answer(None)"),
            (vec![("if-none-match", "abc")], "Answer(None)"),
            (vec![("if-none-match", "")], "Answer(None)"),
            (vec![("if-match", ETAG)], "Answer(None)"),
            (vec![("if-match", "*")], "Answer(None)"),
            (vec![("if-match", "W/\"abc\"")], "Failed"),
            (vec![("if-match", "\"x\"")], "Failed"),
            (vec![("if-match", "\"x\""), ("if-none-match", ETAG)], "Failed"),
            (vec![("if-match", ETAG), ("if-none-match", ETAG)], "NotModified"),
            (vec![range, ("if-range", ETAG)], "Answer(Some(\"bytes=0-0\"))"),
            (vec![range, ("if-range", "W/\"abc\"")], "Answer(None)"),
            (vec![range, ("if-range", "\"x\"")], "Answer(None)"),
            (vec![range, ("if-range", "Sat, 29 Oct 1994 19:43:31 GMT")], "Answer(None)"),
            (vec![range, ("if-none-match", ETAG)], "NotModified"),
        ] {
            assert_eq!(outcome(&fields), expected, "{fields:?}");
        }
    }
}
