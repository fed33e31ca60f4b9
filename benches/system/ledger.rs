//! A lookup and an insert in a ledger of a million blobs, beside one of ten thousand.

use std::path::Path;
use std::time::{Duration, Instant};

use closeby::domain::{
    BlobDigests, FileName, KeyId, Label, MediaType, NodeId, Place, Sha1, Sha256, Timestamp, UploadId, Viewer,
};
use closeby::ledger::{DecideUpload, Decision, Ledger, NodeRecord, Receipt, SqliteLedger};

use crate::fill::fill;
use crate::report::{Bound, Report, Row, Spread};

const SMALL: u64 = 10_000;
const ROUNDS: u64 = 20;
const LOOKUPS: u64 = 1000;
const INSERTS: u64 = 100;
/// Nodes that the ledgers know.
pub const NODES: u8 = 4;

/// A ledger whose blobs are numbered from 0.
struct Filled {
    ledger: SqliteLedger,
    blobs: u64,
    lookups: Vec<Duration>,
    inserts: Vec<Duration>,
}

pub fn measure(folder: &Path, blobs: u64, report: &mut Report) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("tokio starts");
    runtime.block_on(async {
        let mut small = Filled::new(&folder.join("small.sqlite"), SMALL).await;
        let mut large = Filled::new(&folder.join("large.sqlite"), blobs).await;
        for round in 0..ROUNDS {
            small.round(round).await;
            large.round(round).await;
        }
        small.ledger.close().await;
        large.ledger.close().await;
        let started = Instant::now();
        let opened = SqliteLedger::open(&folder.join("large.sqlite")).expect("the ledger opens");
        println!("ledger: opening one of {blobs} blobs took {:.1?}", started.elapsed());
        opened.close().await;
        add(report, "lookup", blobs, large.lookups, small.lookups);
        add(report, "insert", blobs, large.inserts, small.inserts);
    });
}

fn add(report: &mut Report, what: &str, blobs: u64, large: Vec<Duration>, small: Vec<Duration>) {
    let mean = |took: &[Duration]| took.iter().sum::<Duration>() / u32::try_from(took.len()).unwrap_or(1);
    let means = mean(&large).as_secs_f64() / mean(&small).as_secs_f64();
    let (large, small) = (Spread::of(large), Spread::of(small));
    println!("ledger: {what} p99 {:.1?} against {:.1?}, ratio of the means {means:.2}", large.p99, small.p99);
    report.add(Row {
        name: format!("{what}, {blobs} blobs against {SMALL}"),
        ours: format!("{:.1?}", large.p50),
        plain: format!("{:.1?}", small.p50),
        ratio: large.p50.as_secs_f64() / small.p50.as_secs_f64(),
        bound: Bound::AtMost(1.3),
        spread: Some(large),
    });
}

impl Filled {
    async fn new(path: &Path, blobs: u64) -> Self {
        Self { ledger: fill(path, blobs).await, blobs, lookups: Vec::new(), inserts: Vec::new() }
    }

    async fn round(&mut self, round: u64) {
        for i in 0..LOOKUPS {
            let number = (round * LOOKUPS + i).wrapping_mul(0x9e37_79b9_7f4a_7c15) % self.blobs;
            let sha1 = content(number).sha1;
            let started = Instant::now();
            let found = self.ledger.find_visible(Viewer::Public, sha1).await.expect("the ledger answers");
            self.lookups.push(started.elapsed());
            assert!(found.is_some(), "blob {number} is there");
        }
        for _ in 0..INSERTS {
            let upload = upload(self.ledger.now(), self.blobs);
            let started = Instant::now();
            let decision = self.ledger.decide_upload(upload).await.expect("the ledger decides");
            self.inserts.push(started.elapsed());
            self.blobs += 1;
            confirm(&self.ledger, decision).await;
        }
    }
}

async fn confirm(ledger: &SqliteLedger, decision: Decision) {
    let Decision::Stored(decided) = decision else { panic!("every blob is new, but: {decision:?}") };
    let sha1 = decided.blob.digests.sha1;
    for node in decided.keep {
        ledger.confirm_replica(sha1, node, decided.generation).await.expect("a replica is confirmed");
    }
}

/// A node as it may say of itself.
pub fn record(id: NodeId) -> NodeRecord {
    let place = Place::city("toronto").expect("Toronto is built in");
    NodeRecord {
        id,
        key_id: KeyId(1),
        failure_domain: place.name.clone(),
        place,
        public_url: "http://127.0.0.1:8081".to_owned(),
        version: Label::parse("bench").expect("a word is a label"),
        seen_at: Timestamp::system(),
        out: false,
    }
}

fn upload(now: Timestamp, number: u64) -> DecideUpload {
    let digests = content(number);
    let name = name(number);
    let receipts = [number, number + 1].map(|node| Receipt {
        node: NodeId::from_bytes([u8::try_from(node % u64::from(NODES)).unwrap_or(0) + 1; 16]),
        digests,
        verified_at: now,
        decide_before: now.saturating_add(Duration::from_mins(10)),
    });
    DecideUpload {
        upload: UploadId::random(),
        viewer: Viewer::Public,
        media_type: MediaType::guess(&name),
        name,
        receipts: receipts.to_vec(),
        pieces: vec![digests.sha256],
        answering: vec![],
    }
}

/// The content of this number: digests that are spread like real ones.
pub fn content(number: u64) -> BlobDigests {
    let (mut sha1, mut sha256) = ([0; 20], [0; 32]);
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    sha1[..8].copy_from_slice(&spread);
    sha1[12..].copy_from_slice(&number.to_be_bytes());
    sha256[..8].copy_from_slice(&spread);
    sha256[24..].copy_from_slice(&number.to_be_bytes());
    BlobDigests { sha1: Sha1::new(sha1), sha256: Sha256::new(sha256), size: number % 100_000 }
}

/// Names like people's: a few common words, a number, an ending.
pub fn name(number: u64) -> FileName {
    const WORDS: [&str; 16] = [
        "report", "Photo", "holiday", "Invoice", "draft", "final", "scan", "meeting", "notes", "backup",
        "Music", "video", "project", "Budget", "letter", "contract",
    ];
    const ENDINGS: [&str; 6] = ["pdf", "jpg", "txt", "mp4", "tar.gz", "docx"];
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let pick = |from: &[&'static str], shift: u32| from[(mixed >> shift) as usize % from.len()];
    let name = format!(
        "{} {}_{}-{number:07}.{}",
        pick(&WORDS, 0),
        pick(&WORDS, 7),
        pick(&WORDS, 14),
        pick(&ENDINGS, 21)
    );
    FileName::parse(&name).expect("it is a name")
}
