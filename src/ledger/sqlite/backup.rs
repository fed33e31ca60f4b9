//! A copy of the ledger that is taken while centrals work on it, and one that takes its place.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rusqlite::OpenFlags;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::super::{ClusterSettings, LedgerError, Result};
use super::schema;
use crate::domain::Timestamp;

/// Writes all that is committed into a new file of mode 0600, as one moment's state. Centrals go on
/// reading and writing meanwhile. The file is there whole or not at all.
///
/// # Errors
/// When the ledger cannot be read, the copy cannot be written, or a file of that name exists.
pub fn back_up(ledger: &Path, to: &Path) -> Result<ClusterSettings> {
    if !ledger.exists() {
        return Err(LedgerError::Unavailable(format!("there is no ledger at {}", ledger.display())));
    }
    let conn = schema::open_reader(ledger)?;
    let copy = Unfinished::beside(to)?;
    conn.execute("VACUUM INTO ?1", [copy.text()?])?;
    let cluster = schema::cluster(&schema::open_reader(&copy.path)?)?;
    copy.become_final(to)?;
    Ok(cluster)
}

/// Puts a copy where a central will open it. The epoch rises, so that nodes see that what they were told
/// after the copy was taken is of an older ledger: to the time, so that two restores of one copy differ.
///
/// # Errors
/// When the copy is no ledger that this build knows, or there is a ledger already.
pub fn restore(copy: &Path, ledger: &Path) -> Result<ClusterSettings> {
    // A log of another ledger would be played back into this one at its first start.
    for beside in BESIDE.map(|end| with_end(ledger, end)) {
        if beside.exists() {
            return Err(exists(&beside));
        }
    }
    let mut unfinished = Unfinished::beside(ledger)?;
    let mut bytes = File::open(copy).map_err(|error| failed(copy, &error))?;
    io::copy(&mut bytes, &mut unfinished.file).map_err(|error| failed(copy, &error))?;
    let conn = schema::open_writer(&unfinished.path, OpenFlags::empty())?;
    let seconds = Timestamp::system().as_millis() / 1000;
    conn.execute("UPDATE settings SET epoch = MAX(epoch + 1, ?1) WHERE one = 1", [seconds])?;
    let cluster = schema::cluster(&conn)?;
    // One file again, without a log beside it.
    conn.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()))?;
    conn.close().map_err(|(_, error)| error)?;
    unfinished.become_final(ledger)?;
    Ok(cluster)
}

fn failed(path: &Path, error: &io::Error) -> LedgerError {
    LedgerError::Unavailable(format!("{}: {error}", path.display()))
}

fn exists(path: &Path) -> LedgerError {
    LedgerError::Unavailable(format!("{} exists: name another file, or move that one away", path.display()))
}

/// What SQLite keeps beside a database while it is open, or after it was killed.
const BESIDE: [&str; 3] = ["-wal", "-shm", "-journal"];

fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(end);
    PathBuf::from(path)
}

/// A file on its way, removed unless it becomes final.
struct Unfinished {
    path: PathBuf,
    file: File,
}

impl Unfinished {
    fn beside(to: &Path) -> Result<Self> {
        if to.exists() {
            return Err(exists(to));
        }
        let path = with_end(to, ".part");
        // What an interrupted run left behind is of no use.
        remove(&path);
        // SQLite writes into an empty file; what is in it is nobody else's to read.
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = made.map_err(|error| failed(&path, &error))?;
        Ok(Self { path, file })
    }

    fn text(&self) -> Result<&str> {
        self.path
            .to_str()
            .ok_or_else(|| LedgerError::Unavailable(format!("{} is no name in UTF-8", self.path.display())))
    }

    fn become_final(self, to: &Path) -> Result<()> {
        let finish = || -> io::Result<()> {
            self.file.sync_all()?;
            renameat_with(CWD, &self.path, CWD, to, RenameFlags::NOREPLACE)?;
            let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
        };
        finish().map_err(|error| failed(to, &error))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

fn remove(path: &Path) {
    let _ = fs::remove_file(path);
    for beside in BESIDE.map(|end| with_end(path, end)) {
        let _ = fs::remove_file(beside);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::super::Ledger as _;
    use super::super::SqliteLedger;
    use super::*;

    #[tokio::test]
    async fn a_copy_is_whole_private_and_never_replaces_anything() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        assert!(back_up(&at("ledger"), &at("copy")).is_err(), "there is none");
        let ledger = SqliteLedger::open(&at("ledger")).unwrap();
        let cluster = back_up(&at("ledger"), &at("copy")).unwrap();
        assert_eq!(cluster, ledger.cluster());
        assert_eq!(fs::metadata(at("copy")).unwrap().permissions().mode() & 0o777, 0o600);
        let before = fs::read(at("copy")).unwrap();
        assert!(back_up(&at("ledger"), &at("copy")).unwrap_err().to_string().contains("exists"));
        assert_eq!(fs::read(at("copy")).unwrap(), before);
        assert!(back_up(&at("ledger"), &at("nowhere/copy")).is_err());
        ledger.close().await;

        // What a killed central left beside its ledger is another ledger's.
        fs::write(at("again-wal"), "a log").unwrap();
        assert!(restore(&at("copy"), &at("again")).unwrap_err().to_string().contains("again-wal exists"));
        fs::remove_file(at("again-wal")).unwrap();
        fs::write(at("again.part-wal"), "a log").unwrap();
        fs::set_permissions(at("copy"), fs::Permissions::from_mode(0o444)).unwrap();
        assert!(restore(&at("copy"), &at("ledger")).unwrap_err().to_string().contains("exists"));
        let restored = restore(&at("copy"), &at("again")).unwrap();
        assert_eq!(restored.cluster_id, cluster.cluster_id);
        assert_eq!(fs::metadata(at("again")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(restored.epoch > cluster.epoch);
        let once_more = restore(&at("again"), &at("once-more")).unwrap();
        assert!(once_more.epoch > restored.epoch, "each restore is newer than what it is made of");
        let ledger = SqliteLedger::open(&at("again")).unwrap();
        assert_eq!(ledger.cluster(), restored);
        ledger.close().await;

        fs::write(at("text"), "no ledger").unwrap();
        assert!(restore(&at("text"), &at("other")).is_err());
        assert!(!at("other").exists());
        let left: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.contains(".part"))
            .collect();
        assert_eq!(left, Vec::<String>::new());
    }
}
