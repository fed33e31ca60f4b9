//! Figures, run by hand: `cargo test --release --lib ledger::sqlite::bench -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::time::{Duration, Instant};

use super::super::contract::{content, node};
use super::super::{DecideUpload, Receipt};
use super::*;
use crate::domain::{FileName, MediaType};

/// Names like people's: two or three common words, a number, an ending.
fn name(number: u64) -> FileName {
    const WORDS: [&str; 24] = [
        "report",
        "Photo",
        "holiday",
        "Invoice",
        "draft",
        "final",
        "scan",
        "meeting",
        "notes",
        "backup",
        "Music",
        "video",
        "project",
        "Budget",
        "letter",
        "contract",
        "map",
        "garden",
        "Recipe",
        "school",
        "travel",
        "Insurance",
        "bank",
        "family",
    ];
    const ENDINGS: [&str; 6] = ["pdf", "jpg", "txt", "mp4", "tar.gz", "docx"];
    let mixed = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
    let word = |shift: u32| WORDS[(mixed >> shift) as usize % WORDS.len()];
    let ending = ENDINGS[(mixed >> 21) as usize % ENDINGS.len()];
    FileName::parse(&format!("{} {}_{}-{number:07}.{ending}", word(0), word(7), word(14))).unwrap()
}

async fn insert(ledger: &Arc<SqliteLedger>, from: u64, count: u64, tasks: u64) -> Vec<Duration> {
    let nodes = [1, 2, 3, 4].map(|i| NodeId::from_bytes([i; 16]));
    let mut set = tokio::task::JoinSet::new();
    for task in 0..tasks {
        let ledger = Arc::clone(ledger);
        set.spawn(async move {
            let mut took = Vec::new();
            let mut number = from + task;
            while number < from + count {
                let mut digests = content(number);
                digests.size = number % 100_000;
                let now = ledger.now();
                let pair = [nodes[(number % 4) as usize], nodes[((number + 1) % 4) as usize]];
                let upload = DecideUpload {
                    upload: UploadId::random(),
                    viewer: Viewer::Public,
                    name: name(number),
                    media_type: MediaType::guess(&name(number)),
                    receipts: pair
                        .map(|node| Receipt {
                            node,
                            digests,
                            verified_at: now,
                            decide_before: now.saturating_add(Duration::from_secs(600)),
                        })
                        .to_vec(),
                    pieces: vec![digests.sha256],
                };
                let started = Instant::now();
                ledger.decide_upload(upload).await.unwrap().stored();
                took.push(started.elapsed());
                number += tasks;
            }
            took
        });
    }
    set.join_all().await.into_iter().flatten().collect()
}

fn report(what: &str, mut took: Vec<Duration>, wall: Duration) {
    took.sort_unstable();
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    let each = wall / u32::try_from(took.len()).unwrap();
    println!(
        "{what:48} {each:>10.1?} each, median {:.1?}, p99 {:.1?}, max {:.1?}",
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "figures, not a check"]
async fn figures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Arc::new(SqliteLedger::open(&path).unwrap());
    for i in 1..=4 {
        let id = NodeId::from_bytes([i; 16]);
        ledger.record_node(node(id)).await.unwrap();
    }
    let large = std::env::var("CLOSEBY_BENCH_BLOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(1_000_000);
    let mut have = 0;
    for blobs in [10_000, large] {
        let started = Instant::now();
        let took = insert(&ledger, have, blobs - have, 256).await;
        report(&format!("filling up to {blobs}, 256 at once"), took, started.elapsed());
        have = blobs;
        println!("  file: {} MB", std::fs::metadata(&path).unwrap().len() >> 20);
        for (tasks, count) in [(1, 2000), (32, 20_000)] {
            let started = Instant::now();
            let took = insert(&ledger, have, count, tasks).await;
            report(&format!("{blobs}: insert, {tasks} at once"), took, started.elapsed());
            have += count;
        }
        let mut took = Vec::new();
        let begun = Instant::now();
        for i in 0..20_000_u64 {
            let sha1 = content(i.wrapping_mul(7919) % blobs).sha1;
            let started = Instant::now();
            assert!(ledger.find_visible(Viewer::Public, sha1).await.unwrap().is_some());
            took.push(started.elapsed());
        }
        report(&format!("{blobs}: find_visible"), took, begun.elapsed());
        for query in [
            "",
            "e",
            "q",
            "€",
            "or",
            "zz",
            "pdf",
            "report",
            "Photo ",
            "budget_map",
            "0000001",
            "report notes",
            "insurance bank_final-",
            "garden map garden",
        ] {
            let mut took = Vec::new();
            let begun = Instant::now();
            let (mut found, mut examined_all) = (0, true);
            for _ in 0..10 {
                let started = Instant::now();
                let page = ledger.list_files(Viewer::Public, query, None, 50).await.unwrap();
                took.push(started.elapsed());
                (found, examined_all) = (page.items.len(), page.next.is_none());
            }
            report(&format!("{blobs}: {query:?} ({found}, all: {examined_all})"), took, begun.elapsed());
        }
    }
    ledger.close().await;
    let started = Instant::now();
    let ledger = SqliteLedger::open(&path).unwrap();
    println!("opening: {:.1?}", started.elapsed());
    ledger.close().await;
}
