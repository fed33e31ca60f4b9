//! How large the ledger is, and how much room it has.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::super::{LedgerError, Load, Result};
use super::sql;
use crate::domain::Timestamp;

/// See `Ledger::load`.
pub(super) fn load(conn: &Connection, now: Timestamp, path: &Path, waiting_writes: u64) -> Result<Load> {
    let disk = rustix::fs::statvfs(path.parent().unwrap_or_else(|| Path::new(".")))
        .map_err(|error| LedgerError::Unavailable(error.to_string()))?;
    // Not bounded, so that the gauge is right: along an index that holds nothing but these, without touching
    // a row. Each expires, and each sender has a few hundred at most: 100,000 take a few milliseconds of a reader.
    let unfinished = "SELECT count(*) FROM uploads WHERE sender >= x''";
    let unfinished_uploads = sql::only(conn, unfinished, [], |row| sql::count(row, 0))?;
    // One step into an index of the pending ones for each node, however many wait.
    let oldest = "SELECT min((SELECT min(decided_at) FROM replicas
                              WHERE state = 0 AND replicas.node_no = nodes.node_no)) FROM nodes";
    let oldest = sql::only(conn, oldest, [], |row| Ok(row.get::<_, Option<i64>>(0)?))?;
    Ok(Load {
        waiting_writes,
        file_bytes: ["", "-wal", "-shm"].into_iter().map(|end| length(path, end)).sum(),
        disk_free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize),
        unfinished_uploads,
        oldest_pending: oldest.map_or(Duration::ZERO, |at| now.since(Timestamp::from_millis(at))),
    })
}

/// The length of one of its files; 0 where that is not there.
fn length(path: &Path, end: &str) -> u64 {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    std::fs::metadata(name).map_or(0, |file| file.len())
}
