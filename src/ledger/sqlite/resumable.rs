//! The rows of resumable uploads.

use std::net::IpAddr;

use rusqlite::{Connection, Row};

use super::super::{LedgerError, NewResumable, Result, Resumable, ResumableEnd, ResumableState};
use super::{rows, sql};
use crate::domain::{MediaType, NodeId, Sha1, Sha256, Timestamp, UploadId};

/// So many former nodes are remembered.
const FORMER: usize = 16;

/// See `Ledger::unfinished_uploads`.
pub(super) fn unfinished(conn: &Connection, sender: Option<IpAddr>, limit: usize) -> Result<usize> {
    let count =
        sql::only(conn, "SELECT count(*) FROM uploads WHERE sender = ?1", [sender_bytes(sender)], |row| {
            sql::count(row, 0)
        })?;
    Ok(usize::try_from(count).unwrap_or(usize::MAX).min(limit))
}

fn sender_bytes(sender: Option<IpAddr>) -> [u8; 16] {
    match sender {
        None => [0; 16],
        Some(IpAddr::V4(ip)) => ip.to_ipv6_mapped().octets(),
        Some(IpAddr::V6(ip)) => ip.octets(),
    }
}

/// Records a new one. See `Ledger::create_upload`.
pub(super) fn create(conn: &Connection, now: Timestamp, new: &NewResumable, limit: usize) -> Result<bool> {
    if unfinished(conn, new.sender, limit)? >= limit {
        return Ok(false);
    }
    sql::run(
        conn,
        "INSERT INTO uploads (id, name, media_type, declared_size, sha1, nodes, created_at, expires_at,
                              sender)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING",
        (
            new.upload.as_bytes(),
            new.name.as_str(),
            new.media_type.as_str(),
            sql::int(new.size)?,
            new.sha1.as_ref().map(Sha1::as_bytes),
            joined(&new.nodes),
            now.as_millis(),
            new.expires_at.as_millis(),
            sender_bytes(new.sender),
        ),
    )?;
    Ok(true)
}

/// One of them. See `Ledger::find_upload`.
pub(super) fn find(conn: &Connection, upload: UploadId) -> Result<Option<Resumable>> {
    let found = sql::first(
        conn,
        "SELECT id, name, media_type, declared_size, sha1, sha256, nodes, expires_at, ended, outcome, blob_no,
                former
         FROM uploads WHERE id = ?1 AND declared_size IS NOT NULL",
        [upload.as_bytes()],
        read,
    )?;
    let Some((mut upload, blob_no)) = found else { return Ok(None) };
    if let Some(blob_no) = blob_no {
        upload.state = ResumableState::Decided(rows::blob_by_no(conn, blob_no)?.digests);
    }
    Ok(Some(upload))
}

/// See `Ledger::set_upload_nodes`.
pub(super) fn set_nodes(
    conn: &Connection,
    upload: UploadId,
    nodes: &[NodeId],
    expires_at: Timestamp,
) -> Result<bool> {
    let found = sql::first(
        conn,
        "SELECT nodes, former FROM uploads
         WHERE id = ?1 AND decided_at IS NULL AND declared_size IS NOT NULL",
        [upload.as_bytes()],
        |row| Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?)),
    )?;
    let Some((before, former)) = found else { return Ok(false) };
    let (before, former) = (split(&before), split(&former));
    let (Some(before), Some(former)) = (before, former) else {
        return Err(LedgerError::Damaged(format!("the nodes of upload {upload}")));
    };
    let mut former: Vec<NodeId> = former.into_iter().filter(|node| !nodes.contains(node)).collect();
    for node in before {
        if !nodes.contains(&node) && !former.contains(&node) {
            former.push(node);
        }
    }
    // What is forgotten here ends by its idle time.
    former.drain(..former.len().saturating_sub(FORMER));
    let changed = sql::run(
        conn,
        "UPDATE uploads SET nodes = ?2, former = ?3, expires_at = ?4 WHERE id = ?1 AND decided_at IS NULL",
        (upload.as_bytes(), joined(nodes), joined(&former), expires_at.as_millis()),
    )?;
    Ok(changed > 0)
}

/// See `Ledger::announce_upload`.
pub(super) fn announce(
    conn: &Connection,
    upload: UploadId,
    sha1: Option<Sha1>,
    sha256: Option<Sha256>,
) -> Result<()> {
    sql::run(
        conn,
        "UPDATE uploads SET sha1 = coalesce(?2, sha1), sha256 = coalesce(?3, sha256)
         WHERE id = ?1 AND decided_at IS NULL",
        (upload.as_bytes(), sha1.as_ref().map(Sha1::as_bytes), sha256.as_ref().map(Sha256::as_bytes)),
    )?;
    Ok(())
}

/// See `Ledger::end_upload`.
pub(super) fn end(conn: &Connection, now: Timestamp, upload: UploadId, end: ResumableEnd) -> Result<bool> {
    let changed = sql::run(
        conn,
        "UPDATE uploads SET ended = ?2, decided_at = ?3, sender = NULL WHERE id = ?1 AND decided_at IS NULL",
        (upload.as_bytes(), end_code(end), now.as_millis()),
    )?;
    Ok(changed > 0)
}

/// See `Ledger::expired_uploads`.
pub(super) fn expired(conn: &Connection, now: Timestamp, limit: usize) -> Result<Vec<Resumable>> {
    let found = sql::all(
        conn,
        "SELECT id, name, media_type, declared_size, sha1, sha256, nodes, expires_at, ended, outcome, blob_no,
                former
         FROM uploads WHERE decided_at IS NULL AND expires_at IS NOT NULL AND expires_at < ?1
         ORDER BY expires_at LIMIT ?2",
        (now.as_millis(), i64::try_from(limit).unwrap_or(i64::MAX)),
        read,
    )?;
    Ok(found.into_iter().map(|(upload, _)| upload).collect())
}

/// Whether it is neither decided nor ended, and this node's session takes its bytes.
pub(super) fn is_receiving(conn: &Connection, upload: UploadId, node: NodeId) -> Result<bool> {
    let nodes = sql::first(
        conn,
        "SELECT nodes FROM uploads WHERE id = ?1 AND decided_at IS NULL AND declared_size IS NOT NULL",
        [upload.as_bytes()],
        |row| row.get::<_, Vec<u8>>(0).map_err(Into::into),
    )?;
    Ok(nodes.and_then(|nodes| split(&nodes)).is_some_and(|nodes| nodes.contains(&node)))
}

/// Whether it ended undecided.
pub(super) fn is_ended(conn: &Connection, upload: UploadId) -> Result<bool> {
    let ended = sql::first(
        conn,
        "SELECT 1 FROM uploads WHERE id = ?1 AND ended IS NOT NULL",
        [upload.as_bytes()],
        |_| Ok(()),
    )?;
    Ok(ended.is_some())
}

fn joined(nodes: &[NodeId]) -> Vec<u8> {
    nodes.iter().flat_map(|node| *node.as_bytes()).collect()
}

fn split(bytes: &[u8]) -> Option<Vec<NodeId>> {
    let (nodes, rest) = bytes.as_chunks::<16>();
    rest.is_empty().then(|| nodes.iter().copied().map(NodeId::from_bytes).collect())
}

/// The row, with its blob's number where it was decided.
fn read(row: &Row<'_>) -> Result<(Resumable, Option<i64>)> {
    let upload = UploadId::from_bytes(row.get(0)?);
    let damaged = |what: &str| LedgerError::Damaged(format!("the {what} of upload {upload}"));
    let nodes: Vec<u8> = row.get(6)?;
    let nodes = split(&nodes).ok_or_else(|| damaged("nodes"))?;
    let former = split(&row.get::<_, Vec<u8>>(11)?).ok_or_else(|| damaged("former nodes"))?;
    let sha1: Option<Vec<u8>> = row.get(4)?;
    let sha256: Option<Vec<u8>> = row.get(5)?;
    let state = match row.get::<_, Option<i64>>(8)? {
        None => ResumableState::Receiving,
        Some(code) => ResumableState::Ended(end_of(code).ok_or_else(|| damaged("end"))?),
    };
    let found = Resumable {
        upload,
        name: sql::name(row, 1)?,
        media_type: MediaType::from(row.get::<_, String>(2)?),
        size: sql::count(row, 3)?,
        sha1: sha1.map(|it| Sha1::from_slice(&it).ok_or_else(|| damaged("SHA-1"))).transpose()?,
        sha256: sha256.map(|it| Sha256::from_slice(&it).ok_or_else(|| damaged("SHA-256"))).transpose()?,
        nodes,
        former,
        expires_at: Timestamp::from_millis(row.get(7)?),
        state,
    };
    let outcome: Option<i64> = row.get(9)?;
    Ok((found, outcome.and(row.get(10)?)))
}

const ENDS: [(ResumableEnd, i64); 5] = [
    (ResumableEnd::Terminated, 1),
    (ResumableEnd::Expired, 2),
    (ResumableEnd::WrongDigest, 3),
    (ResumableEnd::CollisionAttack, 4),
    (ResumableEnd::Collision, 5),
];

fn end_code(end: ResumableEnd) -> Option<i64> {
    ENDS.iter().find(|(known, _)| *known == end).map(|(_, code)| *code)
}

fn end_of(code: i64) -> Option<ResumableEnd> {
    ENDS.iter().find(|(_, known)| *known == code).map(|(end, _)| *end)
}
