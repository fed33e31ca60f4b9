//! The nodes as the ledger remembers them.

use rusqlite::{Connection, Row};

use super::super::{LedgerError, NodeRecord, NodeWithCounts, Result};
use super::sql;
use crate::domain::{Coordinates, CountryCode, KeyId, NodeId, Place, Timestamp};

/// Records what a node says. See `Ledger::record_node`.
pub(super) fn record(conn: &Connection, node: &NodeRecord) -> Result<()> {
    sql::run(
        conn,
        "INSERT INTO nodes (id, key_id, place_name, place_country, place_lat, place_lon,
                            failure_domain, public_url, version, seen_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
         ON CONFLICT (id) DO UPDATE SET key_id = excluded.key_id,
             place_name = excluded.place_name, place_country = excluded.place_country,
             place_lat = excluded.place_lat, place_lon = excluded.place_lon,
             failure_domain = excluded.failure_domain, public_url = excluded.public_url,
             version = excluded.version, seen_at = excluded.seen_at, is_out = 0",
        (
            node.id.as_bytes(),
            node.key_id.0,
            node.place.name.as_str(),
            node.place.country.map(|country| country.to_string()),
            node.place.coordinates.lat(),
            node.place.coordinates.lon(),
            node.failure_domain.as_str(),
            &node.public_url,
            node.version.as_str(),
            node.seen_at.as_millis(),
        ),
    )?;
    Ok(())
}

/// Records that a node is out or back. See `Ledger::set_node_out`.
pub(super) fn set_out(conn: &Connection, node: NodeId, out: bool) -> Result<()> {
    sql::run(conn, "UPDATE nodes SET is_out = ?2 WHERE id = ?1", (node.as_bytes(), out))?;
    Ok(())
}

/// See `Ledger::nodes_out`.
pub(super) fn out_of(conn: &Connection, nodes: &[NodeId]) -> Result<Vec<NodeId>> {
    let mut out = Vec::new();
    for node in nodes {
        let found =
            sql::first(conn, "SELECT 1 FROM nodes WHERE id = ?1 AND is_out", [node.as_bytes()], |_| Ok(()))?;
        out.extend(found.map(|()| *node));
    }
    Ok(out)
}

/// Every node, in order of id. See `Ledger::nodes`.
pub(super) fn all(conn: &Connection) -> Result<Vec<NodeWithCounts>> {
    sql::all(
        conn,
        "SELECT id, key_id, place_name, place_country, place_lat, place_lon, failure_domain,
                public_url, version, seen_at, is_out, replicas, bytes
         FROM nodes ORDER BY id",
        [],
        |row| {
            let node = NodeRecord {
                id: NodeId::from_bytes(row.get(0)?),
                key_id: KeyId(row.get(1)?),
                place: place(row)?,
                failure_domain: sql::label(row, 6)?,
                public_url: row.get(7)?,
                version: sql::label(row, 8)?,
                seen_at: Timestamp::from_millis(row.get(9)?),
                out: row.get(10)?,
            };
            Ok(NodeWithCounts { node, replicas: sql::count(row, 11)?, bytes: sql::count(row, 12)? })
        },
    )
}

fn place(row: &Row<'_>) -> Result<Place> {
    let wrong = |error| LedgerError::Damaged(format!("a place in the ledger: {error}"));
    let country: Option<String> = row.get(3)?;
    Ok(Place {
        name: sql::label(row, 2)?,
        country: country.map(|code| CountryCode::parse(&code)).transpose().map_err(wrong)?,
        coordinates: Coordinates::new(row.get(4)?, row.get(5)?).map_err(wrong)?,
    })
}
