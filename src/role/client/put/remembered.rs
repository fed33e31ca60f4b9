//! What is remembered of an upload that is not finished, so that the same command goes on with
//! it: one small file an upload, named after the server and the file's path. It is locked while
//! the upload runs, and gone at its end.
//!
//! It holds the upload's id, which is all that it takes to write into that upload: the file is
//! readable for its owner only, and the id is never printed. Nothing here is needed to store a
//! file: where it fails, a stopped upload begins anew, and that is said.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::Local;
use crate::domain::{Timestamp, UploadId};

/// The version of the files' format.
const VERSION: u32 = 1;
/// A longer file is none of ours.
const MAX_BYTES: u64 = 64 << 10;
/// What is unreadable, or was never finished, is cleared away after so long.
const LITTER_AFTER: Duration = Duration::from_hours(7 * 24);

/// An upload as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    version: u32,
    /// For people who look into it.
    server: String,
    /// For people who look into it.
    path: String,
    size: u64,
    modified: SystemTime,
    upload: UploadId,
    expires_ms: i64,
}

/// What is remembered of one file at one server, and the place for it.
pub(super) struct Memory {
    /// Where it is kept; none where nothing can be.
    path: Option<PathBuf>,
    server: String,
    of: PathBuf,
    size: u64,
    modified: Option<SystemTime>,
    /// Locked for as long as this lives.
    kept: Option<(File, Record)>,
    /// An upload of what the file was before it changed.
    outdated: Option<UploadId>,
}

/// What opening found besides.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing to say.
    Fine,
    /// Another process sends this file now.
    InUse,
    /// It cannot be used.
    Broken(String),
}

impl Memory {
    /// Looks up a file, and locks what is found. Blocks.
    pub fn open(folder: Option<&Path>, server: &Url, local: &Local) -> (Self, Finding) {
        let of = fs::canonicalize(&local.path).unwrap_or_else(|_| local.path.clone());
        let path = folder.map(|folder| folder.join("uploads").join(file_name(server, &of)));
        let server = server.origin().ascii_serialization();
        let (size, modified) = (local.size, local.modified);
        let mut memory = Self { path, server, of, size, modified, kept: None, outdated: None };
        let Some(path) = memory.path.clone() else {
            return (memory, Finding::Broken("there is no home folder".to_owned()));
        };
        let finding = match lock(&path) {
            Ok(None) => Finding::Fine,
            Ok(Some(Locked::ByAnother)) => {
                memory.path = None;
                Finding::InUse
            }
            Ok(Some(Locked::Ours(file))) => memory.take(&path, file),
            Err(error) => {
                memory.path = None;
                Finding::Broken(format!("{}: {error}", path.display()))
            }
        };
        (memory, finding)
    }

    /// Reads what is locked. What cannot be used any more is removed.
    fn take(&mut self, path: &Path, mut file: File) -> Finding {
        let finding = match read(&mut file) {
            Ok(record) if record.expires_ms <= Timestamp::system().as_millis() => Finding::Fine,
            Ok(record) if record.size == self.size && Some(record.modified) == self.modified => {
                self.kept = Some((file, record));
                return Finding::Fine;
            }
            Ok(record) => {
                self.outdated = Some(record.upload);
                Finding::Fine
            }
            Err(error) => Finding::Broken(format!("{}: {error}", path.display())),
        };
        // A failure shows when the place is needed.
        let _ = fs::remove_file(path);
        finding
    }

    /// The upload to go on with.
    pub fn upload(&self) -> Option<UploadId> {
        self.kept.as_ref().map(|(_, record)| record.upload)
    }

    /// An upload of what the file was before it changed, to be ended.
    pub const fn take_outdated(&mut self) -> Option<UploadId> {
        self.outdated.take()
    }

    /// Remembers an upload and until when the server keeps it. Blocks.
    ///
    /// # Errors
    /// When it cannot. Nothing is remembered then, and nothing tried again.
    pub fn remember(&mut self, upload: UploadId, expires: Timestamp) -> io::Result<()> {
        let (Some(path), Some(modified)) = (&self.path, self.modified) else { return Ok(()) };
        let record = Record {
            version: VERSION,
            server: self.server.clone(),
            path: self.of.to_string_lossy().into_owned(),
            size: self.size,
            modified,
            upload,
            expires_ms: expires.as_millis(),
        };
        if self.kept.as_ref().is_some_and(|(_, kept)| *kept == record) {
            return Ok(());
        }
        match write(path, &record, self.kept.is_some()) {
            Ok(file) => {
                self.kept = Some((file, record));
                Ok(())
            }
            Err(error) => {
                self.forget();
                self.path = None;
                Err(error)
            }
        }
    }

    /// Removes what is remembered. Blocks.
    pub fn forget(&mut self) {
        if let (Some(path), Some((file, _))) = (&self.path, self.kept.take())
            && is_at(&file, path).unwrap_or(false)
        {
            let _ = fs::remove_file(path);
        }
    }
}

/// Removes what no server keeps any more. Blocks.
pub(super) fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder.join("uploads")) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        // Looked at before it is locked: a lock, however short, tells another process that its upload
        // is in use here.
        if !open(&path).is_ok_and(|mut file| is_over(&mut file)) {
            continue;
        }
        // What another process uses is its own affair.
        let Ok(Some(Locked::Ours(mut file))) = lock(&path) else { continue };
        if is_over(&mut file) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_over(file: &mut File) -> bool {
    match read(file) {
        Ok(record) => record.expires_ms <= Timestamp::system().as_millis(),
        Err(_) => file
            .metadata()
            .and_then(|found| found.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age > LITTER_AFTER)),
    }
}

/// Opens what is at a path, unless that is a link; waits for nobody.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default())
        .open(path)
}

fn file_name(server: &Url, path: &Path) -> String {
    let mut hasher = Sha256::new();
    hasher.update(server.origin().ascii_serialization());
    hasher.update([0]);
    hasher.update(path.as_os_str().as_bytes());
    format!("{}.json", hex::encode(hasher.finalize()))
}

enum Locked {
    Ours(File),
    ByAnother,
}

/// Opens and locks what is at a path, if something is.
fn lock(path: &Path) -> io::Result<Option<Locked>> {
    loop {
        let file = match open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("is no plain file"));
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Ok(Some(Locked::ByAnother)),
            Err(error) => return Err(error.into()),
        }
        // It may have been removed or replaced before it was locked.
        if is_at(&file, path)? {
            return Ok(Some(Locked::Ours(file)));
        }
    }
}

fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let ours = file.metadata()?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((there.dev(), there.ino()) == (ours.dev(), ours.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn read(file: &mut File) -> io::Result<Record> {
    let mut text = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut text)?;
    // Not the error's own text, which can quote the id.
    let record: Record =
        serde_json::from_slice(&text).map_err(|_| io::Error::other("cannot be read as what put keeps"))?;
    if record.version != VERSION {
        return Err(io::Error::other("was written by another version of closeby"));
    }
    Ok(record)
}

/// Writes beside and renames, so that there is never half a record; locked before it appears.
fn write(path: &Path, record: &Record, replaces: bool) -> io::Result<File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let beside = folder.join(format!(".{}", UploadId::random()));
    let mut file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&beside)?;
    let mut fill = || {
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        file.write_all(&serde_json::to_vec(record)?)?;
        file.sync_all()?;
        if replaces {
            return fs::rename(&beside, path);
        }
        match renameat_with(CWD, &beside, CWD, path, RenameFlags::NOREPLACE) {
            // Some filesystems cannot do that: a second name replaces nothing either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                fs::hard_link(&beside, path)?;
                fs::remove_file(&beside)
            }
            renamed => Ok(renamed?),
        }
    };
    let filled = fill();
    if filled.is_err() {
        let _ = fs::remove_file(&beside);
    }
    filled.map(|()| file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    struct Case {
        folder: tempfile::TempDir,
        local: Local,
        server: Url,
    }

    impl Case {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a");
            fs::write(&path, "content").unwrap();
            let local = Local::look(&path).await.unwrap();
            Self { folder, local, server: "http://files.example".parse().unwrap() }
        }

        fn state(&self) -> PathBuf {
            self.folder.path().join("state")
        }

        fn open(&self) -> (Memory, Finding) {
            Memory::open(Some(&self.state()), &self.server, &self.local)
        }

        fn files(&self) -> Vec<PathBuf> {
            let Ok(entries) = fs::read_dir(self.state().join("uploads")) else { return Vec::new() };
            entries.map(|entry| entry.unwrap().path()).collect()
        }
    }

    fn in_an_hour() -> Timestamp {
        Timestamp::from_millis(Timestamp::system().as_millis() + 3_600_000)
    }

    #[tokio::test]
    async fn an_upload_is_remembered_for_the_same_file_and_server_until_it_ends() {
        let case = Case::new().await;
        let upload = UploadId::random();
        let (mut memory, finding) = case.open();
        assert_eq!((memory.upload(), finding), (None, Finding::Fine));
        memory.remember(upload, in_an_hour()).unwrap();
        assert_eq!(case.open().1, Finding::InUse, "while it runs it belongs to one");
        assert!(case.open().0.upload().is_none());
        drop(memory);
        let files = case.files();
        assert_eq!(files.len(), 1, "{files:?}");
        assert_eq!(fs::metadata(&files[0]).unwrap().permissions().mode() & 0o777, 0o600);
        let folder = files[0].parent().unwrap();
        assert_eq!(fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);

        let elsewhere = "http://other.example".parse().unwrap();
        assert!(Memory::open(Some(&case.state()), &elsewhere, &case.local).0.upload().is_none());
        let (mut memory, _) = case.open();
        assert_eq!(memory.upload(), Some(upload));
        // Renewed: replaced as a whole, and still locked.
        memory.remember(upload, Timestamp::from_millis(in_an_hour().as_millis() + 5)).unwrap();
        assert_eq!((case.open().1, case.files().len()), (Finding::InUse, 1));
        memory.forget();
        assert!(case.files().is_empty());
        assert_eq!(case.open().1, Finding::Fine);
    }

    #[tokio::test]
    async fn what_expired_or_is_of_an_older_content_is_not_gone_on_with() {
        let case = Case::new().await;
        let upload = UploadId::random();
        case.open().0.remember(upload, Timestamp::system()).unwrap();
        assert!(case.open().0.upload().is_none());
        assert!(case.files().is_empty());

        case.open().0.remember(upload, in_an_hour()).unwrap();
        let mut changed = Case { local: case.local.clone(), ..case };
        changed.local.modified = changed.local.modified.map(|at| at + Duration::from_nanos(1));
        let (mut memory, finding) = changed.open();
        assert_eq!((memory.upload(), finding), (None, Finding::Fine));
        assert_eq!(memory.take_outdated(), Some(upload));
        assert!(changed.files().is_empty());
    }

    #[tokio::test]
    async fn what_is_broken_is_said_and_replaced() {
        let case = Case::new().await;
        let upload = UploadId::random();
        case.open().0.remember(upload, in_an_hour()).unwrap();
        let path = case.files().remove(0);
        let whole = fs::read(&path).unwrap();
        for broken in [&b""[..], b"{}", &whole[..whole.len() / 2], &[0xff; 100]] {
            fs::write(&path, broken).unwrap();
            let (mut memory, finding) = case.open();
            let Finding::Broken(why) = finding else { panic!("{finding:?}") };
            assert!(!why.contains(&upload.to_string()), "{why}");
            assert!(memory.upload().is_none());
            memory.remember(upload, in_an_hour()).unwrap();
            drop(memory);
            assert_eq!(case.open().0.upload(), Some(upload));
        }
    }

    #[tokio::test]
    async fn a_place_that_cannot_be_used_is_said() {
        let case = Case::new().await;
        fs::write(case.state(), "a file where a folder should be").unwrap();
        let (mut memory, finding) = case.open();
        let opened = matches!(finding, Finding::Broken(_));
        let remembered = memory.remember(UploadId::random(), in_an_hour());
        assert!(opened || remembered.is_err());
        memory.remember(UploadId::random(), in_an_hour()).unwrap();
        assert!(matches!(Memory::open(None, &case.server, &case.local).1, Finding::Broken(_)));
    }

    #[tokio::test]
    async fn sweeping_removes_what_is_over_and_nothing_else() {
        let case = Case::new().await;
        let other =
            Case { server: "http://other.example".parse().unwrap(), local: case.local.clone(), ..case };
        let case = Case {
            folder: tempfile::tempdir().unwrap(),
            server: "http://files.example".parse().unwrap(),
            local: other.local.clone(),
        };
        let state = other.state();
        let open = |server: &Url| Memory::open(Some(&state), server, &case.local).0;
        open(&other.server).remember(UploadId::random(), Timestamp::system()).unwrap();
        open(&case.server).remember(UploadId::random(), in_an_hour()).unwrap();
        fs::write(state.join("uploads").join("new litter"), "x").unwrap();
        let old = state.join("uploads").join("old litter");
        fs::write(&old, "x").unwrap();
        let long_ago = SystemTime::now() - LITTER_AFTER * 2;
        File::options().write(true).open(&old).unwrap().set_modified(long_ago).unwrap();
        sweep(&state);
        assert_eq!(other.files().len(), 2);
        assert!(open(&case.server).upload().is_some() && !old.exists());
    }
}
