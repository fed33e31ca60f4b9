//! Every change that the store makes to its disk, and where each thing lies.
//!
//! All changes go through [`Disk`], so that tests can cut the power before any of them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::num::NonZero;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Advice, CWD, RenameFlags};
use rustix::io::Errno;

use crate::domain::{Sha1, UploadId};

use super::faults::{Faults, Op};

/// The name of a session's bytes inside its folder.
const DATA: &str = "data";
/// The name of what describes a prepared session inside its folder.
const ABOUT: &str = "about";
/// The name of what a resumable session is held to inside its folder.
const TERMS: &str = "terms";
/// The name of its acknowledged offset.
const OFFSET: &str = "offset";
/// How often a name is tried in the quarantine before that counts as an error.
const NAMES_TRIED: u32 = 10_000;

/// The store's folder.
pub(super) struct Disk {
    root: PathBuf,
    faults: Faults,
}

impl Disk {
    pub(super) fn new(root: PathBuf, faults: Faults) -> Self {
        Self { root, faults }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn lock_path(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub(super) fn marker(&self) -> PathBuf {
        self.root.join("marker.json")
    }

    pub(super) fn marker_draft(&self) -> PathBuf {
        self.root.join("marker.json.draft")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(super) fn sessions(&self) -> PathBuf {
        self.root.join("sessions")
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// The two folders of a blob, the outer one first: `blobs/ab`, `blobs/ab/cd`.
    pub(super) fn shards(&self, sha1: &Sha1) -> (PathBuf, PathBuf) {
        let [first, second, ..] = *sha1.as_bytes();
        let outer = self.blobs().join(format!("{first:02x}"));
        let inner = outer.join(format!("{second:02x}"));
        (outer, inner)
    }

    pub(super) fn blob(&self, sha1: &Sha1) -> PathBuf {
        self.shards(sha1).1.join(sha1.to_hex())
    }

    pub(super) fn description(&self, sha1: &Sha1) -> PathBuf {
        self.shards(sha1).1.join(format!("{sha1}.about"))
    }

    pub(super) fn session(&self, upload: UploadId) -> PathBuf {
        self.sessions().join(upload.to_string())
    }

    pub(super) fn session_data(&self, upload: UploadId) -> PathBuf {
        self.session(upload).join(DATA)
    }

    pub(super) fn session_about(&self, upload: UploadId) -> PathBuf {
        self.session(upload).join(ABOUT)
    }

    pub(super) fn session_about_draft(&self, upload: UploadId) -> PathBuf {
        self.session(upload).join("about.draft")
    }

    pub(super) fn session_terms(&self, upload: UploadId) -> PathBuf {
        self.session(upload).join(TERMS)
    }

    pub(super) fn session_terms_draft(&self, upload: UploadId) -> PathBuf {
        self.session(upload).join("terms.draft")
    }

    pub(super) fn session_offset(&self, upload: UploadId) -> PathBuf {
        self.session(upload).join(OFFSET)
    }

    /// Where a blob's description is written, before it gets its place by a rename. Here and
    /// not beside the blob, so that what a crash leaves goes with the session and a start
    /// need not walk the blobs to find it.
    pub(super) fn session_description(&self, upload: UploadId) -> PathBuf {
        self.session(upload).join("description.draft")
    }

    /// Opens a file that is read to its end.
    pub(super) fn open_to_check(&self, path: &Path) -> io::Result<File> {
        self.faults.pass(Op::Read, path)?;
        File::open(path)
    }

    /// Opens a file that is there to go on with it.
    pub(super) fn open_to_go_on(&self, path: &Path) -> io::Result<File> {
        self.faults.pass(Op::Read, path)?;
        OpenOptions::new().read(true).write(true).open(path)
    }

    /// An open file is read again.
    pub(super) fn check(&self, path: &Path) -> io::Result<()> {
        self.faults.pass(Op::Read, path)
    }

    /// Cuts a file to a length.
    pub(super) fn truncate(&self, file: &File, path: &Path, length: u64) -> io::Result<()> {
        self.faults.pass(Op::Truncate, path)?;
        file.set_len(length)
    }

    /// Makes a folder that only this user can look into.
    pub(super) fn make_dir(&self, path: &Path) -> io::Result<()> {
        self.faults.pass(Op::MakeDir, path)?;
        DirBuilder::new().mode(0o700).create(path)
    }

    /// Makes a folder unless it is there.
    pub(super) fn ensure_dir(&self, path: &Path) -> io::Result<()> {
        match self.make_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    /// Makes a new empty file that only this user can read; none must be there.
    pub(super) fn make_file(&self, path: &Path) -> io::Result<File> {
        self.faults.pass(Op::MakeFile, path)?;
        OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
    }

    /// Makes an empty file in place of what a crash may have left there.
    pub(super) fn make_draft(&self, path: &Path) -> io::Result<File> {
        self.remove_file(path)?;
        self.make_file(path)
    }

    pub(super) fn write_at(&self, file: &File, path: &Path, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Err(error) = self.faults.pass(Op::Write, path) {
            // A cut in the middle of a write leaves a part of it.
            let _ = file.write_all_at(&bytes[..bytes.len() / 2], offset);
            return Err(error);
        }
        file.write_all_at(bytes, offset)
    }

    /// Syncs a file's bytes and length.
    pub(super) fn sync_file(&self, file: &File, path: &Path) -> io::Result<()> {
        self.faults.pass(Op::SyncFile, path)?;
        file.sync_data()
    }

    /// Has the kernel forget what it remembers of these bytes, which were synced: they are
    /// read from the disk again when somebody wants them.
    pub(super) fn forget(&self, file: &File, bytes: Range<u64>) {
        if let Some(length) = NonZero::new(bytes.end.saturating_sub(bytes.start)) {
            // Advice only: a filesystem that does not take it keeps the bytes in memory.
            let _ = rustix::fs::fadvise(file, bytes.start, Some(length), Advice::DontNeed);
        }
    }

    /// Syncs the names in a folder.
    pub(super) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.faults.pass(Op::SyncDir, path)?;
        File::open(path)?.sync_all()
    }

    /// Renames, over what is there.
    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.pass(Op::Rename, to)?;
        std::fs::rename(from, to)
    }

    /// Renames unless something is there: [`io::ErrorKind::AlreadyExists`].
    pub(super) fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.pass(Op::RenameNew, to)?;
        match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            // A filesystem without the flag. Looking first is as good here: the folder is
            // locked against other processes and the caller holds the lock on this name.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match std::fs::symlink_metadata(to) {
                Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::rename(from, to),
                Err(error) => Err(error),
            },
            other => Ok(other?),
        }
    }

    /// Removes a file; success where there is none.
    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.faults.pass(Op::Remove, path)?;
        absent_is_fine(std::fs::remove_file(path))
    }

    /// Removes a session's folder; success where there is none.
    ///
    /// What says that it is resumable or prepared goes first, so that a crash in between leaves
    /// a session that the next start clears away, never one that claims bytes it has lost.
    pub(super) fn remove_session(&self, upload: UploadId) -> io::Result<()> {
        let dir = self.session(upload);
        self.remove_file(&self.session_terms(upload))?;
        self.remove_file(&self.session_about(upload))?;
        let entries = match std::fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            self.remove_file(&entry?.path())?;
        }
        self.faults.pass(Op::Remove, &dir)?;
        absent_is_fine(std::fs::remove_dir(&dir))
    }

    /// Moves something that cannot be trusted into the quarantine, where a person can look
    /// at it; nothing there is ever removed or replaced by the store.
    pub(super) fn set_aside(&self, from: &Path, kind: &str) -> io::Result<()> {
        let quarantine = self.quarantine();
        let name = from.file_name().and_then(|name| name.to_str()).unwrap_or("unnamed");
        for number in 0..NAMES_TRIED {
            match self.rename_new(from, &quarantine.join(format!("{kind}-{name}.{number}"))) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(()) => return self.sync_dir(&quarantine),
            }
        }
        Err(io::Error::other("the quarantine is full of things of one name"))
    }
}

/// Takes "there is none" for success.
fn absent_is_fine(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
