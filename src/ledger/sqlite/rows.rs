//! What several calls read of a blob, and the counters that go with what they write.

use rusqlite::{Connection, Row};

use super::super::{FileRecord, LedgerError, Replica, ReplicaState, Result, VisibleBlob};
use super::sql;
use crate::domain::{BlobDigests, FileId, Generation, NodeId, Sha1, Sha256, Timestamp, UploadId, Viewer};

/// A blob's row, visible or not.
pub(super) struct BlobRow {
    pub no: i64,
    pub digests: BlobDigests,
    pub generation: Generation,
    public_files: u64,
}

impl BlobRow {
    /// Whether the viewer sees a file on it.
    pub fn is_visible(&self, viewer: Viewer) -> bool {
        match viewer {
            Viewer::Public => self.public_files > 0,
        }
    }
}

const BLOB_BY_SHA1: &str =
    "SELECT blob_no, sha1, sha256, size, epoch, number, public_files FROM blobs WHERE sha1 = ?1";
const BLOB_BY_NO: &str =
    "SELECT blob_no, sha1, sha256, size, epoch, number, public_files FROM blobs WHERE blob_no = ?1";

fn blob_row(row: &Row<'_>) -> Result<BlobRow> {
    Ok(BlobRow {
        no: row.get(0)?,
        digests: digests(row, 1)?,
        generation: sql::generation(row, 4)?,
        public_files: sql::count(row, 6)?,
    })
}

/// SHA-1, SHA-256 and size in three columns.
pub(super) fn digests(row: &Row<'_>, column: usize) -> Result<BlobDigests> {
    Ok(BlobDigests {
        sha1: Sha1::new(row.get(column)?),
        sha256: Sha256::new(row.get(column + 1)?),
        size: sql::count(row, column + 2)?,
    })
}

/// The blob of this key.
pub(super) fn blob(conn: &Connection, sha1: Sha1) -> Result<Option<BlobRow>> {
    sql::first(conn, BLOB_BY_SHA1, [sha1.as_bytes()], blob_row)
}

/// The blob of this row.
pub(super) fn blob_by_no(conn: &Connection, no: i64) -> Result<BlobRow> {
    sql::only(conn, BLOB_BY_NO, [no], blob_row)
}

/// The blob of this key, if the viewer sees a file on it.
pub(super) fn visible(conn: &Connection, viewer: Viewer, sha1: Sha1) -> Result<Option<BlobRow>> {
    Ok(blob(conn, sha1)?.filter(|blob| blob.is_visible(viewer)))
}

/// A blob's replicas, in order of node id.
pub(super) fn replicas(conn: &Connection, blob_no: i64) -> Result<Vec<Replica>> {
    let mut replicas = sql::all(
        conn,
        "SELECT nodes.id, replicas.state, replicas.upload, replicas.epoch, replicas.number,
                replicas.verified_at, nodes.is_out
         FROM replicas CROSS JOIN nodes ON nodes.node_no = replicas.node_no
         WHERE replicas.blob_no = ?1",
        [blob_no],
        |row| {
            Ok(Replica {
                node: NodeId::from_bytes(row.get(0)?),
                state: sql::state(row, 1)?,
                upload: UploadId::from_bytes(row.get(2)?),
                generation: sql::generation(row, 3)?,
                verified_at: Timestamp::from_millis(row.get(5)?),
                node_out: row.get(6)?,
            })
        },
    )?;
    replicas.sort_by_key(|replica| replica.node);
    Ok(replicas)
}

/// One node's replica of a blob: the node's number and the replica's place in time.
pub(super) struct ReplicaRow {
    pub node_no: i64,
    pub state: ReplicaState,
    pub upload: UploadId,
    pub generation: Generation,
}

/// One node's replica of a blob.
pub(super) fn replica_of(conn: &Connection, blob_no: i64, node: NodeId) -> Result<Option<ReplicaRow>> {
    sql::first(
        conn,
        "SELECT replicas.node_no, replicas.state, replicas.upload, replicas.epoch, replicas.number
         FROM nodes CROSS JOIN replicas ON replicas.node_no = nodes.node_no
         WHERE nodes.id = ?2 AND replicas.blob_no = ?1",
        (blob_no, node.as_bytes()),
        |row| {
            Ok(ReplicaRow {
                node_no: row.get(0)?,
                state: sql::state(row, 1)?,
                upload: UploadId::from_bytes(row.get(2)?),
                generation: sql::generation(row, 3)?,
            })
        },
    )
}

/// A file's own columns, in the order `id, name, media_type, created_at`, from `column` on.
pub(super) fn file(row: &Row<'_>, column: usize, blob: BlobDigests) -> Result<FileRecord> {
    Ok(FileRecord {
        id: FileId::from_bytes(row.get(column)?),
        name: sql::name(row, column + 1)?,
        media_type: sql::media_type(row, column + 2)?,
        created_at: Timestamp::from_millis(row.get(column + 3)?),
        blob,
    })
}

/// The visible files on a blob, oldest first; all of them without a limit.
pub(super) fn files(
    conn: &Connection,
    viewer: Viewer,
    blob: &BlobRow,
    limit: Option<usize>,
) -> Result<Vec<FileRecord>> {
    let Viewer::Public = viewer;
    let limit = limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX));
    sql::all(
        conn,
        "SELECT id, name, media_type, created_at FROM files
         WHERE blob_no = ?1 AND removed_at IS NULL AND visibility = 0 ORDER BY seq LIMIT ?2",
        (blob.no, limit),
        |row| file(row, 0, blob.digests),
    )
}

/// A visible blob with its replicas and its oldest file.
pub(super) fn visible_blob(conn: &Connection, viewer: Viewer, blob: &BlobRow) -> Result<VisibleBlob> {
    let file = files(conn, viewer, blob, Some(1))?.pop().ok_or_else(|| {
        LedgerError::Damaged(format!("blob {} counts files that are not there", blob.digests.sha1))
    })?;
    Ok(VisibleBlob {
        digests: blob.digests,
        generation: blob.generation,
        replicas: replicas(conn, blob.no)?,
        file,
    })
}

/// Keeps the counters right for a replica that went from one state to another.
pub(super) fn count_replica(
    conn: &Connection,
    node_no: i64,
    size: u64,
    before: Option<ReplicaState>,
    after: ReplicaState,
) -> Result<()> {
    if before == Some(after) {
        return Ok(());
    }
    let change = |state| i64::from(after == state) - i64::from(before == Some(state));
    let stored = change(ReplicaState::Stored);
    sql::run(
        conn,
        "UPDATE counters SET pending_replicas = pending_replicas + ?1,
                stored_replicas = stored_replicas + ?2, bad_replicas = bad_replicas + ?3
         WHERE one = 1",
        (change(ReplicaState::Pending), stored, change(ReplicaState::Bad)),
    )?;
    if stored != 0 {
        sql::run(
            conn,
            "UPDATE nodes SET replicas = replicas + ?2, bytes = bytes + ?3 WHERE node_no = ?1",
            (node_no, stored, stored * sql::int(size)?),
        )?;
    }
    Ok(())
}
