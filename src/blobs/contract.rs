//! What every store must do, whatever stands behind it. An engine's tests call
//! [`contract_tests!`] with a function that makes an empty store of 1 GiB or more.
#![allow(clippy::unwrap_used)]

mod resumable;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sha2::Digest as _;

use super::*;
use crate::domain::{FileId, FileName, MediaType, PIECE_BYTES};

pub(super) use resumable::*;

pub(super) const LATER: Timestamp = Timestamp::from_millis(1_900_000_000_000);

/// Bytes that no compression or mistaken offset could make up: another for each seed.
pub(super) fn content(length: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = (0..length.div_ceil(8)).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.take(length).collect()
}

pub(super) fn digests(content: &[u8]) -> BlobDigests {
    let mut hasher = closeby_hash::BlobHasher::new();
    hasher.update(content, &mut Vec::new());
    let found = hasher.finish(&mut Vec::new()).unwrap();
    let sha256 = Sha256::new(sha2::Sha256::digest(content).into());
    BlobDigests { sha1: Sha1::new(found.sha1), sha256, size: content.len() as u64 }
}

pub(super) fn options(declared: Option<u64>) -> SessionOptions {
    SessionOptions {
        declared_bytes: declared,
        limit_bytes: 1 << 30,
        idle: Duration::from_secs(60),
        resumable: false,
    }
}

pub(super) fn generation(number: u64) -> Generation {
    Generation { epoch: 1, number }
}

pub(super) fn file(name: &str) -> DescribedFile {
    DescribedFile {
        id: FileId::random(),
        revision: 1,
        name: FileName::parse(name).unwrap(),
        media_type: MediaType::parse("text/plain"),
        at: Timestamp::from_millis(1_700_000_000_000),
        removed: false,
    }
}

/// Sends content in chunks whose length divides nothing.
pub(super) async fn send(store: &dyn BlobStore, upload: UploadId, content: &Bytes) -> Result<()> {
    store.create_session(upload, options(Some(content.len() as u64))).await?;
    let mut at = 0;
    while at < content.len() {
        let end = (at + 300_007).min(content.len());
        let reached = store.append(upload, at as u64, content.slice(at..end)).await?;
        assert_eq!(reached, end as u64);
        at = end;
    }
    Ok(())
}

pub(super) async fn prepare(store: &dyn BlobStore, content: &Bytes) -> (UploadId, Prepared) {
    let upload = UploadId::random();
    send(store, upload, content).await.unwrap();
    let prepared = store.prepare(upload, Expected::default(), LATER).await.unwrap();
    (upload, prepared)
}

/// A whole upload.
pub(super) async fn put(store: &dyn BlobStore, content: &Bytes, number: u64) -> Sha1 {
    let (upload, prepared) = prepare(store, content).await;
    let sha1 = prepared.digests.sha1;
    store.finish(upload, sha1, generation(number), vec![file("a.txt")]).await.unwrap();
    sha1
}

pub(super) async fn read_all(reader: &dyn BlobReader) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let start = all.len() as u64;
        let some = reader.read(start..reader.size()).await.unwrap();
        if some.is_empty() {
            return all;
        }
        all.extend_from_slice(&some);
    }
}

pub(super) async fn has(store: &dyn BlobStore, content: &Bytes, number: u64) {
    let digests = digests(content);
    let (stored, reader) = store.open_blob(digests.sha1).await.unwrap();
    assert_eq!(stored, StoredBlob { digests, generation: generation(number) });
    assert!(read_all(&*reader).await == *content, "other bytes");
}

async fn has_no_sessions(store: &dyn BlobStore) {
    assert_eq!(store.capacity().await.unwrap().sessions, 0);
    assert_eq!(store.prepared_sessions().await.unwrap(), []);
}

macro_rules! refused {
    ($call:expr, $error:pat $(if $guard:expr)?) => {{
        let result = $call.map(|_| ());
        assert!(matches!(&result, Err($error) $(if $guard)?), "{result:?}");
    }};
}
pub(super) use refused;

pub(super) async fn keeps_content_of_every_size(store: Arc<dyn BlobStore>) {
    let piece = usize::try_from(PIECE_BYTES).unwrap();
    for (number, size) in [0, 1, 64, piece - 1, piece, piece + 1, 2 * piece + 77].into_iter().enumerate() {
        let content = content(size, 1 + number as u64);
        let (upload, prepared) = prepare(&*store, &content).await;
        assert_eq!(prepared.digests, digests(&content));
        assert_eq!(prepared.decide_before, LATER);
        let pieces: Vec<_> =
            content.chunks(piece).map(|piece| Sha256::new(sha2::Sha256::digest(piece).into())).collect();
        assert!(size == 0 || prepared.pieces == pieces);
        assert_eq!(
            store.prepare(upload, Expected::default(), Timestamp::from_millis(5)).await.unwrap(),
            prepared
        );
        assert!(read_all(&*store.open_session(upload).await.unwrap()).await == content);
        refused!(store.open_blob(prepared.digests.sha1).await, BlobError::NoBlob);
        store.finish(upload, prepared.digests.sha1, generation(7), vec![file("x")]).await.unwrap();
        has(&*store, &content, 7).await;
        refused!(store.open_session(upload).await, BlobError::NoSession);
        has_no_sessions(&*store).await;
    }
}

pub(super) async fn reads_ranges(store: Arc<dyn BlobStore>) {
    let content = content(3_000_000, 2);
    let sha1 = put(&*store, &content, 1).await;
    let (_, reader) = store.open_blob(sha1).await.unwrap();
    assert_eq!(reader.size(), 3_000_000);
    for (start, end) in [(0, 1), (0, 0), (5, 4_000), (1_048_575, 1_048_577), (2_999_999, 3_000_000), (9, 9)] {
        assert!(reader.read(start as u64..end as u64).await.unwrap() == content[start..end]);
    }
    let most = usize::try_from(MAX_READ_BYTES).unwrap();
    assert!(reader.read(7..u64::MAX).await.unwrap() == content[7..7 + most]);
    assert!(reader.read(2_999_000..u64::MAX).await.unwrap() == content[2_999_000..]);
    assert!(reader.read(3_000_000..3_000_001).await.unwrap().is_empty());
    assert!(reader.read(u64::MAX - 1..u64::MAX).await.unwrap().is_empty());
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = 10..5;
    assert!(reader.read(backwards).await.unwrap().is_empty());
}

pub(super) async fn a_wrong_digest_ends_the_session(store: Arc<dyn BlobStore>) {
    let content = content(1000, 3);
    let found = digests(&content);
    let wrong = [
        Expected { sha1: Some(Sha1::new([1; 20])), sha256: Some(found.sha256), size: Some(found.size) },
        Expected { sha1: Some(found.sha1), sha256: Some(Sha256::new([1; 32])), size: Some(found.size) },
        Expected { sha1: Some(found.sha1), sha256: Some(found.sha256), size: Some(999) },
    ];
    for expected in wrong {
        let upload = UploadId::random();
        send(&*store, upload, &content).await.unwrap();
        refused!(store.prepare(upload, expected, LATER).await, BlobError::WrongDigest(digests) if *digests == found);
        refused!(store.prepare(upload, Expected::default(), LATER).await, BlobError::NoSession);
        has_no_sessions(&*store).await;
    }
    let upload = UploadId::random();
    send(&*store, upload, &content).await.unwrap();
    let right = Expected { sha1: Some(found.sha1), sha256: Some(found.sha256), size: Some(found.size) };
    store.prepare(upload, right, LATER).await.unwrap();
}

pub(super) async fn other_expectations_do_not_end_a_prepared_session(store: Arc<dyn BlobStore>) {
    let (upload, prepared) = prepare(&*store, &content(1000, 3)).await;
    let other = Expected { size: Some(1), ..Expected::default() };
    refused!(store.prepare(upload, other, LATER).await, BlobError::WrongDigest(_));
    assert_eq!(store.prepare(upload, Expected::default(), LATER).await.unwrap(), prepared);
}

pub(super) async fn collisions_are_refused(store: Arc<dyn BlobStore>) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/hash/tests/data");
    let mut tried = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "bin") {
            let upload = UploadId::random();
            send(&*store, upload, &std::fs::read(path).unwrap().into()).await.unwrap();
            refused!(store.prepare(upload, Expected::default(), LATER).await, BlobError::Collision);
            has_no_sessions(&*store).await;
            tried += 1;
        }
    }
    assert!(tried >= 2);
}

pub(super) async fn sizes_are_held_to_what_was_declared(store: Arc<dyn BlobStore>) {
    let content = content(1000, 4);
    let limited = |declared, limit| SessionOptions { limit_bytes: limit, ..options(declared) };
    refused!(store.create_session(UploadId::random(), limited(Some(11), 10)).await, BlobError::TooLong);
    for options in [limited(Some(999), 1 << 30), limited(None, 999)] {
        let upload = UploadId::random();
        store.create_session(upload, options).await.unwrap();
        assert_eq!(store.append(upload, 0, content.slice(..999)).await.unwrap(), 999);
        refused!(store.append(upload, 999, content.slice(999..)).await, BlobError::TooLong);
        refused!(store.append(upload, 999, Bytes::new()).await, BlobError::NoSession);
    }
    let upload = UploadId::random();
    store.create_session(upload, options(Some(1001))).await.unwrap();
    store.append(upload, 0, content.clone()).await.unwrap();
    refused!(store.prepare(upload, Expected::default(), LATER).await, BlobError::TooShort { at: 1000 });
    let upload = UploadId::random();
    store.create_session(upload, options(None)).await.unwrap();
    store.append(upload, 0, content.clone()).await.unwrap();
    let expected = Expected { size: Some(1001), ..Expected::default() };
    refused!(store.prepare(upload, expected, LATER).await, BlobError::TooShort { at: 1000 });
    has_no_sessions(&*store).await;
}

pub(super) async fn bytes_go_on_where_they_ended(store: Arc<dyn BlobStore>) {
    let content = content(1000, 5);
    let upload = UploadId::random();
    store.create_session(upload, options(None)).await.unwrap();
    refused!(store.create_session(upload, options(None)).await, BlobError::SessionExists);
    assert_eq!(store.append(upload, 0, content.slice(..400)).await.unwrap(), 400);
    for wrong in [0, 399, 401, u64::MAX] {
        refused!(store.append(upload, wrong, content.slice(..5)).await, BlobError::WrongOffset { at: 400 });
    }
    assert_eq!(store.append(upload, 400, Bytes::new()).await.unwrap(), 400);
    refused!(store.open_session(upload).await, BlobError::WrongState);
    assert_eq!(store.append(upload, 400, content.slice(400..)).await.unwrap(), 1000);
    let prepared = store.prepare(upload, Expected::default(), LATER).await.unwrap();
    assert_eq!(prepared.digests, digests(&content));
    refused!(store.append(upload, 1000, content.slice(..5)).await, BlobError::WrongState);
    refused!(store.create_session(upload, options(None)).await, BlobError::SessionExists);
    assert!(read_all(&*store.open_session(upload).await.unwrap()).await == content);
}

pub(super) async fn what_is_not_there_is_said_so(store: Arc<dyn BlobStore>) {
    let (upload, sha1) = (UploadId::random(), Sha1::new([7; 20]));
    refused!(store.append(upload, 0, Bytes::new()).await, BlobError::NoSession);
    refused!(store.prepare(upload, Expected::default(), LATER).await, BlobError::NoSession);
    refused!(store.finish(upload, sha1, generation(1), vec![]).await, BlobError::NoSession);
    refused!(store.open_session(upload).await, BlobError::NoSession);
    refused!(store.open_blob(sha1).await, BlobError::NoBlob);
    store.abort(upload).await.unwrap();
    assert_eq!(store.inventory(None, 5).await.unwrap(), InventoryPage { blobs: vec![], next: None });
    assert_eq!(store.expire_sessions().await.unwrap(), 0);
    has_no_sessions(&*store).await;
}

pub(super) async fn abort_ends_a_session_in_any_state(store: Arc<dyn BlobStore>) {
    let content = content(1000, 6);
    let free = store.capacity().await.unwrap().sessions;
    let upload = UploadId::random();
    for _ in 0..2 {
        send(&*store, upload, &content).await.unwrap();
        store.abort(upload).await.unwrap();
        refused!(store.append(upload, 1000, Bytes::new()).await, BlobError::NoSession);
        send(&*store, upload, &content).await.unwrap();
        let sha1 = store.prepare(upload, Expected::default(), LATER).await.unwrap().digests.sha1;
        store.abort(upload).await.unwrap();
        store.abort(upload).await.unwrap();
        refused!(store.finish(upload, sha1, generation(1), vec![]).await, BlobError::NoSession);
    }
    let sha1 = put(&*store, &content, 1).await;
    let (again, _) = prepare(&*store, &content).await;
    store.abort(again).await.unwrap();
    has(&*store, &content, 1).await;
    assert_eq!(store.inventory(None, 5).await.unwrap().blobs[0].digests.sha1, sha1);
    assert_eq!(store.capacity().await.unwrap().sessions, free);
}

pub(super) async fn an_abort_cuts_a_running_append_short(store: Arc<dyn BlobStore>) {
    let big = content(48 << 20, 6);
    let upload = UploadId::random();
    store.create_session(upload, options(None)).await.unwrap();
    let appending = tokio::spawn({
        let (store, big) = (Arc::clone(&store), big.clone());
        async move { store.append(upload, 0, big).await }
    });
    tokio::task::yield_now().await;
    store.abort(upload).await.unwrap();
    has_no_sessions(&*store).await;
    // Which of them came first is not ours to say; that nothing is left is.
    assert!(matches!(appending.await.unwrap(), Ok(_) | Err(BlobError::NoSession)));
    has_no_sessions(&*store).await;
}

pub(super) async fn finishing_again_is_success(store: Arc<dyn BlobStore>) {
    let content = content(5000, 7);
    let (upload, prepared) = prepare(&*store, &content).await;
    let sha1 = prepared.digests.sha1;
    for number in [4, 4, 3, 1] {
        store.finish(upload, sha1, generation(number), vec![file("a")]).await.unwrap();
        has(&*store, &content, 4).await;
    }
    refused!(store.finish(upload, sha1, generation(5), vec![]).await, BlobError::NoSession);
    let older_epoch = Generation { epoch: 0, number: 99 };
    store.finish(upload, sha1, older_epoch, vec![]).await.unwrap();
    let newer_epoch = Generation { epoch: 2, number: 0 };
    refused!(store.finish(upload, sha1, newer_epoch, vec![]).await, BlobError::NoSession);
    has(&*store, &content, 4).await;
}

pub(super) async fn only_a_prepared_session_of_that_blob_is_finished(store: Arc<dyn BlobStore>) {
    let content = content(5000, 8);
    let upload = UploadId::random();
    send(&*store, upload, &content).await.unwrap();
    let sha1 = digests(&content).sha1;
    refused!(store.finish(upload, sha1, generation(1), vec![]).await, BlobError::WrongState);
    store.prepare(upload, Expected::default(), LATER).await.unwrap();
    let other = Sha1::new([3; 20]);
    refused!(store.finish(upload, other, generation(1), vec![]).await, BlobError::WrongState);
    refused!(store.open_blob(other).await, BlobError::NoBlob);
    store.finish(upload, sha1, generation(1), vec![]).await.unwrap();
    has(&*store, &content, 1).await;
}

pub(super) async fn the_newest_generation_stays(store: Arc<dyn BlobStore>) {
    let content = content(5000, 9);
    for (number, expected) in [(5, 5), (3, 5), (5, 5), (8, 8), (7, 8)] {
        let (upload, prepared) = prepare(&*store, &content).await;
        store.finish(upload, prepared.digests.sha1, generation(number), vec![file("a")]).await.unwrap();
        has(&*store, &content, expected).await;
        has_no_sessions(&*store).await;
    }
    assert_eq!(store.inventory(None, 5).await.unwrap().blobs.len(), 1);
}

pub(super) async fn sixteen_finish_the_same_content_at_once(store: Arc<dyn BlobStore>) {
    let content = content(200_000, 10);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=16 {
        let (store, content) = (Arc::clone(&store), content.clone());
        tasks.spawn(async move { put(&*store, &content, number).await });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    has(&*store, &content, 16).await;
    has_no_sessions(&*store).await;
}

pub(super) async fn the_inventory_pages_in_order(store: Arc<dyn BlobStore>) {
    let mut expected = Vec::new();
    for number in 0..300 {
        expected.push(put(&*store, &content(10, 1000 + number), 1 + number).await);
    }
    expected.sort_unstable();
    for limit in [0, 1, 7, 100, 299, 300, 301, usize::MAX] {
        let (mut listed, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = store.inventory(after, limit).await.unwrap();
            assert!(page.blobs.len() <= limit.max(1));
            listed.extend(page.blobs.iter().map(|blob| blob.digests.sha1));
            pages += 1;
            after = page.next;
            if after.is_none() {
                break;
            }
            assert_eq!(after.as_ref(), listed.last());
        }
        assert_eq!(listed, expected);
        assert_eq!(pages, 300_usize.div_ceil(limit.clamp(1, 300)));
    }
    let page = store.inventory(Some(Sha1::new([0xff; 20])), 5).await.unwrap();
    assert_eq!(page, InventoryPage { blobs: vec![], next: None });
}

pub(super) async fn idle_sessions_expire_unless_prepared(store: Arc<dyn BlobStore>) {
    let content = content(1000, 11);
    let (idle, busy) = (UploadId::random(), UploadId::random());
    send(&*store, idle, &content).await.unwrap();
    send(&*store, busy, &content).await.unwrap();
    let (prepared, _) = prepare(&*store, &content).await;
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(store.expire_sessions().await.unwrap(), 0);
    store.append(busy, 1000, Bytes::new()).await.unwrap();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(store.expire_sessions().await.unwrap(), 1);
    refused!(store.append(idle, 1000, Bytes::new()).await, BlobError::NoSession);
    store.append(busy, 1000, Bytes::new()).await.unwrap();
    tokio::time::advance(Duration::from_secs(1_000_000)).await;
    assert_eq!(store.expire_sessions().await.unwrap(), 1);
    let listed = store.prepared_sessions().await.unwrap();
    assert_eq!((listed.len(), listed[0].upload), (1, prepared));
    assert_eq!(listed[0].quiet_for, Duration::from_secs(1_000_060));
    assert_eq!((listed[0].digests, listed[0].decide_before), (digests(&content), LATER));
    drop(store.open_session(prepared).await.unwrap());
    assert_eq!(store.prepared_sessions().await.unwrap()[0].quiet_for, Duration::ZERO);
}

pub(super) async fn space_is_promised_to_one_session_only(store: Arc<dyn BlobStore>) {
    let before = store.capacity().await.unwrap();
    assert!(before.free_bytes <= before.total_bytes);
    let most = before.free_bytes;
    let options =
        |declared| SessionOptions { declared_bytes: Some(declared), limit_bytes: u64::MAX, ..options(None) };
    refused!(store.create_session(UploadId::random(), options(u64::MAX)).await, BlobError::NoSpace);
    has_no_sessions(&*store).await;
    let upload = UploadId::random();
    store.create_session(upload, options(most / 3 * 2)).await.unwrap();
    refused!(store.create_session(UploadId::random(), options(most / 3 * 2)).await, BlobError::NoSpace);
    store.abort(upload).await.unwrap();
    store.create_session(UploadId::random(), options(most / 3 * 2)).await.unwrap();
    assert_eq!(store.capacity().await.unwrap().sessions, 1);
}

/// Makes a test of every promise, each on a new store.
macro_rules! contract_tests {
    ($make:path) => {
        $crate::blobs::contract::contract_tests! { $make:
            keeps_content_of_every_size
            reads_ranges
            a_wrong_digest_ends_the_session
            other_expectations_do_not_end_a_prepared_session
            collisions_are_refused
            sizes_are_held_to_what_was_declared
            bytes_go_on_where_they_ended
            what_is_not_there_is_said_so
            abort_ends_a_session_in_any_state
            an_abort_cuts_a_running_append_short
            finishing_again_is_success
            only_a_prepared_session_of_that_blob_is_finished
            the_newest_generation_stays
            sixteen_finish_the_same_content_at_once
            the_inventory_pages_in_order
            space_is_promised_to_one_session_only
            bytes_are_acknowledged_on_the_way
            going_back_to_any_offset_changes_no_digest
            a_resumable_session_outlives_what_it_refuses
            held_bytes_are_acknowledged_together_or_not_at_all
            one_request_sessions_acknowledge_nothing
        }


        #[tokio::test(start_paused = true)]
        async fn asking_for_the_offset_keeps_nothing_alive() {
            let (store, _keep) = $make().await;
            $crate::blobs::contract::asking_for_the_offset_keeps_nothing_alive(store).await;
        }

        #[tokio::test(start_paused = true)]
        async fn idle_sessions_expire_unless_prepared() {
            let (store, _keep) = $make().await;
            $crate::blobs::contract::idle_sessions_expire_unless_prepared(store).await;
        }
    };
    ($make:path: $($name:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (store, _keep) = $make().await;
                $crate::blobs::contract::$name(store).await;
            }
        )+
    };
}
pub(super) use contract_tests;
