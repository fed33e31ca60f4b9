//! Sending one large file in parts, over tus 1.0.0 (<https://tus.io/protocols/resumable-upload>).
//!
//! After trouble nobody knows what arrived: the server is asked for its offset, after a wait that
//! grows, and only what is missing is sent again. The upload's address is all that it takes to
//! write into it, so messages name the server only.

use std::path::Path;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use indicatif::{HumanBytes, HumanDuration};
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{RequestBuilder, Response, StatusCode};
use url::Url;

use super::Local;
use super::body::Watch;
use super::patience::Patience;
use super::reader::Reader;
use super::remembered::{Finding, Memory};
use super::send;
use super::trouble::{End, Trouble, is_kind};
use super::under_way::{Standing, UnderWay, goes_on, of};
use crate::domain::{MediaType, Sha1, Timestamp, UploadId};
use crate::role::client::console::Progress;
use crate::role::client::http::{Refusal, host_of, judge, read_json};
use crate::role::client::{ClientError, Console, Server};
use crate::wire::api::{UploadStatus, UploadedFile};

/// Files up to this size go in one request.
pub(super) const WHOLE_BYTES: u64 = 16 << 20;
const PART_BYTES: u64 = 8 << 20;
const LONG_PART_BYTES: u64 = 16 << 20;
/// A part that took less than this is followed by longer ones.
const QUICK: Duration = Duration::from_secs(1);
/// What is handed to the network at once, in bytes.
const CHUNK_BYTES: usize = 64 << 10;
/// So often an upload may vanish from the server and be begun anew.
const MOST_STARTS: u32 = 3;
/// So many faults of the server itself in a row, and waiting is of no use.
const MOST_FAULTS: u32 = 6;
/// So often a server may have less than it had acknowledged.
const MOST_LOSSES: u32 = 10;
/// A part of which nothing more is taken for so long is cut.
const STALLED_AFTER: Duration = Duration::from_mins(2);
/// So long may an answer take: after a restart a server reads again what it has, and one that
/// was lost is replaced by a copy. A dead connection ends sooner, by TCP's own probes.
const ANSWER_AFTER: Duration = Duration::from_mins(15);
/// What the server keeps an upload for where it does not say.
const LIFE: Duration = Duration::from_hours(24);

/// What sending a file needs.
pub(super) struct Sending<'a> {
    pub server: &'a Server,
    pub console: &'a Console,
    pub local: &'a Local,
    /// Where it is known already.
    pub sha1: Option<Sha1>,
    pub patience: Duration,
    pub under_way: &'a UnderWay,
}

/// What the person was told since something last went through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Trouble,
    GoesOn,
}

/// Sends a file in parts; in one request where the server takes none. Goes on with what an
/// earlier run began.
///
/// # Errors
/// What the server says, that it cannot be reached for too long, or that the file was changed.
pub(super) async fn send(sending: &Sending<'_>, mut memory: Memory) -> Result<UploadedFile, ClientError> {
    let outcome = run(sending, &mut memory).await;
    sending.under_way.set(None);
    outcome
}

async fn run(sending: &Sending<'_>, memory: &mut Memory) -> Result<UploadedFile, ClientError> {
    let Sending { server, console, local, .. } = sending;
    if let Some(outdated) = memory.take_outdated() {
        console.note(&format!("{}: was changed since a part of it was sent: begins anew", name(local)));
        end(server, outdated).await;
    }
    let mut upload = Upload {
        sending,
        progress: console.progress("sending", local.name.as_str(), local.size),
        patience: Patience::new(sending.patience, server.second),
        faults: 0,
        losses: 0,
        reader: Reader::new((*local).clone(), sending.sha1),
        highest: 0,
        length: PART_BYTES,
        said: Said::Nothing,
    };
    let mut starts = 0;
    loop {
        let known = memory.upload();
        let (id, offset) = if let Some(id) = known {
            upload.under_way(0, memory);
            (id, None)
        } else {
            let Some((id, expires)) = upload.create(memory).await? else {
                drop(upload);
                sending.under_way.set(None);
                return send::send(server, console, local, sending.sha1).await;
            };
            starts += 1;
            upload.remember(memory, id, expires);
            (id, Some(0))
        };
        upload.highest = 0;
        match upload.go_on(id, offset, memory).await {
            End::Done(file) => {
                memory.forget();
                return Ok(*file);
            }
            End::Gone(error) => {
                memory.forget();
                if starts == MOST_STARTS {
                    return Err(error);
                }
                console.note(&format!(
                    "{}: the server has lost what was sent ({error}): begins anew",
                    name(local)
                ));
                upload.reader = Reader::new((*local).clone(), sending.sha1);
            }
            End::Refused(error) => {
                memory.forget();
                end(server, id).await;
                if known.is_some() && is_kind(&error, "wrong-digest") {
                    console.note(&format!(
                        "{}: what was sent earlier is not this file: begins anew",
                        name(local)
                    ));
                    upload.reader = Reader::new((*local).clone(), sending.sha1);
                    continue;
                }
                return Err(if is_kind(&error, "wrong-digest") {
                    ClientError::refused(
                        &local.path,
                        "other bytes arrived than it has: it was changed while it was sent, or they were garbled",
                    )
                } else {
                    error
                });
            }
            End::Lost(error) => return Err(error),
        }
    }
}

/// Looks up what is remembered of a file, and says where that fails.
pub(super) fn recall(state: Option<&Path>, server: &Server, console: &Console, local: &Local) -> Memory {
    let (memory, finding) = Memory::open(state, &server.url(&[]), local);
    match finding {
        Finding::Fine => {}
        Finding::InUse => console.note(&format!(
            "{}: another closeby sends it now; this one sends it, too, and is not remembered",
            name(local)
        )),
        Finding::Broken(why) => {
            console.note(&format!("{}: what was remembered of uploads cannot be used: {why}", name(local)))
        }
    }
    memory
}

/// Ends an upload at the server, which otherwise keeps it until it expires. Not more than a
/// favour to it.
pub(super) async fn end(server: &Server, id: UploadId) {
    let asked = server.calls().delete(address(server, id)).header("tus-resumable", "1.0.0");
    drop(asked.timeout(Duration::from_secs(5)).send().await);
}

/// On the server that was asked: it may know itself by another name than ours for it.
fn address(server: &Server, id: UploadId) -> Url {
    server.url(&["api", "v1", "uploads", &id.to_string()])
}

fn name(local: &Local) -> std::path::Display<'_> {
    local.path.display()
}

fn text<'r>(response: &'r Response, field: &str) -> Option<&'r str> {
    response.headers().get(field)?.to_str().ok()
}

fn bytes(response: &Response, field: &str) -> Option<u64> {
    text(response, field)?.parse().ok()
}

/// `Upload-Expires`.
fn expires(response: &Response) -> Option<Timestamp> {
    let at = jiff::fmt::rfc2822::parse(text(response, "upload-expires")?).ok()?;
    Some(Timestamp::from_millis(at.timestamp().as_millisecond()))
}

/// The upload of one file while it runs.
struct Upload<'a> {
    sending: &'a Sending<'a>,
    progress: Progress,
    patience: Patience,
    faults: u32,
    losses: u32,
    reader: Reader,
    /// What the server had when it was last heard of.
    highest: u64,
    length: u64,
    said: Said,
}

impl Upload<'_> {
    fn shown(&self) -> Url {
        self.sending.server.url(&["api", "v1", "uploads"])
    }

    /// Begins an upload. None where the server has none of this kind.
    async fn create(&mut self, memory: &Memory) -> Result<Option<(UploadId, Timestamp)>, ClientError> {
        let Sending { server, local, sha1, .. } = self.sending;
        let mut metadata = format!(
            "filename {},filetype {}",
            STANDARD.encode(local.name.as_str()),
            STANDARD.encode(MediaType::guess(&local.name).as_str())
        );
        if let Some(sha1) = sha1 {
            metadata.push_str(",sha1 ");
            metadata.push_str(&STANDARD.encode(sha1.to_hex()));
        }
        loop {
            let request = server
                .calls()
                .post(self.shown())
                .header("tus-resumable", "1.0.0")
                .header("upload-length", local.size)
                .header("upload-metadata", &metadata);
            let trouble = match self.ask(request).await {
                Ok(response) => {
                    let id = text(&response, LOCATION.as_str())
                        .and_then(|location| location.rsplit('/').next()?.parse().ok());
                    let id = id.ok_or_else(|| self.strange("does not say where the upload is"))?;
                    self.patience.progressed();
                    let until = Timestamp::system().saturating_add(LIFE);
                    return Ok(Some((id, expires(&response).unwrap_or(until))));
                }
                Err(Refusal {
                    status: Some(StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED), ..
                }) => {
                    return Ok(None);
                }
                Err(refusal) => refusal.into(),
            };
            match self.bear(trouble, memory).await {
                None | Some(End::Done(_)) => {}
                Some(End::Lost(error) | End::Gone(error) | End::Refused(error)) => return Err(error),
            }
        }
    }

    /// Sends what is missing. Without an offset the server is asked for it.
    async fn go_on(&mut self, id: UploadId, mut offset: Option<u64>, memory: &mut Memory) -> End {
        let size = self.sending.local.size;
        loop {
            let step = match offset {
                None => self.stand(id).await,
                Some(at) if at < size => self.part(id, at, memory).await,
                Some(_) => match self.finish(id).await {
                    Ok(file) => return End::Done(Box::new(file)),
                    Err(trouble) => Err(trouble),
                },
            };
            match step {
                Ok(at) => {
                    if at < self.highest {
                        // Both of its nodes were lost, or both went back.
                        self.losses += 1;
                        if self.losses == MOST_LOSSES {
                            return self.lost("the server lost again and again what it had", memory);
                        }
                        self.highest = at;
                    }
                    if at > self.highest {
                        self.highest = at;
                        self.faults = 0;
                        self.patience.progressed();
                        if offset.is_some() {
                            self.said = Said::Nothing;
                        }
                    }
                    self.under_way(at, memory);
                    offset = Some(at);
                }
                Err(trouble) => {
                    offset = None;
                    if let Some(end) = self.bear(trouble, memory).await {
                        return end;
                    }
                }
            }
        }
    }

    /// Waits where trying again can help; says how it ends where it cannot.
    async fn bear(&mut self, trouble: Trouble, memory: &Memory) -> Option<End> {
        let (error, asked_seconds) = match trouble {
            Trouble::Gone(error) => return Some(End::Gone(error)),
            Trouble::Refused(error) => return Some(End::Refused(error)),
            Trouble::Lost(error) => return Some(self.lost(&error.to_string(), memory)),
            Trouble::Fault(error) => {
                self.faults += 1;
                if self.faults == MOST_FAULTS {
                    return Some(self.lost(&error.to_string(), memory));
                }
                (error, None)
            }
            Trouble::Passing(error, asked_seconds) => (error, asked_seconds),
        };
        let limit = HumanDuration(self.patience.limit());
        let Some(wait) = self.patience.wait(asked_seconds) else {
            return Some(self.lost(&format!("{error}; nothing went through for {limit}"), memory));
        };
        let local = self.sending.local;
        if self.said == Said::Nothing {
            let at = of(self.highest, local.size);
            self.note(&format!("{error}; waits at {at}, and gives up after {limit} without progress"));
            self.said = Said::Trouble;
        }
        self.progress.verb("waiting");
        self.progress.go_on_at(self.highest);
        tokio::time::sleep(wait).await;
        self.progress.verb("asking");
        None
    }

    fn lost(&self, why: &str, memory: &Memory) -> End {
        let left = goes_on(self.sending.local, self.highest, memory.upload().is_some());
        End::Lost(ClientError::Answer(format!("{why}. {left}")))
    }

    /// Asks how far the server is.
    async fn stand(&mut self, id: UploadId) -> Result<u64, Trouble> {
        self.progress.verb("asking");
        let server = self.sending.server;
        let request = server.uploads().head(address(server, id)).header("tus-resumable", "1.0.0");
        let response = match self.ask(request.timeout(ANSWER_AFTER)).await {
            Ok(response) => response,
            // It has ended, or another request still holds it: this answer has no body that says so.
            Err(Refusal {
                status: Some(StatusCode::CONFLICT | StatusCode::UNPROCESSABLE_ENTITY),
                error,
                ..
            }) => {
                self.outcome(id).await?;
                return Err(Trouble::Passing(error, None));
            }
            Err(refusal) => return Err(refusal.into()),
        };
        let size = self.sending.local.size;
        let at = bytes(&response, "upload-offset").filter(|at| *at <= size);
        let (Some(at), Some(length)) = (at, bytes(&response, "upload-length")) else {
            return Err(Trouble::Lost(self.strange("does not say how far the upload is")));
        };
        if length != size {
            return Err(Trouble::Gone(self.strange("has an upload of another size")));
        }
        if self.said != Said::GoesOn {
            let behind = self.reader.behind(at);
            let again = if behind > 0 {
                format!("; reads {} again for the digest", HumanBytes(behind))
            } else {
                String::new()
            };
            self.note(&format!("goes on at {}{again}", of(at, size)));
            self.said = Said::GoesOn;
        }
        self.progress.go_on_at(at);
        Ok(at)
    }

    /// Sends the part that begins at `offset`; the last one with the digest of all.
    async fn part(&mut self, id: UploadId, offset: u64, memory: &mut Memory) -> Result<u64, Trouble> {
        let Sending { server, local, .. } = self.sending;
        self.progress.verb(if self.reader.behind(offset) > 0 { "reading" } else { "sending" });
        let part = self.reader.part(offset, self.length, &self.progress).await?;
        self.progress.verb("sending");
        self.progress.set(offset);
        let end = offset + part.len() as u64;
        let mut request = server
            .uploads()
            .patch(address(server, id))
            .header("tus-resumable", "1.0.0")
            .header("upload-offset", offset)
            .header(CONTENT_TYPE, "application/offset+octet-stream")
            .header(CONTENT_LENGTH, part.len());
        if let Some(sha1) = self.reader.digest().filter(|_| end == local.size) {
            request = request.header("repr-digest", format!("sha=:{}:", sha1.to_base64()));
        }
        let watch = Watch::default();
        let length = part.len() as u64;
        let body = body(part, watch.clone(), self.progress.clone());
        let (shown, begun) = (self.shown(), Instant::now());
        let response = tokio::select! {
            response = self.ask(request.body(body)) => response?,
            error = stalled(&shown, &watch, length) => return Err(Trouble::Passing(error, None)),
        };
        if begun.elapsed() < QUICK {
            self.length = LONG_PART_BYTES;
        }
        if let Some(expires) = expires(&response) {
            self.remember(memory, id, expires);
        }
        bytes(&response, "upload-offset")
            .filter(|at| *at > offset && *at <= end)
            .ok_or_else(|| Trouble::Lost(self.strange("does not say what it took")))
    }

    /// What became of an upload whose bytes are all there.
    async fn finish(&mut self, id: UploadId) -> Result<UploadedFile, Trouble> {
        let local = self.sending.local;
        if self.reader.digest().is_none() {
            self.progress.verb("reading");
            self.reader.part(local.size, 0, &self.progress).await?;
        }
        self.progress.set(local.size);
        self.progress.verb("finishing");
        let file = self.outcome(id).await?;
        if file.status == UploadStatus::Receiving {
            return Err(Trouble::Passing(self.strange("is still completing the upload"), None));
        }
        let digest = self.reader.digest().map(|sha1| sha1.to_hex());
        if file.sha1 != digest {
            return Err(Trouble::Gone(local.changed()));
        }
        Ok(file)
    }

    async fn outcome(&self, id: UploadId) -> Result<UploadedFile, Trouble> {
        let server = self.sending.server;
        let response = self.ask(server.calls().get(address(server, id))).await?;
        let file: UploadedFile = read_json(&self.shown(), response).await?;
        match file {
            UploadedFile { status: UploadStatus::Error, problem: Some(problem), .. } => {
                let gone = ["/problems/ended", "/problems/not-found"].contains(&problem.kind.as_str());
                let error = ClientError::Problem(problem);
                Err(if gone { Trouble::Gone(error) } else { Trouble::Refused(error) })
            }
            UploadedFile { status: UploadStatus::Error, problem: None, .. } => {
                Err(Trouble::Refused(self.strange("does not say why it took nothing")))
            }
            file => Ok(file),
        }
    }

    async fn ask(&self, request: RequestBuilder) -> Result<Response, Refusal> {
        let shown = self.shown();
        let response = request.send().await.map_err(|error| ClientError::http(&shown, error))?;
        let response = judge(&shown, response).await?;
        if response.status().is_redirection() {
            return Err(self.strange("sends us on to another address").into());
        }
        Ok(response)
    }

    fn strange(&self, what: &str) -> ClientError {
        ClientError::Answer(format!("{} {what}", host_of(&self.shown())))
    }

    fn note(&self, text: &str) {
        self.sending.console.note(&format!("{}: {text}", name(self.sending.local)));
    }

    /// A few hundred bytes, rarely: not worth another thread.
    fn remember(&self, memory: &mut Memory, id: UploadId, expires: Timestamp) {
        if let Err(error) = memory.remember(id, expires) {
            self.note(&format!("if this stops it has to begin anew, as nothing can be remembered: {error}"));
        }
    }

    fn under_way(&self, offset: u64, memory: &Memory) {
        let is_remembered = memory.upload().is_some();
        let local = self.sending.local.clone();
        self.sending.under_way.set(Some(Standing { local, offset, is_remembered }));
    }
}

/// A part's bytes, in chunks that show how far it is.
fn body(part: Bytes, watch: Watch, progress: Progress) -> reqwest::Body {
    let chunks = stream::unfold(part, move |mut left| {
        let (watch, progress) = (watch.clone(), progress.clone());
        async move {
            let chunk = left.split_to(left.len().min(CHUNK_BYTES));
            if chunk.is_empty() {
                return None;
            }
            watch.took(chunk.len() as u64);
            progress.add(chunk.len() as u64);
            Some((Ok::<_, std::io::Error>(chunk), left))
        }
    });
    reqwest::Body::wrap_stream(chunks)
}

/// Ends when nothing has been taken for too long, or nothing answered to all of it.
async fn stalled(url: &Url, watch: &Watch, length: u64) -> ClientError {
    loop {
        let taken = watch.taken_bytes();
        let limit = if taken < length { STALLED_AFTER } else { ANSWER_AFTER };
        tokio::time::sleep(limit).await;
        if watch.taken_bytes() == taken {
            return ClientError::Answer(format!("{} takes nothing any more", host_of(url)));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_part_that_nobody_takes_is_cut_and_one_that_moves_is_not() {
        let (url, watch) = ("http://files.example".parse().unwrap(), Watch::default());
        let begun = tokio::time::Instant::now();
        let moving = async {
            for _ in 0..10 {
                tokio::time::sleep(STALLED_AFTER / 2).await;
                watch.took(10);
            }
        };
        let (error, ()) = tokio::join!(stalled(&url, &watch, 1000), moving);
        assert!(error.to_string().starts_with("http://files.example takes nothing"), "{error}");
        assert!(begun.elapsed() >= STALLED_AFTER * 6 && begun.elapsed() <= STALLED_AFTER * 7);
        // The answer to all of it may take longer.
        let begun = tokio::time::Instant::now();
        stalled(&url, &watch, 100).await;
        assert_eq!(begun.elapsed(), ANSWER_AFTER);
    }
}
