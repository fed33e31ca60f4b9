//! Looking up blobs and files by key.

use rusqlite::Connection;

use super::super::{FileRecord, LedgerError, Pieces, Result, Totals};
use super::{rows, sql};
use crate::domain::{FileId, FileName, Sha1, Sha256, Viewer};

/// Whether files of these sizes are seen. See `Ledger::sizes_seen`.
pub(super) fn sizes_seen(conn: &Connection, viewer: Viewer, sizes: &[u64]) -> Result<Vec<bool>> {
    let Viewer::Public = viewer;
    let mut statement =
        sql::prepare(conn, "SELECT 1 FROM blobs WHERE size = ?1 AND public_files > 0 LIMIT 1")?;
    let mut seen = Vec::with_capacity(sizes.len());
    for &size in sizes {
        // A size that SQLite cannot write is one that no blob has.
        seen.push(match i64::try_from(size) {
            Ok(size) => statement.exists([size])?,
            Err(_) => false,
        });
    }
    Ok(seen)
}

/// The visible file of this name on a blob. See `Ledger::file_named`.
pub(super) fn file_named(
    conn: &Connection,
    viewer: Viewer,
    sha1: Sha1,
    name: &FileName,
) -> Result<Option<FileRecord>> {
    let Some(blob) = rows::visible(conn, viewer, sha1)? else { return Ok(None) };
    sql::first(
        conn,
        "SELECT id, name, media_type, created_at FROM files
         WHERE blob_no = ?1 AND name = ?2 AND removed_at IS NULL AND visibility = 0
         ORDER BY seq LIMIT 1",
        (blob.no, name.as_str()),
        |row| rows::file(row, 0, blob.digests),
    )
}

/// One visible file. See `Ledger::find_file`.
pub(super) fn find_file(conn: &Connection, viewer: Viewer, id: FileId) -> Result<Option<FileRecord>> {
    let Viewer::Public = viewer;
    sql::first(
        conn,
        "SELECT files.id, files.name, files.media_type, files.created_at,
                blobs.sha1, blobs.sha256, blobs.size
         FROM files CROSS JOIN blobs ON blobs.blob_no = files.blob_no
         WHERE files.id = ?1 AND files.removed_at IS NULL AND files.visibility = 0",
        [id.as_bytes()],
        |row| rows::file(row, 0, rows::digests(row, 4)?),
    )
}

/// A visible blob's pieces. See `Ledger::pieces`.
pub(super) fn pieces(conn: &Connection, viewer: Viewer, sha1: Sha1) -> Result<Option<Pieces>> {
    let Some(blob) = rows::visible(conn, viewer, sha1)? else { return Ok(None) };
    let joined: Vec<u8> =
        sql::only(conn, "SELECT sha256 FROM pieces WHERE blob_no = ?1", [blob.no], |row| Ok(row.get(0)?))?;
    let (pieces, rest) = joined.as_chunks::<{ Sha256::BYTES }>();
    if !rest.is_empty() {
        return Err(LedgerError::Damaged(format!("the pieces of blob {sha1}")));
    }
    Ok(Some(Pieces { digests: blob.digests, sha256: pieces.iter().copied().map(Sha256::new).collect() }))
}

/// The counters. See `Ledger::totals`.
pub(super) fn totals(conn: &Connection) -> Result<Totals> {
    sql::only(
        conn,
        "SELECT files, blobs, bytes, pending_replicas, stored_replicas, bad_replicas
         FROM counters WHERE one = 1",
        [],
        |row| {
            Ok(Totals {
                files: sql::count(row, 0)?,
                blobs: sql::count(row, 1)?,
                bytes: sql::count(row, 2)?,
                pending_replicas: sql::count(row, 3)?,
                stored_replicas: sql::count(row, 4)?,
                bad_replicas: sql::count(row, 5)?,
            })
        },
    )
}
