//! The contract, and what only this engine promises.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::super::contract::{self, Fixture, Time, content};
use super::super::{FileOrder, LedgerError};
use super::*;

contract::suite!(fresh);

fn open(path: &Path, time: &Time) -> Result<SqliteLedger> {
    let time = time.clone();
    SqliteLedger::open_with_clock(path, Arc::new(move || time.now()))
}

fn fresh() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let time = Time::new();
    let open = {
        let time = time.clone();
        Box::new(move || -> Arc<dyn Ledger> { Arc::new(open(&path, &time).unwrap()) })
    };
    Fixture { ledger: open(), time, open, keep: Box::new(folder) }
}

/// A fixture's ledger with its file, where a test looks underneath.
struct Under {
    ledger: SqliteLedger,
    folder: tempfile::TempDir,
}

impl Under {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { ledger: SqliteLedger::open(&folder.path().join("ledger.db")).unwrap(), folder }
    }

    fn raw(&self) -> Connection {
        Connection::open(self.folder.path().join("ledger.db")).unwrap()
    }

    async fn write(&self, sql: &'static str) -> Result<()> {
        self.ledger.writer.call(move |conn| Ok(conn.execute_batch(sql)?)).await
    }
}

#[tokio::test]
async fn the_ledger_is_for_its_owner_alone() {
    let under = Under::new();
    under.write("PRAGMA user_version").await.unwrap();
    for file in std::fs::read_dir(&under.folder).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
    }
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    drop(SqliteLedger::open(&path).unwrap());
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 1000").unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = SqliteLedger::open(&path).err().unwrap();
    assert!(matches!(error, LedgerError::TooNew { found: 1000, known: 4.. }), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn a_ledger_is_opened_beside_another_that_works_on_it_and_is_never_made_or_changed() {
    let under = Under::new();
    let path = under.folder.path().join("ledger.db");
    let beside = SqliteLedger::open_beside(&path).unwrap();
    let (here, there) =
        tokio::join!(under.write("UPDATE settings SET checked_at = 7"), beside.check_writable());
    here.unwrap();
    there.unwrap();
    beside.close().await;
    under.write("UPDATE settings SET checked_at = 8").await.unwrap();
    under.ledger.close().await;

    let none = under.folder.path().join("none");
    assert!(SqliteLedger::open_beside(&none).err().unwrap().to_string().contains("start central"));
    assert!(!none.exists());
    under.raw().execute_batch("PRAGMA user_version = 5").unwrap();
    let error = SqliteLedger::open_beside(&path).err().unwrap();
    assert!(matches!(error, LedgerError::TooOld { found: 5, needed: 6.. }), "{error}");
    let version: i64 = under.raw().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    assert_eq!(version, 5);
}

#[test]
fn what_is_no_ledger_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
    assert!(matches!(SqliteLedger::open(&other), Err(LedgerError::Damaged(_))));
    let text = folder.path().join("text");
    std::fs::write(&text, "no database, but longer than the header of one ".repeat(100)).unwrap();
    assert!(matches!(SqliteLedger::open(&text), Err(LedgerError::Damaged(_))));
    assert!(matches!(SqliteLedger::open(&folder.path().join("no/folder")), Err(LedgerError::Unavailable(_))));
}

#[tokio::test]
async fn what_is_acknowledged_is_synced() {
    let under = Under::new();
    let settings = under
        .ledger
        .writer
        .call(|conn| {
            let ask = |sql| conn.query_row(sql, [], |row| row.get::<_, String>(0));
            let number = |sql| conn.query_row(sql, [], |row| row.get::<_, i64>(0));
            Ok((ask("PRAGMA journal_mode")?, number("PRAGMA synchronous")?, number("PRAGMA foreign_keys")?))
        })
        .await
        .unwrap();
    assert_eq!(settings, ("wal".to_owned(), 2, 1));
}

#[tokio::test]
async fn a_job_that_panics_or_fails_takes_back_only_itself() {
    let under = Under::new();
    let write = |sql: &'static str| under.write(sql);
    let (good, failed, panicked, good_too) = tokio::join!(
        write("UPDATE settings SET checked_at = checked_at + 1"),
        write("UPDATE settings SET checked_at = checked_at + 10; UPDATE nothing SET x = 1"),
        under.ledger.writer.call(|conn| -> Result<()> {
            conn.execute_batch("UPDATE settings SET checked_at = checked_at + 100")?;
            panic!("on purpose");
        }),
        write("UPDATE settings SET checked_at = checked_at + 1000"),
    );
    assert!(good.is_ok() && good_too.is_ok());
    assert!(matches!(failed, Err(LedgerError::Unavailable(_))));
    assert!(matches!(panicked, Err(LedgerError::Unavailable(_))));
    let sum: i64 = under.raw().query_row("SELECT checked_at FROM settings", [], |row| row.get(0)).unwrap();
    assert_eq!(sum, 1001);
    under.ledger.check_writable().await.unwrap();
}

#[tokio::test]
async fn a_failed_commit_fails_all_of_its_group_and_the_next_group_works() {
    let under = Under::new();
    let write = |sql: &'static str| under.write(sql);
    // A reference that is checked at the commit points nowhere.
    let (before, breaks, after) = tokio::join!(
        write("UPDATE settings SET checked_at = 1"),
        write("PRAGMA defer_foreign_keys = ON; INSERT INTO pieces (blob_no, sha256) VALUES (77, x'')"),
        write("UPDATE settings SET checked_at = 3"),
    );
    assert!(matches!(breaks, Err(LedgerError::Unavailable(_))), "{breaks:?}");
    // Jobs that met in the group failed with it; one that came alone did not.
    let at: i64 = under.raw().query_row("SELECT checked_at FROM settings", [], |row| row.get(0)).unwrap();
    let expected = if after.is_ok() { 3 } else { i64::from(before.is_ok()) };
    assert_eq!(at, expected);
    let pieces: i64 = under.raw().query_row("SELECT count(*) FROM pieces", [], |row| row.get(0)).unwrap();
    assert_eq!(pieces, 0);
    under.ledger.check_writable().await.unwrap();
}

#[tokio::test]
async fn a_full_disk_fails_the_call_and_not_the_ledger() {
    let under = Under::new();
    let full =
        "PRAGMA max_page_count = 1; CREATE TABLE filler (x); INSERT INTO filler VALUES (zeroblob(1 << 20))";
    assert!(matches!(under.write(full).await, Err(LedgerError::Unavailable(_))));
    // The connection that was told so is used on, or replaced: either way it can write.
    under.ledger.check_writable().await.unwrap();
    under.ledger.totals().await.unwrap();
}

#[tokio::test]
async fn a_lost_database_is_not_replaced_by_an_empty_one() {
    let under = Under::new();
    let breaks = "PRAGMA defer_foreign_keys = ON; INSERT INTO pieces (blob_no, sha256) VALUES (77, x'')";
    let path = under.folder.path().join("ledger.db");
    std::fs::remove_file(&path).unwrap();
    assert!(under.write(breaks).await.is_err());
    assert!(matches!(under.ledger.check_writable().await, Err(LedgerError::Unavailable(_))));
    assert!(!path.exists());
}

#[tokio::test]
async fn what_is_acknowledged_is_there_after_a_crash() {
    let t = fresh();
    let nodes = t.nodes(2).await;
    let ledger = t.ledger.clone();
    // The files as a killed process leaves them, after every single answer.
    let folder = t.keep.downcast_ref::<tempfile::TempDir>().unwrap().path();
    for number in 0..80 {
        let upload = t.upload("a.txt", content(number), &nodes);
        let decision = ledger.decide_upload(upload.clone()).await.unwrap();
        let crashed = tempfile::tempdir().unwrap();
        for file in ["ledger.db", "ledger.db-wal"] {
            std::fs::copy(folder.join(file), crashed.path().join(file)).unwrap();
        }
        let again = open(&crashed.path().join("ledger.db"), &t.time).unwrap();
        assert_eq!(again.decide_upload(upload).await.unwrap(), decision);
        let found =
            again.list_files(Viewer::Public, "A.T", FileOrder::Newest, None, 1000).await.unwrap().items.len()
                as u64;
        assert_eq!((found, again.totals().await.unwrap().files), (number + 1, number + 1));
    }
}

#[tokio::test]
async fn closing_leaves_one_file() {
    let under = Under::new();
    under.ledger.check_writable().await.unwrap();
    under.ledger.close().await;
    let left: Vec<_> =
        std::fs::read_dir(under.folder.path()).unwrap().map(|f| f.unwrap().file_name()).collect();
    assert_eq!(left, ["ledger.db"]);
}

#[test]
fn the_clock_never_goes_back() {
    let time = Time::new();
    let source = time.clone();
    let clock = Clock::new(Arc::new(move || source.now()));
    let before = clock.now();
    time.advance(Duration::from_secs(5));
    let after = clock.now();
    assert_eq!(after.since(before), Duration::from_secs(5));
    let back = std::sync::atomic::AtomicBool::new(false);
    let clock = Clock::new(Arc::new(move || {
        if back.swap(true, std::sync::atomic::Ordering::SeqCst) { before } else { after }
    }));
    assert_eq!((clock.now(), clock.now()), (after, after));
}

/// Runs every call, and asks SQLite how it goes about each statement that ran.
#[tokio::test]
async fn no_statement_reads_a_whole_table_or_sorts() {
    let t = fresh();
    let any = Viewer::Public;
    let nodes = t.nodes(3).await;
    let blob = content(1);
    let stored = t.store_whole("a.txt", blob, &nodes[..2]).await;
    t.spoil(blob, nodes[0]).await;
    let healed = t.decide(&t.upload("b", blob, &nodes[1..])).await.duplicate();
    assert_eq!(healed.keep.len(), 1);
    for number in 2..600 {
        t.store("a.txt", content(number), &nodes).await;
    }
    let ledger = &t.ledger;
    ledger.sizes_seen(any, &[1, 2]).await.unwrap();
    ledger.files_of(any, blob.sha1, 5).await.unwrap();
    ledger.file_named(any, blob.sha1, &stored.blob.file.name).await.unwrap();
    ledger.find_file(any, stored.blob.file.id).await.unwrap();
    for order in FileOrder::ALL {
        let page = ledger.list_files(any, "", order, None, 5).await.unwrap();
        ledger.list_files(any, "", order, page.next, 5).await.unwrap();
        ledger.list_files(any, "a.t", order, None, 5000).await.unwrap();
        ledger.list_files(any, "b", order, None, 5).await.unwrap();
    }
    ledger.pieces(any, blob.sha1).await.unwrap();
    let upload = UploadId::random();
    ledger.session_outcome(upload, nodes[0], blob.sha1, t.time.now()).await.unwrap();
    ledger.pending_replicas(NodeId::from_bytes([1; 16]), Duration::ZERO, 5).await.unwrap();
    ledger.set_node_out(nodes[2], true).await.unwrap();
    ledger.nodes().await.unwrap();
    ledger.nodes_out(&nodes).await.unwrap();
    ledger.unfinished_uploads(None, 5).await.unwrap();
    ledger.totals().await.unwrap();
    ledger.forget_outcomes(Duration::ZERO, 1).await.unwrap();
    ledger.find_upload(upload).await.unwrap();
    ledger.set_upload_nodes(upload, &nodes, t.time.now()).await.unwrap();
    ledger.announce_upload(upload, None, None).await.unwrap();
    ledger.end_upload(upload, ResumableEnd::Expired).await.unwrap();
    ledger.expired_uploads(5).await.unwrap();
    ledger.find_token(blob.sha256).await.unwrap();
    ledger.revoke_token(TokenId::random()).await.unwrap();
    ledger.list_tokens().await.unwrap();
    ledger.check_writable().await.unwrap();
    ledger.close().await;

    let folder = t.keep.downcast_ref::<tempfile::TempDir>().unwrap();
    let conn = schema::open_writer(&folder.path().join("ledger.db"), OpenFlags::empty()).unwrap();
    let ran: Vec<&'static str> = sql::RAN.lock().unwrap().iter().copied().collect();
    let mut explained = 0;
    for statement in ran {
        // SAVEPOINT and the like have no plan.
        if !["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|verb| statement.starts_with(verb)) {
            continue;
        }
        explained += 1;
        let mut plan = conn.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).unwrap();
        let mut rows = plan.raw_query();
        while let Some(row) = rows.next().unwrap() {
            let step: String = row.get("detail").unwrap();
            let scans = step.starts_with("SCAN")
                // A few hundred rows at most; and what FTS5 calls any use of its index.
                && !step.starts_with("SCAN nodes")
                && !step.starts_with("SCAN tokens")
                && !step.starts_with("SCAN name_grams VIRTUAL TABLE INDEX")
                && step != "SCAN CONSTANT ROW";
            assert!(!scans && !step.contains("TEMP B-TREE"), "{step}\n{statement}");
        }
    }
    assert!(explained >= 30, "only {explained} statements ran");
}

#[tokio::test]
async fn opening_reads_little_of_a_large_ledger() {
    let t = fresh();
    let nodes = t.nodes(2).await;
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..5000 {
        let upload = t.upload(&format!("file {number}"), content(number), &nodes);
        let ledger = t.ledger.clone();
        tasks.spawn(async move { ledger.decide_upload(upload).await.unwrap().stored() });
    }
    tasks.join_all().await;
    t.ledger.close().await;
    let mut took = Vec::new();
    // A busy disk may have stood still in one of them.
    for _ in 0..3 {
        let started = Instant::now();
        let again = (t.open)();
        assert_eq!(again.totals().await.unwrap().files, 5000);
        took.push(started.elapsed());
        again.close().await;
    }
    assert!(took.iter().any(|took| *took < Duration::from_secs(1)), "{took:?}");
}
