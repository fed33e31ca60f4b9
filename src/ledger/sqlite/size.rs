//! How large the ledger is, and how much room it has.

use std::path::Path;

use rusqlite::Connection;

use super::super::{LedgerError, Load, Result};
use super::sql;

/// See `Ledger::load`.
pub(super) fn load(conn: &Connection, path: &Path, waiting_writes: u64) -> Result<Load> {
    let disk = rustix::fs::statvfs(path.parent().unwrap_or_else(|| Path::new(".")))
        .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
    // Along an index of these alone; each sender has a few hundred at most.
    let unfinished = "SELECT count(*) FROM uploads WHERE sender >= x''";
    let unfinished_uploads = sql::only(conn, unfinished, [], |row| sql::count(row, 0))?;
    Ok(Load {
        waiting_writes,
        file_bytes: ["", "-wal", "-shm"].into_iter().map(|end| length(path, end)).sum(),
        disk_free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        unfinished_uploads,
    })
}

/// The length of one of its files; 0 where that is not there.
fn length(path: &Path, end: &str) -> u64 {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    std::fs::metadata(name).map_or(0, |file| file.len())
}
