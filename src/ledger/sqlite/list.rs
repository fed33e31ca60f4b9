//! The list of files in order of arrival, and the index behind its search. The other orders are in
//! `sorted`.
//!
//! `name_grams` is an FTS5 table without contents: per gram (see `names`) the list of the
//! rows whose name has it, which FTS5 walks from the newest back and intersects. What it
//! finds is checked against the name itself.
//!
//! Why not otherwise: FTS5's own trigram tokenizer finds nothing for one or two characters,
//! and `LIKE` reads every name. A table of (gram, seq) pairs of our own takes a page to be
//! written for nearly every gram of every name; FTS5 packs the lists and merges them behind
//! the scenes.
//!
//! FTS5 writes a segment for each savepoint, and merging many small segments is what costs.
//! So the decisions do not touch it: the last names (the *tail*) are read one by one, and when
//! enough have come together they go into the index at once, in a transaction behind a group
//! of decisions whose callers have their answers.

use std::ops::ControlFlow;

use rusqlite::{Connection, Params, Row, Transaction, TransactionBehavior};

use super::super::names;
use super::super::order::Key;
use super::super::{Cursor, FileOrder, FileRecord, LedgerError, Page, Result};
use super::{rows, sorted, sql};
use crate::domain::Viewer;

/// Files that a page looks at before it gives up filling itself and says where to go on.
/// Reached only when many names have every gram of a query and few have the query, or when the
/// files of a search that finds many are in another order than that of arrival. Tests reach it,
/// too.
pub(super) const MAX_EXAMINED: usize = if cfg!(test) { 500 } else { 10_000 };

/// Names that are not in the index yet before they are put there. More would cost less in
/// all and hold up the decisions behind for longer: 64 take about a millisecond, 256 four,
/// and now and then a merge tens.
const TAIL: i64 = 64;

/// Names that go into the index in one transaction at most.
const BATCH: i64 = 1024;

/// The longest folded query that a name can hold: 255 bytes, each of which may grow.
const MAX_QUERY_BYTES: usize = 255 * 3;

macro_rules! columns {
    () => {
        "SELECT files.seq, files.folded, files.id, files.name, files.media_type,
                files.created_at, blobs.sha1, blobs.sha256, blobs.size, blobs.blob_no "
    };
}
pub(super) use columns;

/// Files by seq, in a range.
const RANGE: &str = concat!(
    columns!(),
    "FROM files CROSS JOIN blobs ON blobs.blob_no = files.blob_no
     WHERE files.seq > ?1 AND files.seq < ?2 AND files.removed_at IS NULL AND files.visibility = 0
     ORDER BY files.seq DESC"
);

/// The same, oldest first.
const RANGE_UP: &str = concat!(
    columns!(),
    "FROM files CROSS JOIN blobs ON blobs.blob_no = files.blob_no
     WHERE files.seq > ?1 AND files.seq < ?2 AND files.removed_at IS NULL AND files.visibility = 0
     ORDER BY files.seq"
);

/// Files whose names have every one of some grams.
const MATCHING: &str = concat!(
    columns!(),
    "FROM name_grams CROSS JOIN files ON files.seq = name_grams.rowid
     CROSS JOIN blobs ON blobs.blob_no = files.blob_no
     WHERE name_grams MATCH ?1 AND name_grams.rowid < ?2
       AND files.removed_at IS NULL AND files.visibility = 0
     ORDER BY name_grams.rowid DESC"
);

/// The same, oldest first, up to a row.
const MATCHING_UP: &str = concat!(
    columns!(),
    "FROM name_grams CROSS JOIN files ON files.seq = name_grams.rowid
     CROSS JOIN blobs ON blobs.blob_no = files.blob_no
     WHERE name_grams MATCH ?1 AND name_grams.rowid > ?2 AND name_grams.rowid <= ?3
       AND files.removed_at IS NULL AND files.visibility = 0
     ORDER BY name_grams.rowid"
);

/// One page of the list. See `Ledger::list_files`.
pub(super) fn list(
    conn: &Connection,
    viewer: Viewer,
    query: &str,
    order: FileOrder,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Page<FileRecord>> {
    let Viewer::Public = viewer;
    if let Some(cursor) = after.as_ref().filter(|cursor| cursor.order() != order) {
        return Err(LedgerError::OtherOrder { of: cursor.order(), asked: order });
    }
    let query = names::fold(query);
    let page = Filling { query: &query, order, limit, examined: 0, items: Vec::new(), last: after };
    if query.len() > MAX_QUERY_BYTES {
        return Ok(page.done(false));
    }
    let grams: Vec<String> =
        names::query_grams(&query).into_iter().map(|gram| format!("\"{gram}\"")).collect();
    let grams = Some(grams.join(" ")).filter(|grams| !grams.is_empty());
    match order {
        FileOrder::Newest => page.newest(conn, grams),
        FileOrder::Oldest => page.oldest(conn, grams),
        FileOrder::Name | FileOrder::Largest | FileOrder::Smallest => sorted::list(conn, page, grams),
    }
}

/// A page that is being filled.
pub(super) struct Filling<'q> {
    pub query: &'q str,
    pub order: FileOrder,
    pub limit: usize,
    examined: usize,
    pub items: Vec<FileRecord>,
    /// The last file that was looked at, or where the page begins.
    pub last: Option<Cursor>,
}

impl Filling<'_> {
    fn newest(mut self, conn: &Connection, grams: Option<String>) -> Result<Page<FileRecord>> {
        let before = self.arrival().unwrap_or(i64::MAX);
        let Some(grams) = grams else {
            let full = self.fill(conn, RANGE, (0, before))?;
            return Ok(self.done(full.is_break()));
        };
        let indexed = indexed(conn)?;
        if self.fill(conn, RANGE, (indexed, before))?.is_break() {
            return Ok(self.done(true));
        }
        let full = self.fill(conn, MATCHING, (grams, before.min(indexed.saturating_add(1))))?;
        Ok(self.done(full.is_break()))
    }

    fn oldest(mut self, conn: &Connection, grams: Option<String>) -> Result<Page<FileRecord>> {
        let mut after = self.arrival().unwrap_or(0);
        if let Some(grams) = grams {
            let indexed = indexed(conn)?;
            if self.fill(conn, MATCHING_UP, (grams, after, indexed))?.is_break() {
                return Ok(self.done(true));
            }
            after = after.max(indexed);
        }
        let full = self.fill(conn, RANGE_UP, (after, i64::MAX))?;
        Ok(self.done(full.is_break()))
    }

    fn arrival(&self) -> Option<i64> {
        match self.last.as_ref()?.key {
            Key::Arrival { seq } => i64::try_from(seq).ok(),
            Key::Name { .. } | Key::Size { .. } => None,
        }
    }

    /// Takes from the rows of a statement what matches; breaks when there is more than the
    /// page takes.
    pub fn fill(
        &mut self,
        conn: &Connection,
        statement: &'static str,
        params: impl Params,
    ) -> Result<ControlFlow<()>> {
        let mut statement = sql::prepare(conn, statement)?;
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()? {
            if self.take(row)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn take(&mut self, row: &Row<'_>) -> Result<ControlFlow<()>> {
        if self.examined == MAX_EXAMINED {
            return Ok(ControlFlow::Break(()));
        }
        self.examined += 1;
        let matches = row.get_ref(1)?.as_str().is_ok_and(|folded| folded.contains(self.query));
        if matches {
            if self.items.len() == self.limit {
                return Ok(ControlFlow::Break(()));
            }
            self.items.push(rows::file(row, 2, rows::digests(row, 6)?)?);
        }
        self.last = Some(Cursor::new(self.order, self.key(row)?));
        Ok(ControlFlow::Continue(()))
    }

    fn key(&self, row: &Row<'_>) -> Result<Key> {
        let seq = sql::count(row, 0)?;
        Ok(match self.order {
            FileOrder::Newest | FileOrder::Oldest => Key::Arrival { seq },
            FileOrder::Name => Key::Name { folded: row.get(1)?, seq },
            FileOrder::Largest | FileOrder::Smallest => {
                Key::Size { size: sql::count(row, 8)?, blob: sql::count(row, 9)?, seq }
            }
        })
    }

    pub fn done(self, more: bool) -> Page<FileRecord> {
        Page { items: self.items, next: self.last.filter(|_| more) }
    }
}

/// The last row whose name is in the index.
pub(super) fn indexed(conn: &Connection) -> Result<i64> {
    sql::only(conn, "SELECT names_indexed FROM settings WHERE one = 1", [], |row| Ok(row.get(0)?))
}

/// Puts the names that wait into the index, when enough do.
pub(super) fn index_names(conn: &Connection) -> Result<()> {
    let newest: Option<i64> = sql::only(conn, "SELECT max(seq) FROM files", [], |row| Ok(row.get(0)?))?;
    let before = indexed(conn)?;
    if newest.is_none_or(|newest| newest - before < TAIL) {
        return Ok(());
    }
    let tx = Transaction::new_unchecked(conn, TransactionBehavior::Immediate)?;
    // Again, inside: FTS5 would take a name twice without a word.
    let indexed = indexed(&tx)?;
    let mut waiting =
        sql::prepare(&tx, "SELECT seq, folded FROM files WHERE seq > ?1 ORDER BY seq LIMIT ?2")?;
    let mut insert = sql::prepare(&tx, "INSERT INTO name_grams (rowid, grams) VALUES (?1, ?2)")?;
    let mut rows = waiting.query([indexed, BATCH])?;
    let mut last = indexed;
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        let folded: String = row.get(1)?;
        insert.execute((last, names::grams(&folded)))?;
    }
    drop(rows);
    drop((waiting, insert));
    sql::run(&tx, "UPDATE settings SET names_indexed = ?1 WHERE one = 1", [last])?;
    tx.commit()?;
    Ok(())
}
