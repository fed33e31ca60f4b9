//! The SHA-1 of a file here. It asks central a question and proves nothing, so it is the plain
//! digest; the nodes look for collision attacks.

use std::fs::File;
use std::io::Read as _;

use sha1::Digest as _;

use super::Local;
use crate::domain::Sha1;
use crate::role::client::ClientError;
use crate::role::client::console::Progress;

/// What is read at once, in bytes.
const CHUNK_BYTES: usize = 1 << 20;

/// Reads a file once, off the async threads.
///
/// # Errors
/// When it cannot be read, or changes meanwhile.
pub(super) async fn sha1(local: Local, progress: Progress) -> Result<Sha1, ClientError> {
    let path = local.path.clone();
    tokio::task::spawn_blocking(move || read(&local, &progress))
        .await
        .map_err(|error| ClientError::refused(&path, format!("reading it broke off: {error}")))?
}

fn read(local: &Local, progress: &Progress) -> Result<Sha1, ClientError> {
    let failed = || ClientError::file(&local.path);
    let mut file = File::open(&local.path).map_err(failed())?;
    let mut hasher = sha1::Sha1::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut hashed: u64 = 0;
    loop {
        let read = match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed()(error)),
        };
        hasher.update(&buffer[..read]);
        hashed += read as u64;
        progress.add(read as u64);
        if hashed > local.size {
            return Err(local.changed());
        }
    }
    if hashed != local.size {
        return Err(local.changed());
    }
    Ok(Sha1::new(hasher.finalize().into()))
}
