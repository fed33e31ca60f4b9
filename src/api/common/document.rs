//! The short bodies of calls, read within a time and a length: the server itself bounds neither.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{FromRequest, HttpRequest, web};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use serde::de::DeserializeOwned;

use super::problem::{ApiError, ProblemKind};

/// A document is here within this time.
const WITHIN: Duration = Duration::from_secs(10);
/// The most bytes of a person's or program's document: a thousand files to precheck.
const MAX_JSON_BYTES: usize = 256 << 10;

/// Reads a body of at most `most` bytes.
///
/// # Errors
/// When it is longer, slower or breaks off.
pub async fn read_document(mut body: web::Payload, most: usize) -> Result<Bytes, ApiError> {
    let reading = async {
        let mut document = BytesMut::new();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|_| {
                ApiError::new(ProblemKind::Incomplete, "the request ended before its last byte")
            })?;
            if document.len() + chunk.len() > most {
                return Err(ApiError::new(
                    ProblemKind::TooLarge,
                    format!("the request's body may have {most} bytes"),
                ));
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document.freeze())
    };
    tokio::time::timeout(WITHIN, reading)
        .await
        .unwrap_or_else(|_| Err(ApiError::new(ProblemKind::Timeout, "the request's body came too slowly")))
}

/// A JSON document as a request's body.
#[derive(Debug)]
pub struct Document<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Document<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let essence = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        let is_json = essence.eq_ignore_ascii_case("application/json")
            || essence.len() > 5 && essence.to_ascii_lowercase().ends_with("+json");
        let body = web::Payload::from_request(request, payload);
        Box::pin(async move {
            if !is_json {
                return Err(ApiError::new(
                    ProblemKind::UnsupportedMediaType,
                    "send JSON, and say so: Content-Type: application/json",
                ));
            }
            let unreadable = |error: &dyn std::fmt::Display| {
                ApiError::new(
                    ProblemKind::BadRequest,
                    format!("the body is not the JSON that is expected: {error}"),
                )
            };
            let body = body.await.map_err(|error| unreadable(&error))?;
            let document = read_document(body, MAX_JSON_BYTES).await?;
            serde_json::from_slice(&document).map(Self).map_err(|error| unreadable(&error))
        })
    }
}
