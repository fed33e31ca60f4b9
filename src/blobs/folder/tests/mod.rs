//! What the contract's suite cannot see: the folder itself, cuts, faults, restarts.
#![allow(clippy::unwrap_used)]

mod cuts;
mod faults;
mod opening;
mod resumable;
mod rot;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::faults::{Faults, Op, Plan};
use super::space::Filesystem;
use super::*;
use crate::blobs::contract::{
    self, LATER, content, contract_tests, digests, file, generation, has, options, prepare, put, read_all,
    refused, send,
};

const NODE: NodeId = NodeId::from_bytes([1; 16]);
const CLUSTER: ClusterId = ClusterId::from_bytes([2; 16]);

/// A folder, and what a store in it is opened with.
struct Bench {
    root: TempDir,
    faults: Faults,
    /// The filesystem's size; what lies in the folder is taken off it.
    disk_bytes: u64,
}

impl Bench {
    fn new() -> Self {
        Self { root: tempfile::tempdir().unwrap(), faults: Faults::default(), disk_bytes: 4 << 30 }
    }

    fn dir(&self) -> PathBuf {
        self.root.path().join("store")
    }

    fn options(&self) -> FolderStoreOptions {
        FolderStoreOptions {
            dir: self.dir(),
            node: NODE,
            cluster: CLUSTER,
            known_to_cluster: false,
            reserve_bytes: 1000,
        }
    }

    async fn open(&self) -> FolderStore {
        let (dir, total_bytes) = (self.dir(), self.disk_bytes);
        let probe: Probe = Box::new(move || {
            let used: u64 = walk(&dir).values().map(|file| file.len() as u64).sum();
            Ok(Filesystem { total_bytes, free_bytes: total_bytes.saturating_sub(used) })
        });
        FolderStore::open_with(self.options(), probe, self.faults.clone()).await.unwrap()
    }

    /// The files in a part of the folder, by their path in it.
    fn files(&self, part: &str) -> Vec<String> {
        let files = walk(&self.dir().join(part)).into_keys();
        files.map(|path| path.to_str().unwrap().to_owned()).collect()
    }

    fn blob(&self, sha1: &Sha1) -> PathBuf {
        let hex = sha1.to_hex();
        self.dir().join("blobs").join(&hex[..2]).join(&hex[2..4]).join(hex)
    }

    fn about(&self, sha1: &Sha1) -> PathBuf {
        self.blob(sha1).with_extension("about")
    }

    /// No session has left a thing, not even a folder.
    fn has_no_temporaries(&self) {
        assert_eq!(std::fs::read_dir(self.dir().join("sessions")).unwrap().count(), 0);
    }
}

/// Every file below a folder, with its bytes.
fn walk(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(next) = dirs.pop() {
        // A folder that goes while others work is as good as empty.
        for entry in std::fs::read_dir(next).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if let Ok(bytes) = std::fs::read(&path) {
                found.insert(path.strip_prefix(dir).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}

/// The records of files in a description, as text.
fn described_files(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().filter(|line| line.starts_with("{\"file\"")).map(str::to_owned).collect()
}

async fn make() -> (Arc<dyn BlobStore>, TempDir) {
    let root = tempfile::tempdir().unwrap();
    let options = FolderStoreOptions { dir: root.path().join("store"), ..Bench::new().options() };
    (Arc::new(FolderStore::open(options).await.unwrap()), root)
}

contract_tests!(make);

#[tokio::test]
async fn a_blob_lies_where_the_design_says() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = Bytes::from_static(b"abc");
    let sha1 = put(&store, &bytes, 3).await;
    let name = "blobs/a9/99/a9993e364706816aba3e25717850c26c9cd0d89d";
    assert_eq!(bench.files(""), [name, &format!("{name}.about"), "lock", "marker.json"]);
    assert_eq!(std::fs::read(bench.blob(&sha1)).unwrap(), bytes);
    bench.has_no_temporaries();

    let text = std::fs::read_to_string(bench.about(&sha1)).unwrap();
    let mut kinds = Vec::new();
    for line in text.lines() {
        let (json, checksum) = line.split_once('\t').unwrap();
        assert_eq!(checksum, &digests(json.as_bytes()).sha256.to_string()[..16]);
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        kinds.extend(value.as_object().unwrap().keys().cloned());
    }
    assert_eq!(kinds, ["blob", "pieces", "file"]);
    assert!(text.contains(r#""generation":{"epoch":1,"number":3}"#), "{text}");
    assert!(text.contains("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"), "{text}");
}

#[tokio::test]
async fn a_loser_leaves_the_winners_description() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(9000, 1);
    let sha1 = put(&store, &bytes, 5).await;
    let before = walk(&bench.dir());
    for number in [4, 5] {
        put(&store, &bytes, number).await;
        assert!(walk(&bench.dir()) == before);
    }
    put(&store, &bytes, 6).await;
    assert!(walk(&bench.dir()) != before);
    assert_eq!(described_files(&bench.about(&sha1)).len(), 2, "records that were decided stay");
}

#[tokio::test]
async fn of_a_files_records_the_newest_stays() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(9000, 1);
    let old = file("old");
    let new = DescribedFile { revision: 2, name: file("new").name, ..old.clone() };
    for (number, record) in [(1, &old), (2, &new), (3, &old)] {
        let (upload, prepared) = prepare(&store, &bytes).await;
        let sha1 = prepared.digests.sha1;
        store.finish(upload, sha1, generation(number), vec![record.clone()]).await.unwrap();
    }
    let records = described_files(&bench.about(&digests(&bytes).sha1));
    assert_eq!(records.len(), 1);
    assert!(records[0].contains("new"), "{records:?}");
}

#[tokio::test]
async fn whatever_ends_a_session_leaves_nothing() {
    let bench = Bench::new();
    let store = bench.open().await;
    let (before, free) = (bench.files(""), store.capacity().await.unwrap().free_bytes);
    let bytes = content(100_000, 2);
    let wrong = Expected { sha1: Some(Sha1::new([9; 20])), ..Expected::default() };

    let upload = UploadId::random();
    send(&store, upload, &bytes).await.unwrap();
    refused!(store.prepare(upload, wrong, LATER).await, BlobError::WrongDigest(_));
    bench.has_no_temporaries();

    send(&store, upload, &bytes).await.unwrap();
    refused!(store.append(upload, 100_000, bytes.clone()).await, BlobError::TooLong);
    bench.has_no_temporaries();

    send(&store, upload, &bytes).await.unwrap();
    store.abort(upload).await.unwrap();
    bench.has_no_temporaries();

    let (upload, _) = prepare(&store, &bytes).await;
    store.abort(upload).await.unwrap();
    bench.has_no_temporaries();
    assert_eq!(bench.files(""), before);
    assert_eq!(store.capacity().await.unwrap().free_bytes, free);
}

#[tokio::test]
async fn an_abort_that_is_dropped_while_it_waits_still_happens() {
    let bench = Bench::new();
    let store = bench.open().await;
    let upload = UploadId::random();
    store.create_session(upload, options(None)).await.unwrap();
    let session = store.session(upload).unwrap();
    let held = hold(&session).await;
    {
        let mut aborting = std::pin::pin!(store.abort(upload));
        assert!(futures_util::poll!(aborting.as_mut()).is_pending());
    }
    drop(held);
    refused!(store.append(upload, 0, content(10, 1)).await, BlobError::NoSession);
    bench.has_no_temporaries();
    assert_eq!(store.capacity().await.unwrap().sessions, 0);
}

#[tokio::test]
async fn an_append_that_is_dropped_leaves_an_offset_to_go_on_from() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(3_000_000, 1);
    let upload = UploadId::random();
    store.create_session(upload, options(None)).await.unwrap();
    {
        let mut appending = std::pin::pin!(store.append(upload, 0, bytes.slice(..2_000_000)));
        let _ = futures_util::poll!(appending.as_mut());
    }
    // Waits for the job, which went on alone.
    refused!(store.append(upload, 1, Bytes::new()).await, BlobError::WrongOffset { at: 2_000_000 });
    store.append(upload, 2_000_000, bytes.slice(2_000_000..)).await.unwrap();
    let prepared = store.prepare(upload, all_of(&bytes), LATER).await.unwrap();
    assert_eq!(prepared.digests, digests(&bytes));
}

fn all_of(bytes: &Bytes) -> Expected {
    let found = contract::digests(bytes);
    Expected { sha1: Some(found.sha1), sha256: Some(found.sha256), size: Some(found.size) }
}
