//! `ls`, `info` and `health`: questions that change nothing.

use std::time::Duration;

use indicatif::HumanBytes;

use super::error::printable;
use super::http::{host_of, read_body};
use super::{ClientError, Console, Server, Target};
use crate::domain::FileOrder;
use crate::wire::api::{Blob, Choice, Files};

/// The most files that one call asks for.
const PAGE_FILES: u64 = 1000;

/// Lists at most `limit` files whose names contain `query`, in this order.
///
/// # Errors
/// What the server says, or that it cannot be reached.
pub async fn ls(
    server: Server,
    console: &Console,
    query: Option<&str>,
    sort: FileOrder,
    limit: u64,
    json: bool,
) -> Result<(), ClientError> {
    let mut left = limit;
    let mut after: Option<String> = None;
    while left > 0 {
        let mut url = server.url(&["api", "v1", "files"]);
        {
            let mut pairs = url.query_pairs_mut();
            pairs.append_pair("limit", &left.min(PAGE_FILES).to_string());
            // Not the usual one, so that an older server is not asked for what it does not know.
            let sort = (sort != FileOrder::default()).then(|| sort.code());
            for (key, value) in [("query", query), ("sort", sort), ("after", after.as_deref())] {
                if let Some(value) = value {
                    pairs.append_pair(key, value);
                }
            }
        }
        let page: Files = server.get(&url).await?;
        for file in page.files.iter().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            let line = if json {
                to_json(file)?
            } else {
                let size = HumanBytes(file.size).to_string();
                let [created, sha1, name] =
                    [&file.created_at, &file.sha1, &file.name].map(|text| printable(text));
                format!("{created:<24}  {size:>10}  {sha1:<40}  {name}")
            };
            console.answer(&line)?;
        }
        left = left.saturating_sub(page.files.len() as u64);
        // A page without files may name a next one, but the same again would go on for ever.
        after = page.next.filter(|next| after.as_ref() != Some(next));
        if after.is_none() {
            return Ok(());
        }
    }
    if after.is_some() {
        console.note(&format!("there are more: --limit {}", limit.saturating_mul(2)));
    }
    Ok(())
}

/// Shows what is known of a content.
///
/// # Errors
/// What the server says, or that it cannot be reached.
pub async fn info(server: Server, console: &Console, target: &Target, json: bool) -> Result<(), ClientError> {
    let server = server.of(target)?;
    let blob = server.blob(target.sha1).await?;
    if json {
        return console.answer(&to_json(&blob)?);
    }
    let choice: Choice =
        server.get(&server.url(&["api", "v1", "blobs", &target.sha1.to_hex(), "replicas"])).await?;
    for line in describe(&blob, &choice) {
        console.answer(&printable(&line))?;
    }
    Ok(())
}

fn describe(blob: &Blob, choice: &Choice) -> Vec<String> {
    let mut lines = vec![
        format!("link     {}", blob.url),
        format!("size     {} ({} bytes)", HumanBytes(blob.size), blob.size),
        format!("SHA-1    {}", blob.sha1),
        format!("SHA-256  {}", blob.sha256),
    ];
    for file in &blob.files {
        lines.push(format!("name     {} ({}, {})", file.name, file.media_type, file.created_at));
    }
    for replica in &blob.replicas {
        let health = if replica.healthy { "healthy" } else { "does not answer" };
        let distance = choice
            .replicas
            .iter()
            .position(|other| other.node == replica.node)
            .and_then(|at| choice.replicas.get(at).map(|other| (at, other.distance_km)));
        let distance = match distance {
            Some((0, km)) => format!(", {km:.0} km, yours"),
            Some((_, km)) => format!(", {km:.0} km"),
            None => String::new(),
        };
        lines.push(format!(
            "copy     {}{distance} ({}, {health}, verified {})",
            replica.place.name, replica.state, replica.verified_at
        ));
    }
    let client = &choice.client;
    let how = if client.known_by == "central" {
        "the server's own place, as yours is not known"
    } else {
        "your place"
    };
    lines.push(format!("from     {} ({how})", client.place.name));
    lines
}

/// What a server's health is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Whether the process answers: central's, or a node's.
    Alive,
    /// Whether it can take files: central's alone.
    Ready,
}

/// Says whether the server is alive, or ready to take files, if it answers `within` that time.
///
/// # Errors
/// Why it is not, or that it cannot be reached in time.
pub async fn health(
    server: Server,
    console: &Console,
    question: Question,
    within: Duration,
) -> Result<(), ClientError> {
    let (path, word) = match question {
        Question::Alive => ("healthz", "alive"),
        Question::Ready => ("readyz", "ready"),
    };
    let url = server.url(&[path]);
    let asked = async {
        let response = server.ask(&url).await?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let body = read_body(&url, response).await?;
        Err(serde_json::from_slice(&body).map_or_else(
            |_| {
                let said: String = String::from_utf8_lossy(&body).trim().chars().take(1000).collect();
                ClientError::Answer(format!("not {word}: {status} {}", printable(&said)))
            },
            ClientError::Problem,
        ))
    };
    tokio::time::timeout(within, asked).await.unwrap_or_else(|_| {
        let seconds = within.as_secs();
        Err(ClientError::Answer(format!("{} did not answer within {seconds} s", host_of(&url))))
    })?;
    console.answer(word)
}

/// One line of JSON.
pub(super) fn to_json(value: &impl serde::Serialize) -> Result<String, ClientError> {
    serde_json::to_string(value).map_err(|error| ClientError::Output(error.into()))
}
