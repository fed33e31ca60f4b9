//! Running statements, and the values that go in and out of them.

use rusqlite::types::Value;
use rusqlite::{CachedStatement, Connection, ErrorCode, Params, Row};

use super::super::{LedgerError, ReplicaState, Result};
use crate::domain::{FileName, Generation, Label, MediaType};

/// Every statement that ran through this module, for the test of their query plans.
#[cfg(test)]
pub(super) static RAN: std::sync::Mutex<std::collections::BTreeSet<&'static str>> =
    std::sync::Mutex::new(std::collections::BTreeSet::new());

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error as E;
        let damaged = match &error {
            E::FromSqlConversionFailure(..)
            | E::IntegralValueOutOfRange(..)
            | E::InvalidColumnType(..)
            | E::QueryReturnedNoRows => true,
            // No statement here breaks a constraint unless what it read was wrong.
            E::SqliteFailure(cause, _) => matches!(
                cause.code,
                ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::ConstraintViolation
            ),
            _ => false,
        };
        if damaged { Self::Damaged(error.to_string()) } else { Self::Unavailable(error.to_string()) }
    }
}

/// The statement, prepared once a connection.
pub(super) fn prepare<'c>(conn: &'c Connection, sql: &'static str) -> Result<CachedStatement<'c>> {
    #[cfg(test)]
    RAN.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(sql);
    Ok(conn.prepare_cached(sql)?)
}

/// Runs a statement that answers nothing; says how many rows it changed.
pub(super) fn run(conn: &Connection, sql: &'static str, params: impl Params) -> Result<usize> {
    Ok(prepare(conn, sql)?.execute(params)?)
}

/// The first row, if there is one.
pub(super) fn first<T>(
    conn: &Connection,
    sql: &'static str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Option<T>> {
    prepare(conn, sql)?.query_and_then(params, read)?.next().transpose()
}

/// The row that must be there.
pub(super) fn only<T>(
    conn: &Connection,
    sql: &'static str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<T> {
    first(conn, sql, params, read)?.ok_or_else(|| LedgerError::from(rusqlite::Error::QueryReturnedNoRows))
}

/// All rows; the statement says how many at most.
pub(super) fn all<T>(
    conn: &Connection,
    sql: &'static str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    prepare(conn, sql)?.query_and_then(params, read)?.collect()
}

/// A number as SQLite keeps it.
pub(super) fn int(value: u64) -> Result<i64> {
    i64::try_from(value)
        .map_err(|_| LedgerError::Damaged(format!("{value} is larger than any number in the ledger")))
}

/// A number that is never negative.
pub(super) fn count(row: &Row<'_>, column: usize) -> Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| LedgerError::Damaged(format!("{value} stands where a count is kept")))
}

/// The pair (epoch, number) in two columns.
pub(super) fn generation(row: &Row<'_>, column: usize) -> Result<Generation> {
    Ok(Generation { epoch: count(row, column)?, number: count(row, column + 1)? })
}

/// A file's name.
pub(super) fn name(row: &Row<'_>, column: usize) -> Result<FileName> {
    let text: String = row.get(column)?;
    FileName::parse(&text).map_err(|error| LedgerError::Damaged(format!("a name in the ledger: {error}")))
}

/// A media type.
pub(super) fn media_type(row: &Row<'_>, column: usize) -> Result<MediaType> {
    Ok(MediaType::from(row.get::<_, String>(column)?))
}

/// A label.
pub(super) fn label(row: &Row<'_>, column: usize) -> Result<Label> {
    let text: String = row.get(column)?;
    Label::parse(&text).map_err(|error| LedgerError::Damaged(format!("a label in the ledger: {error}")))
}

/// How a replica's state is written.
pub(super) const fn state_code(state: ReplicaState) -> i64 {
    match state {
        ReplicaState::Pending => 0,
        ReplicaState::Stored => 1,
        ReplicaState::Bad => 2,
    }
}

/// A replica's state.
pub(super) fn state(row: &Row<'_>, column: usize) -> Result<ReplicaState> {
    match row.get(column)? {
        Value::Integer(0) => Ok(ReplicaState::Pending),
        Value::Integer(1) => Ok(ReplicaState::Stored),
        Value::Integer(2) => Ok(ReplicaState::Bad),
        other => Err(LedgerError::Damaged(format!("{other:?} is no state of a replica"))),
    }
}
