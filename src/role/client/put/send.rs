//! Sending one file.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use tokio::time::Instant;
use url::Url;

use super::Local;
use super::body::{self, Watch};
use crate::domain::{MediaType, Sha1};
use crate::role::client::http::{Refusal, Tries, judge, read_json};
use crate::role::client::{ClientError, Console, Server};
use crate::wire::api::{UploadStatus, UploadedFile};

/// An upload of which nothing is taken and to which nothing is answered for so long is cut.
/// Long, as the server syncs both copies of the whole file before it answers.
const STALLED_AFTER: Duration = Duration::from_mins(15);

/// Sends a file, again while the server is too busy for it.
///
/// # Errors
/// What the server says, that it cannot be reached, or that the file was changed.
pub(super) async fn send(
    server: &Server,
    console: &Console,
    local: &Local,
    sha1: Option<Sha1>,
) -> Result<UploadedFile, ClientError> {
    let mut url = server.url(&["api", "v1", "files"]);
    url.query_pairs_mut().append_pair("name", local.name.as_str());
    let mut tries = Tries::new(server.second);
    loop {
        match send_once(server, console, &url, local, sha1).await {
            Ok(UploadedFile { status: UploadStatus::Error, problem, .. }) => {
                return Err(problem.map_or_else(
                    || ClientError::Answer("the server did not say why it took nothing".to_owned()),
                    ClientError::Problem,
                ));
            }
            Ok(file) => return Ok(file),
            Err(refusal) => tries.wait_or_fail(refusal).await?,
        }
    }
}

async fn send_once(
    server: &Server,
    console: &Console,
    url: &Url,
    local: &Local,
    sha1: Option<Sha1>,
) -> Result<UploadedFile, Refusal> {
    let progress = console.progress("sending", local.name.as_str(), local.size);
    let watch = Watch::default();
    let body = body::open(local, progress, watch.clone()).await?;
    let mut request = server
        .uploads()
        .post(url.clone())
        .header(CONTENT_LENGTH, local.size)
        .header(CONTENT_TYPE, MediaType::guess(&local.name).as_str());
    if let Some(sha1) = sha1 {
        request = request.header("repr-digest", format!("sha=:{}:", sha1.to_base64()));
    }
    let sent = request.body(reqwest::Body::wrap_stream(body)).send();
    let response = tokio::select! {
        response = sent => response.map_err(|error| ClientError::http(url, error)),
        error = stalled(url, &watch) => Err(error),
    };
    match response {
        Ok(response) => take(url, response).await,
        // The network's error says only that the body broke off.
        Err(error) => Err(watch.into_failure().unwrap_or(error).into()),
    }
}

async fn take(url: &Url, response: Response) -> Result<UploadedFile, Refusal> {
    let response = judge(url, response).await?;
    Ok(read_json(url, response).await?)
}

/// Ends when nothing has been taken for too long.
async fn stalled(url: &Url, watch: &Watch) -> ClientError {
    let mut seen = (watch.taken_bytes(), Instant::now());
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let taken = watch.taken_bytes();
        if taken != seen.0 {
            seen = (taken, Instant::now());
        } else if seen.1.elapsed() >= STALLED_AFTER {
            return ClientError::Answer(format!(
                "{} takes nothing any more",
                url.origin().ascii_serialization()
            ));
        }
    }
}
