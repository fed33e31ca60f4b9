//! A request's body on its way into an upload.

use std::fmt::Display;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};

use crate::domain::{FileName, MediaType};
use crate::service::central::complete::Completed;
use crate::service::central::upload::{Feed, NewUpload, UploadError, UploadService};

/// Sends a body into an upload. A body that breaks off aborts it.
///
/// # Errors
/// [`UploadError`].
pub async fn store<S, E>(
    uploads: &UploadService,
    upload: NewUpload,
    body: S,
) -> Result<Completed, UploadError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Display,
{
    pump(uploads.begin(upload)?, body).await
}

/// Sends a body into what was begun. A body that breaks off ends it.
///
/// # Errors
/// What it ended with.
pub async fn pump<S, E, T, F>(feed: Feed<T, F>, body: S) -> Result<T, F>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Display,
    F: From<UploadError>,
{
    let mut body = body;
    loop {
        let next = tokio::select! {
            next = body.next() => next,
            // Cut while the sender was waited for: the answer must not wait for it, too.
            () = feed.ended() => return feed.outcome().await,
        };
        match next {
            Some(Ok(bytes)) => {
                if !feed.send(bytes).await {
                    return feed.outcome().await;
                }
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "an upload's body broke off");
                return feed.outcome().await;
            }
            None => return feed.end().await,
        }
    }
}

/// What the sender says the content is; what forms and `curl` say of any body says nothing,
/// and the name's ending is asked instead.
#[must_use]
pub fn media_type_of(request: &HttpRequest, name: &FileName) -> MediaType {
    let given =
        request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(MediaType::parse);
    given
        .filter(|given| {
            !matches!(given.as_str(), MediaType::UNKNOWN | "application/x-www-form-urlencoded")
                && !given.as_str().starts_with("multipart/")
        })
        .unwrap_or_else(|| MediaType::guess(name))
}
