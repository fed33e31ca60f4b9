//! The file in which a download grows: locked, hashed as it grows, and renamed at the end.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FlockOperation, OFlags, RenameFlags, flock, renameat_with};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256 as Hasher};
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use crate::domain::Sha256;
use crate::role::client::ClientError;

/// What is read at once, in bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// A download that is not complete, or not checked.
pub(super) struct Partial {
    path: PathBuf,
    file: tokio::fs::File,
    hasher: Hasher,
    size: u64,
}

impl Partial {
    /// Opens it or makes it, and hashes what is there. What is longer than the content can be
    /// no part of it and is thrown away.
    ///
    /// # Errors
    /// When another process loads into it, or it cannot be used.
    pub async fn open(path: PathBuf, max_bytes: u64) -> Result<Self, ClientError> {
        let failed = ClientError::file(&path);
        let opened = path.clone();
        let (file, hasher, size) = tokio::task::spawn_blocking(move || open(&opened, max_bytes))
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(failed)?;
        Ok(Self { path, file: tokio::fs::File::from_std(file), hasher, size })
    }

    /// How many bytes there are.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The SHA-256 of what is there.
    pub fn sha256(&self) -> Sha256 {
        Sha256::new(self.hasher.clone().finalize().into())
    }

    /// Appends.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ClientError> {
        self.file.write_all(bytes).await.map_err(ClientError::file(&self.path))?;
        self.hasher.update(bytes);
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Throws away what is there.
    pub async fn restart(&mut self) -> Result<(), ClientError> {
        self.empty().await.map_err(ClientError::file(&self.path))?;
        self.hasher = Hasher::new();
        self.size = 0;
        Ok(())
    }

    async fn empty(&mut self) -> io::Result<()> {
        self.file.flush().await?;
        self.file.set_len(0).await?;
        self.file.seek(SeekFrom::Start(0)).await.map(drop)
    }

    /// Leaves it for the next run; an empty one is removed, as nothing is in it to go on with.
    pub async fn leave(mut self) -> Result<(), ClientError> {
        let failed = ClientError::file(&self.path);
        let left = match self.file.flush().await {
            Ok(()) if self.size == 0 => tokio::fs::remove_file(&self.path).await,
            flushed => flushed,
        };
        left.map_err(failed)
    }

    /// Gives it its name, for good, unless something has that name by now.
    pub async fn keep_as(mut self, target: &Path) -> Result<(), ClientError> {
        let failed = || ClientError::file(target);
        self.file.flush().await.map_err(failed())?;
        self.file.sync_all().await.map_err(failed())?;
        let (from, to) = (self.path.clone(), target.to_owned());
        let outcome = tokio::task::spawn_blocking(move || rename(&from, &to)).await;
        outcome.map_err(io::Error::other).flatten().map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists { exists(target) } else { failed()(error) }
        })
    }
}

/// Something has the name already.
pub(super) fn exists(path: &Path) -> ClientError {
    ClientError::refused(path, "exists already, and nothing is overwritten: name another with -o")
}

fn open(path: &Path, max_bytes: u64) -> io::Result<(File, Hasher, u64)> {
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        // Not through a link that somebody else left in a shared folder.
        .custom_flags(i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default())
        .open(path)?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|error| {
        if error == Errno::WOULDBLOCK {
            io::Error::new(io::ErrorKind::WouldBlock, "another closeby loads this file now")
        } else {
            error.into()
        }
    })?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "is no plain file"));
    }
    if file.metadata()?.len() > max_bytes {
        file.set_len(0)?;
    }
    let mut hasher = Hasher::new();
    let mut size = 0;
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => {
                hasher.update(&buffer[..read]);
                size += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    file.seek(SeekFrom::Start(size))?;
    Ok((file, hasher, size))
}

/// Renames without replacing, and syncs the folder.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => {}
        // Some filesystems cannot do that: a second name replaces nothing either.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
            std::fs::hard_link(from, to)?;
            std::fs::remove_file(from)?;
        }
        Err(error) => return Err(error.into()),
    }
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
