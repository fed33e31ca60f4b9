//! Secrets: given, read from a file, or made at the first start.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::ConfigError;
use crate::tickets::{InvalidKey, JoinSecret, Rotating, SigningRoot};

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

/// A secret, and where it comes from.
#[derive(Debug, Clone)]
pub struct Secret<S> {
    /// The secret, and while it is changed the one before.
    pub value: Rotating<S>,
    /// The file that it stands in, which is read again while it is in use; none where it was given
    /// by itself.
    pub file: Option<PathBuf>,
}

impl<S: FromStr<Err = InvalidKey>> FromStr for Secret<S> {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Ok(Self { value: text.parse()?, file: None })
    }
}

/// Reads a secret's file again.
///
/// # Errors
/// When it cannot be read, or holds no secret.
pub fn read_secret<S: FromStr<Err = InvalidKey>>(path: &Path) -> Result<Rotating<S>, SecretFileError> {
    let text = read(path).map_err(|error| SecretFileError::new(path, error))?;
    let text = text.ok_or_else(|| SecretFileError::new(path, "it is not there"))?;
    text.parse().map_err(|error: InvalidKey| SecretFileError::new(path, error))
}

/// A secret's file that cannot be used; what is in it is not said.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be used: {why}", path.display())]
pub struct SecretFileError {
    path: PathBuf,
    why: String,
}

impl SecretFileError {
    pub(super) fn new(path: &Path, why: impl std::fmt::Display) -> Self {
        Self { path: path.to_owned(), why: why.to_string() }
    }
}

/// The join secret that a central keeps in its data folder; made if there is none.
///
/// # Errors
/// When it cannot be read or made, or is no secret.
pub fn kept_join_secret(data: &Path) -> Result<Secret<JoinSecret>, ConfigError> {
    read_or_make(data, &JOIN_SECRET)
}

/// The signing root that a central keeps in its data folder; made if there is none.
///
/// # Errors
/// When it cannot be read or made, or is no secret.
pub fn kept_signing_root(data: &Path) -> Result<Secret<SigningRoot>, ConfigError> {
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
pub(super) fn stand_in<S: FromStr<Err = InvalidKey>>(keys: &SecretKeys) -> Result<Secret<S>, ConfigError> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret)
        .map_err(|error| ConfigError::key(keys.value, format!("cannot be made: {error}")))?;
    parse(keys.value, &hex::encode(secret), None)
}

/// The secret that was given, by itself or as a file; none where neither was.
pub(super) fn given<S: FromStr<Err = InvalidKey>>(
    keys: &SecretKeys,
    value: Option<String>,
    file: Option<PathBuf>,
) -> Result<Option<Secret<S>>, ConfigError> {
    match (value, file) {
        (Some(_), Some(_)) => Err(ConfigError::key(
            keys.value,
            format!("and `{}` are both given: take one of them away", keys.file),
        )),
        (Some(value), None) => parse(keys.value, &value, None).map(Some),
        (None, Some(path)) => match read_file(&path)? {
            Some(text) => parse(keys.file, &text, Some(path)).map(Some),
            None => Err(ConfigError::Read { path, source: io::ErrorKind::NotFound.into() }),
        },
        (None, None) => Ok(None),
    }
}

/// The secret in the data folder, if it is there.
pub(super) fn kept<S: FromStr<Err = InvalidKey>>(
    data: &Path,
    keys: &SecretKeys,
) -> Result<Option<Secret<S>>, ConfigError> {
    let path = data.join(keys.kept);
    let Some(text) = read_file(&path)? else { return Ok(None) };
    let is_open = fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o077 != 0);
    if is_open {
        tracing::warn!(path = %path.display(), "others can read this secret: chmod 600 it");
    }
    match text.parse() {
        Ok(value) => Ok(Some(Secret { value, file: Some(path) })),
        Err(error) => Err(ConfigError::key(keys.value, format!("in {} is damaged: {error}", path.display()))),
    }
}

fn read_or_make<S: FromStr<Err = InvalidKey>>(
    data: &Path,
    keys: &SecretKeys,
) -> Result<Secret<S>, ConfigError> {
    if let Some(secret) = kept(data, keys)? {
        return Ok(secret);
    }
    let path = data.join(keys.kept);
    make(data, &path).map_err(|source| ConfigError::Write { path: path.clone(), source })?;
    // What is there now counts, also where another process was quicker.
    kept(data, keys)?.ok_or_else(|| ConfigError::Read { path, source: io::ErrorKind::NotFound.into() })
}

fn parse<S: FromStr<Err = InvalidKey>>(
    key: &'static str,
    text: &str,
    file: Option<PathBuf>,
) -> Result<Secret<S>, ConfigError> {
    match text.parse() {
        Ok(value) => Ok(Secret { value, file }),
        Err(error) => Err(ConfigError::key(key, format!("cannot be used: {error}"))),
    }
}

fn read_file(path: &Path) -> Result<Option<String>, ConfigError> {
    read(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// The file's text; none where there is no file.
fn read(path: &Path) -> io::Result<Option<String>> {
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
}

/// Makes a secret of 256 random bits. It appears whole or not at all, and replaces nothing:
/// a half-written one would lock the cluster out at the next start.
fn make(data: &Path, path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(data)?;
    let text = format!("{}\n", fresh()?);
    write_beside(path, &text, |file, temporary| {
        file.sync_all()?;
        match renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::EXIST) => fs::remove_file(temporary),
            Err(error) => Err(error.into()),
        }
    })
}

/// 256 random bits, as text.
fn fresh() -> io::Result<String> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).map_err(io::Error::other)?;
    Ok(hex::encode(secret))
}

/// Writes a file of mode 0600 in the same folder, and has it put in place.
fn write_beside(path: &Path, text: &str, put: impl FnOnce(&File, &Path) -> io::Result<()>) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut suffix = [0; 8];
    getrandom::fill(&mut suffix).map_err(io::Error::other)?;
    let temporary = folder.join(format!(".secret-{}", hex::encode(suffix)));
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(text.as_bytes())?;
        put(&file, &temporary)?;
        File::open(folder)?.sync_all()
    };
    written().inspect_err(|_| {
        let _ = fs::remove_file(&temporary);
    })
}

/// Puts a fresh secret into a file, and the one that was there below it as the former one.
///
/// # Errors
/// When there is no secret, or a former one still, or the file cannot be written.
pub fn rotate_secret(path: &Path) -> Result<(), SecretFileError> {
    let text = secret_text(path)?;
    if text.parse::<Rotating<SigningRoot>>().is_ok_and(|secret| secret.is_changing()) {
        return Err(SecretFileError::new(
            path,
            "it holds a former secret still: end that change first, with `closeby secret retire`",
        ));
    }
    fresh()
        .and_then(|fresh| replace(path, &format!("{fresh}\nformer: {}\n", text.trim())))
        .map_err(|error| SecretFileError::new(path, error))
}

/// Takes the former secret out of a file.
///
/// # Errors
/// When there is none, or the file cannot be written.
pub fn retire_secret(path: &Path) -> Result<(), SecretFileError> {
    let text = secret_text(path)?;
    let (current, _) = Rotating::<SigningRoot>::split(&text)
        .ok()
        .and_then(|(current, former)| Some((current, former?)))
        .ok_or_else(|| SecretFileError::new(path, "it holds no former secret"))?;
    replace(path, &format!("{}\n", current.trim())).map_err(|error| SecretFileError::new(path, error))
}

/// The text of a file that holds a secret.
fn secret_text(path: &Path) -> Result<String, SecretFileError> {
    // Both kinds of secret have one form.
    read_secret::<SigningRoot>(path)?;
    let text = read(path).map_err(|error| SecretFileError::new(path, error))?;
    text.ok_or_else(|| SecretFileError::new(path, "it is not there"))
}

/// Puts other text into a file, whole or not at all. Whoever could read it still can: a container's user
/// may have no other way to it.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path)?;
    let before = fs::metadata(&path)?;
    write_beside(&path, text, |file, temporary| {
        let made = file.metadata()?;
        if (made.uid(), made.gid()) != (before.uid(), before.gid()) {
            std::os::unix::fs::fchown(file, Some(before.uid()), Some(before.gid()))?;
        }
        file.set_permissions(fs::Permissions::from_mode(before.mode() & 0o777))?;
        file.sync_all()?;
        fs::rename(temporary, &path)
    })
}
