//! What became of replicas once they were decided.

use std::collections::HashMap;
use std::time::Duration;

use rusqlite::Connection;

use super::super::{PendingReplica, ReplicaState, Result, SessionOutcome};
use super::rows::{self, BlobRow, ReplicaRow};
use super::{decide, resumable, sql};
use crate::domain::{Generation, NodeId, Sha1, Timestamp, UploadId, Viewer};

/// Records that a node has the blob. See `Ledger::confirm_replica`.
pub(super) fn confirm(conn: &Connection, sha1: Sha1, node: NodeId, generation: Generation) -> Result<()> {
    match decided_until(conn, sha1, node, generation)? {
        Some((blob, replica)) => change(conn, &blob, &replica, ReplicaState::Stored),
        None => Ok(()),
    }
}

/// Records that a node has neither session nor blob. See `Ledger::mark_replica_bad`.
pub(super) fn mark_bad(conn: &Connection, sha1: Sha1, node: NodeId, generation: Generation) -> Result<()> {
    match decided_until(conn, sha1, node, generation)? {
        Some((blob, replica)) => change(conn, &blob, &replica, ReplicaState::Bad),
        None => Ok(()),
    }
}

/// The node's replica, unless it was decided later than `generation`: what was said of an
/// earlier one is not said of it.
fn decided_until(
    conn: &Connection,
    sha1: Sha1,
    node: NodeId,
    generation: Generation,
) -> Result<Option<(BlobRow, ReplicaRow)>> {
    let Some(blob) = rows::blob(conn, sha1)? else { return Ok(None) };
    let replica = rows::replica_of(conn, blob.no, node)?;
    Ok(replica.filter(|replica| replica.generation <= generation).map(|replica| (blob, replica)))
}

fn change(conn: &Connection, blob: &BlobRow, replica: &ReplicaRow, after: ReplicaState) -> Result<()> {
    if replica.state == after {
        return Ok(());
    }
    sql::run(
        conn,
        "UPDATE replicas SET state = ?3 WHERE blob_no = ?1 AND node_no = ?2",
        (blob.no, replica.node_no, sql::state_code(after)),
    )?;
    rows::count_replica(conn, replica.node_no, blob.digests.size, Some(replica.state), after)
}

/// What a node is to do with its session. See `Ledger::session_outcome`.
pub(super) fn session_outcome(
    conn: &Connection,
    now: Timestamp,
    upload: UploadId,
    node: NodeId,
    sha1: Sha1,
    decide_before: Timestamp,
) -> Result<SessionOutcome> {
    if let Some(blob) = rows::blob(conn, sha1)?
        && let Some(replica) = rows::replica_of(conn, blob.no, node)?
        && replica.upload == upload
    {
        return Ok(SessionOutcome::Finish {
            generation: replica.generation,
            files: rows::files(conn, Viewer::Public, &blob, None)?,
        });
    }
    // A resumable one has its own end: until then it can be prepared anew.
    let is_late = now > decide_before && !resumable::is_receiving(conn, upload, node)?;
    let over = is_late || decide::is_decided(conn, upload)?;
    Ok(if over { SessionOutcome::Abort } else { SessionOutcome::Keep })
}

/// Replicas that wait to be confirmed. See `Ledger::pending_replicas`.
pub(super) fn pending(
    conn: &Connection,
    now: Timestamp,
    node: NodeId,
    age: Duration,
    limit: usize,
) -> Result<Vec<PendingReplica>> {
    let waiting = sql::all(
        conn,
        "SELECT upload, epoch, number, blob_no FROM replicas
         WHERE state = 0 AND node_no = (SELECT node_no FROM nodes WHERE id = ?1) AND decided_at <= ?2
         ORDER BY decided_at, blob_no LIMIT ?3",
        (node.as_bytes(), now.saturating_sub(age).as_millis(), i64::try_from(limit).unwrap_or(i64::MAX)),
        |row| Ok((UploadId::from_bytes(row.get(0)?), sql::generation(row, 1)?, row.get::<_, i64>(3)?)),
    )?;
    // An upload can be decided twice for one blob.
    let mut blobs = HashMap::new();
    for &(.., blob_no) in &waiting {
        if let std::collections::hash_map::Entry::Vacant(entry) = blobs.entry(blob_no) {
            let blob = rows::blob_by_no(conn, blob_no)?;
            let files = rows::files(conn, Viewer::Public, &blob, None)?;
            entry.insert((blob.digests, files));
        }
    }
    let pending = waiting.into_iter().filter_map(|(upload, generation, blob_no)| {
        let (digests, files) = blobs.get(&blob_no)?;
        Some(PendingReplica { node, upload, digests: *digests, generation, files: files.clone() })
    });
    Ok(pending.collect())
}

/// Forgets old outcomes. See `Ledger::forget_outcomes`.
pub(super) fn forget_outcomes(
    conn: &Connection,
    now: Timestamp,
    age: Duration,
    limit: usize,
) -> Result<usize> {
    sql::run(
        conn,
        "DELETE FROM uploads WHERE upload_no IN (
             SELECT upload_no FROM uploads WHERE decided_at IS NOT NULL AND decided_at < ?1
             ORDER BY decided_at LIMIT ?2)",
        (now.saturating_sub(age).as_millis(), i64::try_from(limit).unwrap_or(i64::MAX)),
    )
}
