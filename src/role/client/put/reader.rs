//! A file in parts, hashed as they are read.

use std::fs::{File, Metadata};
use std::io::{self, Read as _, Seek as _, SeekFrom};

use bytes::Bytes;
use sha1::Digest as _;

use super::Local;
use crate::domain::Sha1;
use crate::role::client::ClientError;
use crate::role::client::console::Progress;

/// What is read at once where it is only hashed, in bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// Reads parts of one file and hashes each byte of it once, in order. Before and after each
/// part it looks whether the file is still the same.
pub(super) struct Reader {
    local: Local,
    known: Option<Sha1>,
    hashing: Hashing,
}

/// The digest of the file's first bytes.
#[derive(Default)]
struct Hashing {
    hasher: sha1::Sha1,
    bytes: u64,
}

impl Reader {
    /// Of a file whose digest may be known already: then nothing is hashed.
    pub fn new(local: Local, known: Option<Sha1>) -> Self {
        Self { local, known, hashing: Hashing::default() }
    }

    /// So many bytes have to be read for the digest before a part at `offset` can be.
    pub const fn behind(&self, offset: u64) -> u64 {
        if self.known.is_some() { 0 } else { offset.saturating_sub(self.hashing.bytes) }
    }

    /// The digest of the whole file, once all of it was read.
    pub fn digest(&self) -> Option<Sha1> {
        let is_read = self.hashing.bytes == self.local.size;
        self.known.or_else(|| is_read.then(|| Sha1::new(self.hashing.hasher.clone().finalize().into())))
    }

    /// The bytes from `offset` on, `length` of them or what is left. What lies before and was
    /// not hashed yet is read for the digest first, which `progress` shows.
    ///
    /// # Errors
    /// When it cannot be read, or is not what it was.
    pub async fn part(
        &mut self,
        offset: u64,
        length: u64,
        progress: &Progress,
    ) -> Result<Bytes, ClientError> {
        let (local, progress) = (self.local.clone(), progress.clone());
        // Where reading fails, the digest is begun anew.
        let mut hashing = self.known.is_none().then(|| std::mem::take(&mut self.hashing));
        let read = tokio::task::spawn_blocking(move || {
            let bytes = read(&local, hashing.as_mut(), offset, length, &progress)?;
            Ok((bytes, hashing))
        });
        let (bytes, hashing) = read.await.map_err(|error| {
            ClientError::refused(&self.local.path, format!("reading it broke off: {error}"))
        })??;
        self.hashing = hashing.unwrap_or_default();
        Ok(bytes)
    }
}

fn read(
    local: &Local,
    hashing: Option<&mut Hashing>,
    offset: u64,
    length: u64,
    progress: &Progress,
) -> Result<Bytes, ClientError> {
    let failed = || ClientError::file(&local.path);
    // By its name, each time: a file that was put in its place is another one.
    let mut file = File::open(&local.path).map_err(failed())?;
    let unchanged = |now: io::Result<Metadata>| match now {
        Ok(now) if now.len() == local.size && now.modified().ok() == local.modified => Ok(()),
        Ok(_) => Err(local.changed()),
        Err(error) => Err(failed()(error)),
    };
    unchanged(file.metadata())?;
    let short = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => local.changed(),
        _ => failed()(error),
    };
    let mut hashing = hashing;
    if let Some(hashing) = hashing.as_deref_mut().filter(|hashing| hashing.bytes < offset) {
        file.seek(SeekFrom::Start(hashing.bytes)).map_err(failed())?;
        let mut buffer = vec![0; CHUNK_BYTES];
        while hashing.bytes < offset {
            let wanted = usize::try_from(offset - hashing.bytes).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            file.read_exact(&mut buffer[..wanted]).map_err(short)?;
            hashing.hasher.update(&buffer[..wanted]);
            hashing.bytes += wanted as u64;
            progress.set(hashing.bytes);
        }
    }
    file.seek(SeekFrom::Start(offset)).map_err(failed())?;
    let length = usize::try_from(length.min(local.size.saturating_sub(offset))).unwrap_or(CHUNK_BYTES);
    let mut bytes = vec![0; length];
    file.read_exact(&mut bytes).map_err(short)?;
    unchanged(file.metadata())?;
    if let Some(hashing) = hashing {
        // Of a part that is read again, only what was not hashed the first time.
        let seen = usize::try_from(hashing.bytes - offset).unwrap_or(length).min(length);
        hashing.hasher.update(&bytes[seen..]);
        hashing.bytes += (length - seen) as u64;
    }
    Ok(Bytes::from(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::role::client::fake::console;

    const SIZE: usize = 3_000_000;

    fn content() -> Vec<u8> {
        (0..SIZE).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
    }

    async fn file() -> (tempfile::TempDir, Local, Progress) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, content()).unwrap();
        let local = Local::look(&path).await.unwrap();
        (folder, local, console().0.progress("sending", "a", 0))
    }

    fn sha1(bytes: &[u8]) -> Sha1 {
        Sha1::new(sha1::Sha1::digest(bytes).into())
    }

    #[tokio::test]
    async fn every_byte_is_hashed_once_however_often_and_from_where_it_is_read() {
        let (_folder, local, progress) = file().await;
        let content = content();
        // In order; with repeats; from the middle, as after a restart; nothing but the end.
        for offsets in [
            &[0, 1_000_000, 2_000_000][..],
            &[0, 500_000, 500_001, 0, 1_400_000, 2_000_000],
            &[1_999_999, 0, 2_000_000],
            &[3_000_000],
            &[2_000_000],
        ] {
            let mut reader = Reader::new(local.clone(), None);
            for offset in offsets {
                assert!(reader.digest().is_none());
                let part = reader.part(*offset, 1_000_000, &progress).await.unwrap();
                let from = usize::try_from(*offset).unwrap();
                assert_eq!(part, content[from..(from + 1_000_000).min(SIZE)]);
                assert_eq!(reader.behind(*offset), 0);
            }
            assert_eq!(reader.digest(), Some(sha1(&content)), "{offsets:?}");
        }
    }

    #[tokio::test]
    async fn a_known_digest_saves_the_reading() {
        let (_folder, local, progress) = file().await;
        let known = sha1(b"known");
        let mut reader = Reader::new(local.clone(), Some(known));
        assert_eq!((reader.behind(2_000_000), reader.digest()), (0, Some(known)));
        assert_eq!(reader.part(2_999_990, 100, &progress).await.unwrap().len(), 10);
        assert_eq!(reader.digest(), Some(known));
        assert_eq!(Reader::new(local, None).behind(2_000_000), 2_000_000);
    }

    #[tokio::test]
    async fn a_file_that_changes_is_noticed() {
        let (_folder, local, progress) = file().await;
        let mut other = content();
        other[SIZE - 1] ^= 1;
        let changes: [&dyn Fn(); 4] = [
            &|| fs::write(&local.path, &content()[1..]).unwrap(),
            &|| fs::write(&local.path, [content(), vec![1]].concat()).unwrap(),
            // Of the same size, and later.
            &|| {
                fs::write(&local.path, &other).unwrap();
                let later = SystemTime::now() + Duration::from_secs(5);
                File::options().write(true).open(&local.path).unwrap().set_modified(later).unwrap();
            },
            // Another one in its place.
            &|| {
                let beside = local.path.with_extension("new");
                fs::write(&beside, content()).unwrap();
                let earlier = SystemTime::now() - Duration::from_secs(5);
                File::options().write(true).open(&beside).unwrap().set_modified(earlier).unwrap();
                fs::rename(&beside, &local.path).unwrap();
            },
        ];
        for change in changes {
            fs::write(&local.path, content()).unwrap();
            let file = File::options().write(true).open(&local.path).unwrap();
            file.set_modified(local.modified.unwrap()).unwrap();
            let mut reader = Reader::new(local.clone(), None);
            reader.part(0, 1000, &progress).await.unwrap();
            change();
            let error = reader.part(1000, 1000, &progress).await.unwrap_err();
            assert!(error.to_string().contains("was changed"), "{error}");
        }
    }
}
