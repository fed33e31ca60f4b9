//! `put`: store files, and send only what is new.

mod body;
mod hash;
mod patience;
mod reader;
mod remembered;
mod resumable;
mod send;
#[cfg(test)]
mod tests;
mod trouble;
mod under_way;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::time::{Duration, SystemTime};

use self::resumable::Sending;
use self::under_way::UnderWay;
use super::console::Console;
use super::look::to_json;
use super::{ClientError, Server};
use crate::domain::{FileName, Label, Sha1};
use crate::wire::api::{
    PrecheckAnswer, PrecheckFile, PrecheckRequest, PrecheckResult, PrecheckState, UploadStatus, UploadedFile,
};

/// The most files of one precheck.
const BATCH_FILES: usize = 1000;

/// Files are hashed in groups of about so many bytes before the next precheck, so that the
/// first are on their way before the last are hashed.
const GROUP_BYTES: u64 = 256 << 20;

/// A file here.
#[derive(Debug, Clone)]
struct Local {
    path: PathBuf,
    /// Its name on the server.
    name: FileName,
    size: u64,
    /// With the size, what shows that it was changed meanwhile.
    modified: Option<SystemTime>,
}

impl Local {
    async fn look(path: &Path) -> Result<Self, ClientError> {
        let found = tokio::fs::metadata(path).await.map_err(ClientError::file(path))?;
        if !found.is_file() {
            let what = if found.is_dir() { "is a folder" } else { "is no file" };
            return Err(ClientError::refused(path, format!("{what}: only files can be stored")));
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let name = FileName::parse(&name).map_err(|why| ClientError::refused(path, why.to_string()))?;
        Ok(Self { path: path.to_owned(), name, size: found.len(), modified: found.modified().ok() })
    }

    fn changed(&self) -> ClientError {
        ClientError::refused(&self.path, "was changed while it was read: try again when nobody writes to it")
    }
}

/// A file on its way, and what is known of it so far.
#[derive(Default)]
struct Item {
    /// None once it has failed.
    local: Option<Local>,
    /// What ended it. A failure ends this file and no other.
    failure: Option<ClientError>,
    /// What the server said last.
    answer: Option<PrecheckResult>,
    sha1: Option<Sha1>,
}

impl Item {
    async fn look(path: &Path) -> Self {
        match Local::look(path).await {
            Ok(local) => Self { local: Some(local), ..Self::default() },
            Err(error) => Self { failure: Some(error), ..Self::default() },
        }
    }

    fn fail(&mut self, error: ClientError) {
        self.local = None;
        self.failure = Some(error);
    }

    fn needs_hash(&self) -> bool {
        self.sha1.is_none() && self.answer.as_ref().is_some_and(|answer| answer.state == PrecheckState::Hash)
    }

    /// The link, where the server has the content.
    fn existing(&self) -> Option<String> {
        let answer = self.answer.as_ref()?;
        answer.url.clone().filter(|_| answer.state == PrecheckState::Exists)
    }
}

/// How files are stored.
#[derive(Debug, Clone)]
pub struct PutOptions {
    /// One JSON object a file instead of its link.
    pub json: bool,
    /// How long a large file is tried without progress.
    pub patience: Duration,
    /// The folder in which unfinished uploads are remembered, if there is one.
    pub state: Option<PathBuf>,
}

/// Stores files and prints their links, one a line and in order, or one JSON object each, until
/// all are or `stopped` ends.
///
/// # Errors
/// When any of them failed; each failure has been noted then, and the others are stored. When
/// it was stopped.
pub async fn put(
    server: &Server,
    console: &Console,
    paths: &[PathBuf],
    options: &PutOptions,
    stopped: impl Future<Output = ()>,
) -> Result<(), ClientError> {
    let under_way = UnderWay::default();
    let mut run =
        Run { server, console, options, under_way: &under_way, sent_sizes: HashSet::new(), failed: 0 };
    let all = async {
        if let Some(folder) = &options.state {
            remembered::sweep(folder);
        }
        for batch in paths.chunks(BATCH_FILES) {
            run.batch(batch).await?;
        }
        Ok(())
    };
    tokio::select! {
        // What is complete is not called interrupted.
        biased;
        done = pin!(all) => done?,
        () = stopped => return Err(ClientError::Interrupted(under_way.remains())),
    }
    match run.failed {
        0 => Ok(()),
        failed => Err(ClientError::Some { failed, all: paths.len() }),
    }
}

/// One call of `put`.
struct Run<'a> {
    server: &'a Server,
    console: &'a Console,
    options: &'a PutOptions,
    under_way: &'a UnderWay,
    /// Sizes of what was sent in this run: another file of such a size may be the same again,
    /// which no precheck before could tell.
    sent_sizes: HashSet<u64>,
    failed: usize,
}

impl Run<'_> {
    async fn batch(&mut self, paths: &[PathBuf]) -> Result<(), ClientError> {
        let mut items = Vec::with_capacity(paths.len());
        for path in paths {
            items.push(Item::look(path).await);
        }
        precheck(self.server, &mut items.iter_mut().collect::<Vec<_>>()).await;

        let mut begin = 0;
        while begin < items.len() {
            let end = begin + group_length(&items[begin..]);
            let (group, paths) = (&mut items[begin..end], &paths[begin..end]);
            begin = end;
            for item in group.iter_mut().filter(|item| item.needs_hash()) {
                self.hash(item).await;
            }
            let mut asked: Vec<_> = group.iter_mut().filter(|item| item.sha1.is_some()).collect();
            precheck(self.server, &mut asked).await;
            for (item, path) in group.iter_mut().zip(paths) {
                let outcome = self.finish(item).await;
                self.report(item, path, outcome)?;
            }
        }
        Ok(())
    }

    async fn hash(&self, item: &mut Item) {
        let Some(local) = &item.local else { return };
        let progress = self.console.progress("hashing", local.name.as_str(), local.size);
        match hash::sha1(local.clone(), progress).await {
            Ok(sha1) => item.sha1 = Some(sha1),
            Err(error) => item.fail(error),
        }
    }

    /// Sends a file, unless the server has it.
    async fn finish(&mut self, item: &mut Item) -> Result<UploadedFile, ClientError> {
        if item.local.as_ref().is_some_and(|local| self.sent_sizes.contains(&local.size)) {
            if item.sha1.is_none() {
                self.hash(item).await;
            }
            precheck(self.server, &mut [item]).await;
        }
        let Some(local) = &item.local else {
            return Err(item
                .failure
                .take()
                .unwrap_or_else(|| ClientError::Answer("it was not sent".to_owned())));
        };
        let memory = (local.size > resumable::WHOLE_BYTES)
            .then(|| resumable::recall(self.options.state.as_deref(), self.server, self.console, local));
        if let Some(url) = item.existing() {
            if let Some(mut memory) = memory {
                // Nobody goes on with a part of it.
                if let Some(upload) = memory.upload().or_else(|| memory.take_outdated()) {
                    resumable::end(self.server, upload).await;
                    memory.forget();
                }
            }
            return Ok(self.duplicate(local, item.sha1, url).await);
        }
        let uploaded = match memory {
            Some(memory) => {
                let sending = Sending {
                    server: self.server,
                    console: self.console,
                    local,
                    sha1: item.sha1,
                    patience: self.options.patience,
                    under_way: self.under_way,
                };
                resumable::send(&sending, memory).await?
            }
            None => send::send(self.server, self.console, local, item.sha1).await?,
        };
        self.sent_sizes.insert(local.size);
        Ok(uploaded)
    }

    /// What is said of a file that the server has.
    async fn duplicate(&self, local: &Local, sha1: Option<Sha1>, url: String) -> UploadedFile {
        let mut file = UploadedFile {
            name: local.name.as_str().to_owned(),
            status: UploadStatus::Duplicate,
            sha1: sha1.map(|sha1| sha1.to_hex()),
            sha256: None,
            size: Some(local.size),
            url: Some(url),
            offset: None,
            replicas: Vec::new(),
            healed: false,
            problem: None,
        };
        // The link alone is worth no further question; the object is to be whole.
        if let (true, Some(sha1)) = (self.options.json, sha1)
            && let Ok(blob) = self.server.blob(sha1).await
        {
            file.sha256 = Some(blob.sha256);
            file.replicas = blob
                .replicas
                .iter()
                .filter_map(|replica| Some(Label::parse(&replica.place.name).ok()?.slug()))
                .collect();
            file.replicas.sort();
        }
        file
    }

    fn report(
        &mut self,
        item: &Item,
        path: &Path,
        outcome: Result<UploadedFile, ClientError>,
    ) -> Result<(), ClientError> {
        let file = match outcome {
            Ok(file) => file,
            Err(error) => {
                self.failed += 1;
                let path = path.display().to_string();
                let text = error.to_string();
                let text = if text.starts_with(&path) { text } else { format!("{path}: {text}") };
                self.console.note(&text);
                if !self.options.json {
                    return Ok(());
                }
                UploadedFile {
                    name: path,
                    status: UploadStatus::Error,
                    sha1: item.sha1.map(|sha1| sha1.to_hex()),
                    sha256: None,
                    size: item.local.as_ref().map(|local| local.size),
                    url: None,
                    offset: None,
                    replicas: Vec::new(),
                    healed: false,
                    problem: Some(error.problem()),
                }
            }
        };
        if self.options.json {
            return self.console.answer(&to_json(&file)?);
        }
        if file.status == UploadStatus::Duplicate {
            self.console.note(&format!("{}: is stored already", file.name));
        }
        match &file.url {
            Some(url) => self.console.answer(&super::error::printable(url)),
            None => Ok(()),
        }
    }
}

/// How many of the first items make a group: one, and more until there is enough to hash.
fn group_length(items: &[Item]) -> usize {
    let mut bytes = 0_u64;
    let mut length = 0;
    for item in items {
        if let (true, Some(local)) = (item.needs_hash(), &item.local) {
            bytes = bytes.saturating_add(local.size);
            if length > 0 && bytes > GROUP_BYTES {
                break;
            }
        }
        length += 1;
    }
    length
}

/// Asks the server about files that are still on their way; where it cannot be asked, they
/// all fail.
async fn precheck(server: &Server, items: &mut [&mut Item]) {
    let files: Vec<_> = items
        .iter()
        .filter_map(|item| {
            let local = item.local.as_ref()?;
            Some(PrecheckFile { size: local.size, sha1: item.sha1.map(|sha1| sha1.to_hex()) })
        })
        .collect();
    if files.is_empty() {
        return;
    }
    let asked = files.len();
    let url = server.url(&["api", "v1", "precheck"]);
    let outcome = server.post::<PrecheckAnswer>(&url, &PrecheckRequest { files }).await.and_then(|answer| {
        if answer.files.len() == asked {
            Ok(answer.files)
        } else {
            Err(ClientError::Answer("the server's precheck answers another question".to_owned()))
        }
    });
    let failure = outcome.as_ref().err().map(ToString::to_string);
    let mut answers = outcome.unwrap_or_default().into_iter();
    for item in items.iter_mut().filter(|item| item.local.is_some()) {
        match (&failure, answers.next()) {
            (None, Some(answer)) => item.answer = Some(answer),
            (failure, _) => {
                item.fail(ClientError::Answer(failure.clone().unwrap_or_default()));
            }
        }
    }
}
