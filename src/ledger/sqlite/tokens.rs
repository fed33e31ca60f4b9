//! Tokens: their digests, what they are good for, and when they count no longer.

use rusqlite::{Connection, Row};

use super::super::{LedgerError, NewToken, Result, TokenRecord};
use super::sql;
use crate::domain::{Sha256, Timestamp, TokenId};

/// See `Ledger::create_token`.
pub(super) fn create(conn: &Connection, now: Timestamp, token: &NewToken) -> Result<()> {
    sql::run(
        conn,
        "INSERT INTO tokens (id, name, scopes, sha256, created_at, expires_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO NOTHING",
        (
            token.id.as_bytes(),
            token.name.as_ref().map(crate::domain::Label::as_str),
            token.scopes.to_string(),
            token.sha256.as_bytes(),
            now.as_millis(),
            token.expires_at.map(Timestamp::as_millis),
        ),
    )?;
    Ok(())
}

/// See `Ledger::find_token`.
pub(super) fn find(conn: &Connection, sha256: Sha256) -> Result<Option<TokenRecord>> {
    sql::first(
        conn,
        "SELECT id, name, scopes, created_at, expires_at, revoked_at FROM tokens WHERE sha256 = ?1",
        [sha256.as_bytes()],
        record,
    )
}

/// See `Ledger::list_tokens`.
pub(super) fn all(conn: &Connection) -> Result<Vec<TokenRecord>> {
    sql::all(
        conn,
        "SELECT id, name, scopes, created_at, expires_at, revoked_at FROM tokens ORDER BY token_no",
        [],
        record,
    )
}

/// See `Ledger::revoke_token`.
pub(super) fn revoke(conn: &Connection, now: Timestamp, token: TokenId) -> Result<Option<TokenRecord>> {
    sql::run(
        conn,
        "UPDATE tokens SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL",
        (token.as_bytes(), now.as_millis()),
    )?;
    sql::first(
        conn,
        "SELECT id, name, scopes, created_at, expires_at, revoked_at FROM tokens WHERE id = ?1",
        [token.as_bytes()],
        record,
    )
}

fn record(row: &Row<'_>) -> Result<TokenRecord> {
    let name: Option<String> = row.get(1)?;
    let scopes: String = row.get(2)?;
    Ok(TokenRecord {
        id: TokenId::from_bytes(row.get(0)?),
        name: name.map(|_| sql::label(row, 1)).transpose()?,
        scopes: scopes
            .parse()
            .map_err(|error| LedgerError::Damaged(format!("a token in the ledger: {error}")))?,
        created_at: Timestamp::from_millis(row.get(3)?),
        expires_at: row.get::<_, Option<i64>>(4)?.map(Timestamp::from_millis),
        revoked_at: row.get::<_, Option<i64>>(5)?.map(Timestamp::from_millis),
    })
}
