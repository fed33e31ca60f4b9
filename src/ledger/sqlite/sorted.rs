//! The list of files by name and by size.
//!
//! Without a search a page is a walk along an index from where it begins. With one there are two ways,
//! and both keep the same order, so that pages may take turns: what a search finds is sorted where it is
//! little enough; where it is more, the walk leaves out what does not match, and finds one often enough.

use rusqlite::{Connection, Params};

use super::super::order::Key;
use super::super::{Cursor, FileOrder, FileRecord, Page, Result};
use super::list::{Filling, MAX_EXAMINED, columns, indexed};
use super::{rows, sql};

macro_rules! by_name {
    ($range:literal) => {
        concat!(
            columns!(),
            "FROM files CROSS JOIN blobs ON blobs.blob_no = files.blob_no WHERE ",
            $range,
            " AND files.removed_at IS NULL AND files.visibility = 0 ORDER BY files.folded, files.seq"
        )
    };
}

/// The other files of a name, and those of the names behind it: two statements, as SQLite uses an
/// index for no comparison of pairs that ends in the row's own number.
const SAME_NAME: &str = by_name!("files.folded = ?1 AND files.seq > ?2");
const NEXT_NAMES: &str = by_name!("files.folded > ?1");

macro_rules! by_size {
    ($range:literal, $direction:literal) => {
        concat!(
            columns!(),
            "FROM blobs CROSS JOIN files ON files.blob_no = blobs.blob_no WHERE ",
            $range,
            " AND blobs.public_files > 0 AND files.removed_at IS NULL AND files.visibility = 0
              ORDER BY blobs.size ",
            $direction,
            ", blobs.blob_no ",
            $direction,
            ", files.seq ",
            $direction
        )
    };
}

/// The other files on a blob, those on the blobs of its size, and those of the sizes behind it.
const SAME_BLOB_UP: &str = by_size!("blobs.blob_no = ?1 AND files.seq > ?2", "");
const SAME_SIZE_UP: &str = by_size!("blobs.size = ?1 AND blobs.blob_no > ?2", "");
const NEXT_SIZES_UP: &str = by_size!("blobs.size > ?1", "");
const SAME_BLOB_DOWN: &str = by_size!("blobs.blob_no = ?1 AND files.seq < ?2", "DESC");
const SAME_SIZE_DOWN: &str = by_size!("blobs.size = ?1 AND blobs.blob_no < ?2", "DESC");
const NEXT_SIZES_DOWN: &str = by_size!("blobs.size < ?1", "DESC");

/// What files are sorted by, of those that are not in the index of names yet and of those in it.
const WAITING_KEYS: &str = "SELECT files.seq, files.folded, blobs.size, blobs.blob_no
     FROM files CROSS JOIN blobs ON blobs.blob_no = files.blob_no
     WHERE files.seq > ?1 AND files.removed_at IS NULL AND files.visibility = 0";
const MATCHING_KEYS: &str = "SELECT files.seq, files.folded, blobs.size, blobs.blob_no
     FROM name_grams CROSS JOIN files ON files.seq = name_grams.rowid
     CROSS JOIN blobs ON blobs.blob_no = files.blob_no
     WHERE name_grams MATCH ?1 AND name_grams.rowid <= ?2
       AND files.removed_at IS NULL AND files.visibility = 0
     ORDER BY name_grams.rowid DESC";

const ONE: &str =
    concat!(columns!(), "FROM files CROSS JOIN blobs ON blobs.blob_no = files.blob_no WHERE files.seq = ?1");

/// One page by name or by size; `grams` are those of the search, if there is one.
pub(super) fn list(conn: &Connection, page: Filling<'_>, grams: Option<String>) -> Result<Page<FileRecord>> {
    let Some(grams) = grams else { return walk(conn, page) };
    match found(conn, &page, &grams)? {
        Some(keys) => pick(conn, page, keys),
        None => walk(conn, page),
    }
}

fn number(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Goes along an index, and takes what matches.
fn walk(conn: &Connection, mut page: Filling<'_>) -> Result<Page<FileRecord>> {
    let from = page.last.as_ref().map(|cursor| cursor.key.clone());
    let full = match (page.order, from) {
        (FileOrder::Name, Some(Key::Name { folded, seq })) => {
            page.fill(conn, SAME_NAME, (&folded, number(seq)))?.is_break()
                || page.fill(conn, NEXT_NAMES, [&folded])?.is_break()
        }
        // No name is empty.
        (FileOrder::Name, _) => page.fill(conn, NEXT_NAMES, [""])?.is_break(),
        (order, from) => {
            let [same_blob, same_size, next_sizes] = if order == FileOrder::Largest {
                [SAME_BLOB_DOWN, SAME_SIZE_DOWN, NEXT_SIZES_DOWN]
            } else {
                [SAME_BLOB_UP, SAME_SIZE_UP, NEXT_SIZES_UP]
            };
            if let Some(Key::Size { size, blob, seq }) = from {
                page.fill(conn, same_blob, (number(blob), number(seq)))?.is_break()
                    || page.fill(conn, same_size, (number(size), number(blob)))?.is_break()
                    || page.fill(conn, next_sizes, [number(size)])?.is_break()
            } else {
                let start = if order == FileOrder::Largest { i64::MAX } else { -1 };
                page.fill(conn, next_sizes, [start])?.is_break()
            }
        }
    };
    Ok(page.done(full))
}

/// What a search finds, as what it is sorted by; none where it is too much to be sorted.
fn found(conn: &Connection, page: &Filling<'_>, grams: &str) -> Result<Option<Vec<Key>>> {
    let indexed = indexed(conn)?;
    let mut keys = Vec::new();
    let mut examined = 0;
    let all = take_keys(conn, page, WAITING_KEYS, [indexed], &mut examined, &mut keys)?
        && take_keys(conn, page, MATCHING_KEYS, (grams, indexed), &mut examined, &mut keys)?;
    Ok(all.then_some(keys))
}

/// False when there are more than are looked at.
fn take_keys(
    conn: &Connection,
    page: &Filling<'_>,
    statement: &'static str,
    params: impl Params,
    examined: &mut usize,
    keys: &mut Vec<Key>,
) -> Result<bool> {
    let mut statement = sql::prepare(conn, statement)?;
    let mut rows = statement.query(params)?;
    while let Some(row) = rows.next()? {
        if *examined == MAX_EXAMINED {
            return Ok(false);
        }
        *examined += 1;
        let folded = row.get_ref(1)?.as_str().unwrap_or_default();
        if !folded.contains(page.query) {
            continue;
        }
        let seq = sql::count(row, 0)?;
        keys.push(match page.order {
            FileOrder::Name => Key::Name { folded: folded.to_owned(), seq },
            _ => Key::Size { size: sql::count(row, 2)?, blob: sql::count(row, 3)?, seq },
        });
    }
    Ok(true)
}

/// Sorts what was found, and reads the files of the page.
fn pick(conn: &Connection, mut page: Filling<'_>, mut keys: Vec<Key>) -> Result<Page<FileRecord>> {
    let is_down = page.order == FileOrder::Largest;
    if let Some(cursor) = &page.last {
        keys.retain(|key| if is_down { *key < cursor.key } else { *key > cursor.key });
    }
    keys.sort_unstable();
    if is_down {
        keys.reverse();
    }
    let more = keys.len() > page.limit;
    for key in keys.into_iter().take(page.limit) {
        let (Key::Arrival { seq } | Key::Name { seq, .. } | Key::Size { seq, .. }) = &key;
        let file = sql::only(conn, ONE, [number(*seq)], |row| rows::file(row, 2, rows::digests(row, 6)?))?;
        page.items.push(file);
        page.last = Some(Cursor::new(page.order, key));
    }
    Ok(page.done(more))
}
