//! `get`: download a content from the nearest copy, resume, check, and only then give it its
//! name.

mod partial;
mod source;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use reqwest::StatusCode;
use reqwest::header::CONTENT_RANGE;
use url::Url;

use self::partial::Partial;
use self::source::Sources;
use super::console::{Console, Progress};
use super::error::printable;
use super::http::host_of;
use super::{ClientError, Server, Target};
use crate::domain::{FileName, Sha1, Sha256};
use crate::wire::api::Blob;

/// Downloads a content and prints where it is.
///
/// # Errors
/// When the target exists, when no copy gives the bytes, when they are not what the ledger
/// knows, or when they cannot be written.
pub async fn get(
    server: Server,
    console: &Console,
    target: &Target,
    output: Option<&Path>,
) -> Result<(), ClientError> {
    let server = server.of(target)?;
    let blob = server.blob(target.sha1).await?;
    let wanted = Wanted::read(&blob, target.sha1)?;
    let path = match output {
        Some(path) if !path.is_dir() => path.to_owned(),
        folder => folder.unwrap_or_else(|| Path::new("")).join(local_name(&blob, target)),
    };
    refuse_existing(&path)?;

    let mut partial = Partial::open(partial_path(&path, target.sha1), wanted.size).await?;
    let progress = console.progress("loading", &path.display().to_string(), wanted.size);
    progress.set(partial.size());
    if partial.size() > 0 {
        console.note(&format!("goes on at {} of {} bytes", partial.size(), wanted.size));
    }
    let mut was_resumed = partial.size() > 0;
    let mut sources = Sources::new(&server, target.sha1);
    loop {
        if let Err(error) = load(&mut sources, &mut partial, wanted.size, &progress, console).await {
            partial.leave().await?;
            return Err(error);
        }
        if partial.sha256() == wanted.sha256 {
            break;
        }
        // Which part of it is wrong cannot be told: all of it goes, whatever it came from.
        console.note("the bytes are not those of the ledger: once more, from the beginning");
        partial.restart().await?;
        progress.set(0);
        if !sources.wrong_bytes(was_resumed) {
            partial.leave().await?;
            return Err(sources.into_error());
        }
        was_resumed = false;
    }
    partial.keep_as(&path).await?;
    console.answer(&printable(&path.display().to_string()))
}

/// What the bytes must be.
struct Wanted {
    size: u64,
    sha256: Sha256,
}

impl Wanted {
    fn read(blob: &Blob, asked: Sha1) -> Result<Self, ClientError> {
        let is_same = blob.sha1.parse() == Ok(asked);
        match blob.sha256.parse() {
            Ok(sha256) if is_same => Ok(Self { size: blob.size, sha256 }),
            _ => Err(ClientError::Answer("the server answers about another content".to_owned())),
        }
    }
}

/// The name in the link if the ledger has it, else the oldest file's. The server's word is
/// not taken for a path: it is read as a name again.
fn local_name(blob: &Blob, target: &Target) -> String {
    let names: Vec<_> = blob.files.iter().filter_map(|file| FileName::parse(&file.name).ok()).collect();
    let asked = target.name.as_ref().filter(|name| names.contains(name));
    asked.or(names.first()).map_or_else(|| target.sha1.to_hex(), |name| name.as_str().to_owned())
}

fn refuse_existing(path: &Path) -> Result<(), ClientError> {
    // Also a link that leads nowhere is something.
    match path.symlink_metadata() {
        Ok(_) => Err(partial::exists(path)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ClientError::file(path)(error)),
    }
}

/// Where the bytes are until they are complete.
fn partial_path(path: &Path, sha1: Sha1) -> PathBuf {
    const SUFFIX: &str = ".closeby-part";
    const MAX_NAME_BYTES: usize = 255;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(SUFFIX);
    if name.len() > MAX_NAME_BYTES {
        name = format!("{sha1}{SUFFIX}").into();
    }
    path.with_file_name(name)
}

/// Loads what is missing, from one copy after the other.
async fn load(
    sources: &mut Sources<'_>,
    partial: &mut Partial,
    size: u64,
    progress: &Progress,
    console: &Console,
) -> Result<(), ClientError> {
    while partial.size() < size {
        let url = sources.next().await?;
        let before = partial.size();
        let outcome = load_from(sources, &url, partial, size, progress).await;
        sources.gained(partial.size().saturating_sub(before));
        match outcome {
            Ok(()) => {}
            // No other copy helps where this machine fails.
            Err(Failure::Here(error)) => return Err(error),
            Err(Failure::Expired) => sources.expired(),
            Err(Failure::Copy(error)) => {
                console.note(&format!("{error}; another copy is tried"));
                sources.failed(&url, error);
            }
        }
    }
    Ok(())
}

/// Why a copy did not give everything.
enum Failure {
    /// The ticket's time is over: central makes a new one.
    Expired,
    /// This copy fails.
    Copy(ClientError),
    /// This machine fails.
    Here(ClientError),
}

async fn load_from(
    sources: &Sources<'_>,
    url: &Url,
    partial: &mut Partial,
    size: u64,
    progress: &Progress,
) -> Result<(), Failure> {
    let offset = partial.size();
    let mut response = sources.server().download(url, offset).await.map_err(Failure::Copy)?;
    match response.status() {
        StatusCode::OK => {
            if offset > 0 {
                partial.restart().await.map_err(Failure::Here)?;
                progress.set(0);
            }
        }
        StatusCode::PARTIAL_CONTENT => {
            let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
            if range != Some(&format!("bytes {offset}-{}/{size}", size - 1)) {
                return Err(copy(url, "answers with another range"));
            }
        }
        StatusCode::GONE => return Err(Failure::Expired),
        status => return Err(copy(url, &format!("answers {status}"))),
    }
    loop {
        let chunk = match response.chunk().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) if partial.size() == size => return Ok(()),
            Ok(None) => return Err(copy(url, "ends too early")),
            Err(error) => return Err(Failure::Copy(ClientError::http(url, error))),
        };
        if chunk.len() as u64 > size - partial.size() {
            return Err(copy(url, "has more bytes than the ledger knows"));
        }
        partial.write(&chunk).await.map_err(Failure::Here)?;
        progress.add(chunk.len() as u64);
    }
}

fn copy(url: &Url, what: &str) -> Failure {
    Failure::Copy(ClientError::Answer(format!("{} {what}", host_of(url))))
}
