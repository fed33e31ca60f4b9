//! Fills a ledger with many blobs in a minute: straight into its tables, which recording one
//! upload after the other would take many minutes for.

use std::path::Path;
use std::time::Instant;

use closeby::domain::{FileOrder, NodeId, Timestamp, Viewer};
use closeby::ledger::{Ledger, SqliteLedger, Totals};
use rusqlite::Connection;

use crate::ledger::{NODES, content, name, record};

/// Names that the ledger takes into its index behind one commit, and a few more commits.
const NAMES_A_COMMIT: u64 = 1000;

/// Makes a ledger with the blobs 0 to `blobs`, each with a file and two stored replicas.
pub async fn fill(path: &Path, blobs: u64) -> SqliteLedger {
    let started = Instant::now();
    let ledger = SqliteLedger::open(path).expect("a ledger can be made");
    for node in 1..=NODES {
        ledger.record_node(record(NodeId::from_bytes([node; 16]))).await.expect("a node is recorded");
    }
    ledger.close().await;
    insert(path, blobs).expect("the ledger takes rows");
    let ledger = SqliteLedger::open(path).expect("the ledger opens");
    // The index of names is the ledger's own work: it goes on behind every commit.
    for _ in 0..=blobs.div_ceil(NAMES_A_COMMIT) {
        ledger.check_writable().await.expect("the ledger takes writes");
    }
    check(&ledger, blobs).await;
    println!("ledger: filled with {blobs} blobs in {:.1?}", started.elapsed());
    ledger
}

fn insert(path: &Path, blobs: u64) -> rusqlite::Result<()> {
    let mut conn = Connection::open(path)?;
    conn.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144; PRAGMA temp_store = MEMORY;")?;
    let now = Timestamp::system().as_millis();
    let tx = conn.transaction()?;
    {
        let mut blob = tx.prepare(
            "INSERT INTO blobs (blob_no, sha1, sha256, size, epoch, number, public_files, created_at, changed_at)
             VALUES (?1, ?2, ?3, ?4, 1, ?1, 1, ?5, ?5)",
        )?;
        let mut replica = tx.prepare(
            "INSERT INTO replicas (blob_no, node_no, state, upload, epoch, number, verified_at, decided_at)
             SELECT ?1, node_no, 1, ?3, 1, ?1, ?4, ?4 FROM nodes WHERE id = ?2",
        )?;
        let mut file = tx.prepare(
            "INSERT INTO files (seq, id, blob_no, name, folded, media_type, created_at)
             VALUES (?1, ?2, ?1, ?3, lower(?3), 'application/octet-stream', ?4)",
        )?;
        let mut pieces = tx.prepare("INSERT INTO pieces (blob_no, sha256) VALUES (?1, ?2)")?;
        for number in 0..blobs {
            let digests = content(number);
            let row = number as i64 + 1;
            blob.execute((
                row,
                digests.sha1.as_bytes(),
                digests.sha256.as_bytes(),
                digests.size as i64,
                now,
            ))?;
            for node in [number, number + 1] {
                let node = [(node % u64::from(NODES)) as u8 + 1; 16];
                replica.execute((row, node, rand::random::<[u8; 16]>(), now))?;
            }
            // Ids begin with the time, as the ledger's own do.
            let id = (u128::from(number) << 64 | u128::from(rand::random::<u64>())).to_be_bytes();
            file.execute((row, id, name(number).as_str(), now))?;
            pieces.execute((row, digests.sha256.as_bytes()))?;
        }
    }
    tx.execute_batch(
        "UPDATE settings SET next_number = 1 + (SELECT count(*) FROM blobs);
         UPDATE counters SET files = (SELECT count(*) FROM files), blobs = (SELECT count(*) FROM blobs),
             bytes = (SELECT sum(size) FROM blobs), stored_replicas = (SELECT count(*) FROM replicas);
         UPDATE nodes SET (replicas, bytes) =
             (SELECT count(*), sum(size) FROM replicas JOIN blobs USING (blob_no)
              WHERE replicas.node_no = nodes.node_no);",
    )?;
    tx.commit()
}

/// What was written is a ledger as its own code sees it.
async fn check(ledger: &SqliteLedger, blobs: u64) {
    let totals = ledger.totals().await.expect("the ledger counts");
    let expected = Totals {
        files: blobs,
        blobs,
        bytes: (0..blobs).map(|number| content(number).size).sum(),
        stored_replicas: blobs * 2,
        ..Totals::default()
    };
    assert_eq!(totals, expected, "the rows were written as this schema has them");
    let last = blobs - 1;
    let found = ledger.find_visible(Viewer::Public, content(last).sha1).await.expect("the ledger answers");
    assert_eq!(found.map(|blob| blob.replicas.len()), Some(2), "the last blob is there");
    let page = ledger
        .list_files(Viewer::Public, &format!("-{last:07}"), FileOrder::Newest, None, 1)
        .await
        .expect("it lists");
    assert_eq!(page.items.len(), 1, "the last name is found");
}
