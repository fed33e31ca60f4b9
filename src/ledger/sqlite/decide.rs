//! Deciding uploads: the transaction that picks one winner.

use rusqlite::Connection;

use super::super::names;
use super::super::{
    DecideUpload, Decided, Decision, LedgerError, Receipt, RefusedReceipts, Replica, ReplicaState, Result,
};
use super::rows::{self, BlobRow};
use super::{resumable, sql};
use crate::domain::{BlobDigests, FileId, Generation, NodeId, Timestamp, UploadId, Viewer};

/// Copies that a blob is to have.
const COPIES: usize = 2;

/// What was decided about an upload before.
struct Outcome {
    stored: bool,
    blob_no: i64,
    generation: Generation,
    keep: Vec<NodeId>,
}

/// Decides an upload. See `Ledger::decide_upload`.
pub(super) fn decide(conn: &Connection, now: Timestamp, upload: &DecideUpload) -> Result<Decision> {
    // Before anything is judged: what was decided stays decided, however late it is asked.
    if let Some(outcome) = outcome(conn, upload.upload)? {
        let decided = decided(conn, upload.viewer, outcome.blob_no, outcome.generation, outcome.keep)?;
        return Ok(if outcome.stored { Decision::Stored(decided) } else { Decision::Duplicate(decided) });
    }
    if resumable::is_ended(conn, upload.upload)? {
        return Ok(Decision::Refused(RefusedReceipts::Ended));
    }
    let digests = match check(&upload.receipts, now) {
        Ok(digests) => digests,
        Err(refused) => return Ok(Decision::Refused(refused)),
    };
    let known = rows::blob(conn, digests.sha1)?;
    if let Some(blob) = known.as_ref().filter(|blob| blob.digests != digests) {
        return Ok(Decision::Conflict(blob.digests));
    }
    let replicas = match &known {
        Some(blob) => rows::replicas(conn, blob.no)?,
        None => Vec::new(),
    };
    let usable: Vec<&Replica> = replicas.iter().filter(|replica| replica.is_usable()).collect();
    // Copies that nobody can reach now help nobody who has to be told "it is here".
    let reachable = usable.iter().any(|replica| upload.answering.contains(&replica.node));
    let usable = if reachable { usable.len() } else { 0 };
    let filling = filling(&upload.receipts, &replicas, usable);
    match known {
        Some(blob) if blob.is_visible(upload.viewer) => duplicate(conn, now, upload, &blob, &filling),
        _ if usable + filling.len() < COPIES => Ok(Decision::Refused(RefusedReceipts::TooFew)),
        known => store(conn, now, upload, digests, known, &filling),
    }
}

/// The one content that all receipts are of.
fn check(receipts: &[Receipt], now: Timestamp) -> std::result::Result<BlobDigests, RefusedReceipts> {
    let (first, rest) = receipts.split_first().ok_or(RefusedReceipts::TooFew)?;
    for (i, receipt) in rest.iter().enumerate() {
        if receipts.iter().take(i + 1).any(|earlier| earlier.node == receipt.node) {
            return Err(RefusedReceipts::TooFew);
        }
        if receipt.digests != first.digests {
            return Err(RefusedReceipts::Mixed);
        }
    }
    if receipts.iter().any(|receipt| now > receipt.decide_before) {
        return Err(RefusedReceipts::Late);
    }
    Ok(first.digests)
}

/// The receipts whose sessions become replicas: of nodes without a usable one, until there
/// are two. A node that is out and has sent a receipt is back, whatever its row says.
fn filling<'a>(receipts: &'a [Receipt], replicas: &[Replica], usable: usize) -> Vec<&'a Receipt> {
    let has_one = |node| replicas.iter().any(|replica| replica.node == node && replica.is_usable());
    receipts.iter().filter(|receipt| !has_one(receipt.node)).take(COPIES.saturating_sub(usable)).collect()
}

/// The viewer sees the content: fills what is missing of it, records no file.
fn duplicate(
    conn: &Connection,
    now: Timestamp,
    upload: &DecideUpload,
    blob: &BlobRow,
    filling: &[&Receipt],
) -> Result<Decision> {
    let mut generation = blob.generation;
    if !filling.is_empty() {
        generation = draw(conn)?;
        sql::run(
            conn,
            "UPDATE blobs SET epoch = ?2, number = ?3, changed_at = ?4 WHERE blob_no = ?1",
            (blob.no, sql::int(generation.epoch)?, sql::int(generation.number)?, now.as_millis()),
        )?;
    }
    let keep = place(conn, now, upload.upload, blob.no, filling, generation)?;
    record(conn, now, upload.upload, false, blob.no, generation, &keep)?;
    decided(conn, upload.viewer, blob.no, generation, keep).map(Decision::Duplicate)
}

/// The viewer sees no such content: records a file, and the blob if there is none.
fn store(
    conn: &Connection,
    now: Timestamp,
    upload: &DecideUpload,
    digests: BlobDigests,
    known: Option<BlobRow>,
    filling: &[&Receipt],
) -> Result<Decision> {
    let generation = draw(conn)?;
    let (epoch, number) = (sql::int(generation.epoch)?, sql::int(generation.number)?);
    let size = sql::int(digests.size)?;
    let blob_no = match known {
        // Its last file is gone (or, later, hidden from this viewer): it lives on.
        Some(blob) => {
            sql::run(
                conn,
                "UPDATE blobs SET state = 0, epoch = ?2, number = ?3, changed_at = ?4,
                        public_files = public_files + 1
                 WHERE blob_no = ?1",
                (blob.no, epoch, number, now.as_millis()),
            )?;
            blob.no
        }
        None => {
            sql::run(
                conn,
                "INSERT INTO blobs (sha1, sha256, size, epoch, number, public_files, created_at, changed_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, 1, ?6, ?6)",
                (digests.sha1.as_bytes(), digests.sha256.as_bytes(), size, epoch, number, now.as_millis()),
            )?;
            conn.last_insert_rowid()
        }
    };
    sql::run(
        conn,
        "INSERT INTO files (id, blob_no, name, folded, media_type, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (
            file_id(now).as_bytes(),
            blob_no,
            upload.name.as_str(),
            names::fold(upload.name.as_str()),
            upload.media_type.as_str(),
            now.as_millis(),
        ),
    )?;
    let pieces: Vec<u8> = upload.pieces.iter().flat_map(|piece| *piece.as_bytes()).collect();
    sql::run(conn, "INSERT OR REPLACE INTO pieces (blob_no, sha256) VALUES (?1, ?2)", (blob_no, pieces))?;
    sql::run(
        conn,
        "UPDATE counters SET files = files + 1, blobs = blobs + 1, bytes = bytes + ?1 WHERE one = 1",
        [size],
    )?;
    let keep = place(conn, now, upload.upload, blob_no, filling, generation)?;
    record(conn, now, upload.upload, true, blob_no, generation, &keep)?;
    decided(conn, upload.viewer, blob_no, generation, keep).map(Decision::Stored)
}

/// A new id that begins with the time, as in UUID version 7 (RFC 9562 §5.7): ids of one day
/// lie together, so that the index of ids grows at its end instead of everywhere. 80 bits are
/// random; a file's id is a name and no secret.
fn file_id(now: Timestamp) -> FileId {
    let mut id = *FileId::random().as_bytes();
    let [_, _, time @ ..] = now.as_millis().to_be_bytes();
    let (front, _) = id.split_at_mut(time.len());
    front.copy_from_slice(&time);
    FileId::from_bytes(id)
}

/// The next generation. Drawn in the transaction that decides, so that what is committed
/// later is also newer.
fn draw(conn: &Connection) -> Result<Generation> {
    sql::only(
        conn,
        "UPDATE settings SET next_number = next_number + 1 WHERE one = 1
         RETURNING epoch, next_number - 1",
        [],
        |row| sql::generation(row, 0),
    )
}

/// Writes a pending replica for each receipt; says of which nodes.
fn place(
    conn: &Connection,
    now: Timestamp,
    upload: UploadId,
    blob_no: i64,
    filling: &[&Receipt],
    generation: Generation,
) -> Result<Vec<NodeId>> {
    for receipt in filling {
        let node = receipt.node;
        let node_no: i64 =
            sql::first(conn, "SELECT node_no FROM nodes WHERE id = ?1", [node.as_bytes()], |row| {
                Ok(row.get(0)?)
            })?
            .ok_or_else(|| LedgerError::Damaged(format!("a receipt of the unknown node {node}")))?;
        let before = rows::replica_of(conn, blob_no, node)?.map(|replica| replica.state);
        sql::run(
            conn,
            "INSERT INTO replicas (blob_no, node_no, state, upload, epoch, number, verified_at, decided_at)
             VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (blob_no, node_no) DO UPDATE SET state = 0, upload = excluded.upload,
                 epoch = excluded.epoch, number = excluded.number,
                 verified_at = excluded.verified_at, decided_at = excluded.decided_at",
            (
                blob_no,
                node_no,
                upload.as_bytes(),
                sql::int(generation.epoch)?,
                sql::int(generation.number)?,
                receipt.verified_at.as_millis(),
                now.as_millis(),
            ),
        )?;
        rows::count_replica(conn, node_no, receipt.digests.size, before, ReplicaState::Pending)?;
    }
    Ok(filling.iter().map(|receipt| receipt.node).collect())
}

/// Writes what was decided, so that asking again gives the same answer.
fn record(
    conn: &Connection,
    now: Timestamp,
    upload: UploadId,
    stored: bool,
    blob_no: i64,
    generation: Generation,
    keep: &[NodeId],
) -> Result<()> {
    let keep: Vec<u8> = keep.iter().flat_map(|node| *node.as_bytes()).collect();
    sql::run(
        conn,
        "INSERT INTO uploads (id, outcome, blob_no, epoch, number, keep, decided_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (id) DO UPDATE SET outcome = excluded.outcome, blob_no = excluded.blob_no,
             epoch = excluded.epoch, number = excluded.number, keep = excluded.keep,
             decided_at = excluded.decided_at, sender = NULL",
        (
            upload.as_bytes(),
            i64::from(!stored),
            blob_no,
            sql::int(generation.epoch)?,
            sql::int(generation.number)?,
            keep,
            now.as_millis(),
        ),
    )?;
    Ok(())
}

fn outcome(conn: &Connection, upload: UploadId) -> Result<Option<Outcome>> {
    sql::first(
        conn,
        "SELECT outcome, blob_no, epoch, number, keep FROM uploads
         WHERE id = ?1 AND outcome IS NOT NULL",
        [upload.as_bytes()],
        |row| {
            let keep: Vec<u8> = row.get(4)?;
            let (keep, rest) = keep.as_chunks::<16>();
            if !rest.is_empty() {
                return Err(LedgerError::Damaged(format!("the nodes of upload {upload}")));
            }
            Ok(Outcome {
                stored: row.get::<_, i64>(0)? == 0,
                blob_no: row.get(1)?,
                generation: sql::generation(row, 2)?,
                keep: keep.iter().copied().map(NodeId::from_bytes).collect(),
            })
        },
    )
}

/// Whether an upload was decided, one way or the other, or ended.
pub(super) fn is_decided(conn: &Connection, upload: UploadId) -> Result<bool> {
    Ok(outcome(conn, upload)?.is_some() || resumable::is_ended(conn, upload)?)
}

/// The blob as it stands now, as the answer to a decision.
fn decided(
    conn: &Connection,
    viewer: Viewer,
    blob_no: i64,
    generation: Generation,
    keep: Vec<NodeId>,
) -> Result<Decided> {
    let blob = rows::blob_by_no(conn, blob_no)?;
    Ok(Decided {
        generation,
        keep,
        blob: rows::visible_blob(conn, viewer, &blob)?,
        files: rows::files(conn, viewer, &blob, None)?,
    })
}
