//! The database file: its settings, its migrations, its first contents.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::super::{ClusterSettings, LedgerError, Result};
use super::sql;
use crate::domain::ClusterId;

/// What each migration does, in order; `PRAGMA user_version` counts those that were done.
const MIGRATIONS: [&str; 6] = [
    include_str!("../../../migrations/sqlite/0001_start.sql"),
    include_str!("../../../migrations/sqlite/0002_resumable.sql"),
    include_str!("../../../migrations/sqlite/0003_former.sql"),
    include_str!("../../../migrations/sqlite/0004_senders.sql"),
    include_str!("../../../migrations/sqlite/0005_orders.sql"),
    include_str!("../../../migrations/sqlite/0006_tokens.sql"),
];

/// `PRAGMA application_id` of a ledger: "clby".
const APPLICATION_ID: i32 = 0x636c_6279;

/// How long to wait for another process that holds the database, such as a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Page cache of the writer and of each reader, in KiB; it grows as pages are used. The
/// writer's holds most of the index of a million digests, where every insert meets another page.
const WRITER_CACHE_KIB: u32 = 64 << 10;
const READER_CACHE_KIB: u32 = 8 << 10;

/// Pages of 4 KiB in the write-ahead log before they are copied into the database: the pages
/// that every decision changes are then copied once for many decisions.
const CHECKPOINT_PAGES: u32 = 4000;

/// More statements than the ledger has, so that each is prepared once.
const STATEMENTS: usize = 128;

/// Opens the database for writing and brings it to the newest schema; makes the file only
/// when `create` says so.
///
/// Nothing here depends on how much is in it.
pub(super) fn open_writer(path: &Path, create: OpenFlags) -> Result<Connection> {
    let mut conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | create,
    )?;
    prepare_connection(&conn, WRITER_CACHE_KIB)?;
    // Before anything is written: a database of a newer build or of something else stays as
    // it is.
    check_schema(&conn)?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(LedgerError::Unavailable(format!(
            "no write-ahead log can be kept here (journal mode {mode})"
        )));
    }
    conn.execute_batch(&format!(
        "PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON;
         PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES};
         PRAGMA journal_size_limit = 67108864;"
    ))?;
    migrate(&mut conn)?;
    Ok(conn)
}

/// Opens the database of a central that may be working on it, for writing. Its schema is left as it is: a
/// central of an older build could not start on a newer one.
pub(super) fn open_beside(path: &Path) -> Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    let found = check_schema(&conn)?;
    if found < MIGRATIONS.len() {
        let version = |count| u32::try_from(count).unwrap_or(u32::MAX);
        return Err(LedgerError::TooOld { found: version(found), needed: version(MIGRATIONS.len()) });
    }
    drop(conn);
    open_writer(path, OpenFlags::empty())
}

/// Opens the database, which a writer has opened before, for reading.
pub(super) fn open_reader(path: &Path) -> Result<Connection> {
    let conn = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    prepare_connection(&conn, READER_CACHE_KIB)?;
    Ok(conn)
}

/// What cluster the ledger is of.
pub(super) fn cluster(conn: &Connection) -> Result<ClusterSettings> {
    sql::only(conn, "SELECT cluster_id, epoch FROM settings WHERE one = 1", [], |row| {
        Ok(ClusterSettings { cluster_id: ClusterId::from_bytes(row.get(0)?), epoch: sql::count(row, 1)? })
    })
}

fn prepare_connection(conn: &Connection, cache_kib: u32) -> Result<()> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // No mapping: a disk error under it would kill the process instead of failing a call.
    conn.execute_batch(&format!(
        "PRAGMA mmap_size = 0;
         PRAGMA cache_size = -{cache_kib};
         PRAGMA temp_store = MEMORY;
         PRAGMA trusted_schema = OFF;"
    ))?;
    Ok(())
}

/// The schema that the database has, if this build can work on it.
fn check_schema(conn: &Connection) -> Result<usize> {
    let known = u32::try_from(MIGRATIONS.len()).unwrap_or(u32::MAX);
    let found: u32 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let application: i32 = conn.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let empty: bool =
        conn.query_row("SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema)", [], |row| row.get(0))?;
    match (application, found) {
        (APPLICATION_ID, found) if found > known => Err(LedgerError::TooNew { found, known }),
        (APPLICATION_ID, found) => Ok(found as usize),
        (0, 0) if empty => Ok(0),
        _ => Err(LedgerError::Damaged("this database is not a ledger of closeby".to_owned())),
    }
}

fn migrate(conn: &mut Connection) -> Result<()> {
    if check_schema(conn)? == MIGRATIONS.len() {
        return Ok(());
    }
    let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let done = check_schema(&tx)?;
    for migration in MIGRATIONS.iter().skip(done) {
        tx.execute_batch(migration)?;
    }
    if done == 0 {
        tx.execute(
            "INSERT INTO settings (one, cluster_id, epoch, next_number) VALUES (1, ?1, 1, 1)",
            [ClusterId::random().as_bytes()],
        )?;
    }
    if done < MIGRATIONS.len() {
        tx.execute_batch(&format!(
            "PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {};",
            MIGRATIONS.len()
        ))?;
    }
    tx.commit()?;
    Ok(())
}
