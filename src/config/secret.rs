//! Secrets: given, read from a file, or made at the first start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::ConfigError;
use crate::tickets::{InvalidKey, JoinSecret, SigningRoot};

/// A central's ledger, in its data folder.
pub const LEDGER_FILE: &str = "ledger.sqlite";

/// The longest file that is read as a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 4096;

/// A secret's keys and the file it is kept in.
pub(super) struct SecretKeys {
    /// The key of the secret itself.
    pub value: &'static str,
    /// The key of a file that holds it.
    pub file: &'static str,
    /// The name of the file in the data folder.
    pub kept: &'static str,
}

/// The join secret's.
pub(super) const JOIN_SECRET: SecretKeys =
    SecretKeys { value: "cluster.join_secret", file: "cluster.join_secret_file", kept: "join-secret" };

/// The signing root's.
pub(super) const SIGNING_ROOT: SecretKeys =
    SecretKeys { value: "cluster.signing_root", file: "cluster.signing_root_file", kept: "signing-root" };

/// The join secret that a central keeps in its data folder; made if there is none.
///
/// # Errors
/// When it cannot be read or made, or is no secret.
pub fn kept_join_secret(data: &Path) -> Result<JoinSecret, ConfigError> {
    read_or_make(data, &JOIN_SECRET)
}

/// The signing root that a central keeps in its data folder; made if there is none.
///
/// # Errors
/// When it cannot be read or made, or is no secret.
pub fn kept_signing_root(data: &Path) -> Result<SigningRoot, ConfigError> {
    is_no_loss(data)?;
    read_or_make(data, &SIGNING_ROOT)
}

/// Refuses to go on without the signing root of a ledger that is there.
pub(super) fn is_no_loss(data: &Path) -> Result<(), ConfigError> {
    if kept::<SigningRoot>(data, &SIGNING_ROOT)?.is_none() && data.join(LEDGER_FILE).exists() {
        return Err(ConfigError::key(
            SIGNING_ROOT.value,
            format!(
                "is missing, though a ledger is here: put {} back from its backup. With a new one no node \
                 of this cluster would be known any more",
                data.join(SIGNING_ROOT.kept).display()
            ),
        ));
    }
    Ok(())
}

/// What happens to a secret that is neither given nor kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// It is made, as a file in the data folder.
    IsMade,
    /// It would be made at a start, but this only looks: one that is never used stands for it.
    StandsIn,
}

/// A secret that stands in for one that a start would make.
pub(super) fn stand_in<S: FromStr<Err = InvalidKey>>(keys: &SecretKeys) -> Result<S, ConfigError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| ConfigError::key(keys.value, format!("cannot be made: {error}")))?;
    parse(keys.value, &hex::encode(secret))
}

/// The secret that was given, by itself or as a file; none where neither was.
pub(super) fn given<S: FromStr<Err = InvalidKey>>(
    keys: &SecretKeys,
    value: Option<String>,
    file: Option<PathBuf>,
) -> Result<Option<S>, ConfigError> {
    match (value, file) {
        (Some(_), Some(_)) => Err(ConfigError::key(
            keys.value,
            format!("and `{}` are both given: take one of them away", keys.file),
        )),
        (Some(value), None) => parse(keys.value, &value).map(Some),
        (None, Some(path)) => match read(&path)? {
            Some(text) => parse(keys.file, &text).map(Some),
            None => Err(ConfigError::Read { path, source: io::ErrorKind::NotFound.into() }),
        },
        (None, None) => Ok(None),
    }
}

/// The secret in the data folder, if it is there.
pub(super) fn kept<S: FromStr<Err = InvalidKey>>(
    data: &Path,
    keys: &SecretKeys,
) -> Result<Option<S>, ConfigError> {
    let path = data.join(keys.kept);
    let Some(text) = read(&path)? else { return Ok(None) };
    let is_open = fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    if is_open {
        tracing::warn!(path = %path.display(), "others can read this secret: chmod 600 it");
    }
    parse(keys.value, &text)
        .map(Some)
        .map_err(|_| ConfigError::key(keys.value, format!("in {} is damaged: {InvalidKey}", path.display())))
}

fn read_or_make<S: FromStr<Err = InvalidKey>>(data: &Path, keys: &SecretKeys) -> Result<S, ConfigError> {
    if let Some(secret) = kept(data, keys)? {
        return Ok(secret);
    }
    let path = data.join(keys.kept);
    make(data, &path).map_err(|source| ConfigError::Write { path: path.clone(), source })?;
    // What is there now counts, also where another process was quicker.
    kept(data, keys)?.ok_or_else(|| ConfigError::Read { path, source: io::ErrorKind::NotFound.into() })
}

fn parse<S: FromStr<Err = InvalidKey>>(key: &'static str, text: &str) -> Result<S, ConfigError> {
    text.parse().map_err(|error: InvalidKey| ConfigError::key(key, format!("cannot be used: {error}")))
}

fn read(path: &Path) -> Result<Option<String>, ConfigError> {
    let read = || -> io::Result<Option<String>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut text = String::new();
        file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_SECRET_BYTES {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than any secret"));
        }
        Ok(Some(text))
    };
    read().map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// Makes a secret of 256 random bits. It appears whole or not at all, and replaces nothing:
/// a half-written one would lock the cluster out at the next start.
fn make(data: &Path, path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let mut secret = [0; 32];
    let mut suffix = [0; 8];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    getrandom::fill(&mut suffix).map_err(io::Error::other)?;
    let temporary = data.join(format!(".secret-{}", hex::encode(suffix)));
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        writeln!(file, "{}", hex::encode(secret))?;
        file.sync_all()?;
        match renameat_with(CWD, &temporary, CWD, path, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::EXIST) => fs::remove_file(&temporary),
            Err(error) => Err(error.into()),
        }?;
        File::open(data)?.sync_all()
    };
    written().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}
