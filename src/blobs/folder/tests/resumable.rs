//! Resumable sessions over restarts, cuts and full disks.

use std::time::{Duration, SystemTime};

use bytes::BytesMut;
use proptest::prelude::*;

use super::*;
use crate::blobs::ACKNOWLEDGE_BYTES;
use crate::blobs::contract::{begin, pieces_of, resumable};

/// Sends the rest and has everything checked.
async fn complete(store: &FolderStore, upload: UploadId, bytes: &Bytes) {
    let at = store.acknowledged(upload).await.unwrap();
    store.rewind(upload, at).await.unwrap();
    store.append(upload, at, bytes.slice(usize::try_from(at).unwrap()..)).await.unwrap();
    let prepared = store.prepare(upload, all_of(bytes), LATER).await.unwrap();
    assert_eq!((prepared.digests, prepared.pieces), (digests(bytes), pieces_of(bytes)));
    assert!(read_all(&*store.open_session(upload).await.unwrap()).await == *bytes);
}

/// The power is cut: what was not synced by then is something else.
fn scramble_after(bench: &Bench, upload: UploadId, at: u64) {
    let data = bench.dir().join(format!("sessions/{upload}/data"));
    let mut bytes = std::fs::read(&data).unwrap();
    let at = usize::try_from(at).unwrap();
    assert!(bytes.len() >= at, "acknowledged bytes are gone");
    bytes[at..].fill(0xEE);
    bytes.extend_from_slice(&[0xEE; 1000]);
    std::fs::write(data, bytes).unwrap();
}

#[tokio::test]
async fn a_restart_in_the_middle_keeps_what_was_acknowledged() {
    let bench = Bench::new();
    let bytes = content(9_000_000, 1);
    for acknowledged in [0, 1, 4_000_000, 4 << 20, (4 << 20) + 1, 8_999_999, 9_000_000] {
        let store = bench.open().await;
        let upload = begin(&store, &bytes.slice(..acknowledged)).await;
        // As much again that is not.
        let more = bytes.slice(acknowledged..(acknowledged + 1_000_000).min(bytes.len()));
        store.append(upload, acknowledged as u64, more).await.unwrap();
        let at = store.acknowledged(upload).await.unwrap();
        assert!(at >= acknowledged as u64);
        drop(store);
        scramble_after(&bench, upload, at);

        bench.faults.take_log();
        let store = bench.open().await;
        let read = bench.faults.take_log();
        assert!(!read.iter().any(|(_, path)| path.ends_with("data")), "a start reads no data");
        assert_eq!(store.acknowledged(upload).await.unwrap(), at);
        let read = read_all(&*store.open_session(upload).await.unwrap()).await;
        assert!(read == bytes[..usize::try_from(at).unwrap()]);
        refused!(store.rewind(upload, at + 1).await, BlobError::WrongOffset { at: found } if *found == at);
        refused!(store.create_session(upload, resumable(None)).await, BlobError::SessionExists);
        assert_eq!(store.acknowledge(upload).await.unwrap(), at);
        complete(&store, upload, &bytes).await;
        store.abort(upload).await.unwrap();
        bench.has_no_temporaries();
    }
}

#[tokio::test]
async fn a_resting_session_takes_every_call() {
    let bench = Bench::new();
    let bytes = content(5_000_000, 2);
    let store = bench.open().await;
    let upload = begin(&store, &bytes).await;
    drop(store);
    let store = bench.open().await;
    refused!(store.append(upload, 1, Bytes::new()).await, BlobError::WrongOffset { at: 5_000_000 });
    drop(store);
    let store = bench.open().await;
    refused!(store.finish(upload, digests(&bytes).sha1, generation(1), vec![]).await, BlobError::WrongState);
    store.rewind(upload, 4_999_999).await.unwrap();
    drop(store);
    let store = bench.open().await;
    let short = Expected { size: Some(5_000_000), ..Expected::default() };
    refused!(store.prepare(upload, short, LATER).await, BlobError::WrongOffset { at: 4_999_999 });
    complete(&store, upload, &bytes).await;
    drop(store);
    let store = bench.open().await;
    assert_eq!(store.prepare(upload, all_of(&bytes), LATER).await.unwrap().digests, digests(&bytes));
    assert_eq!(store.acknowledged(upload).await.unwrap(), 5_000_000);
    store.finish(upload, digests(&bytes).sha1, generation(1), vec![]).await.unwrap();
    has(&store, &bytes, 1).await;
    let upload = begin(&store, &bytes).await;
    drop(store);
    let store = bench.open().await;
    store.abort(upload).await.unwrap();
    bench.has_no_temporaries();
}

#[tokio::test(start_paused = true)]
async fn idle_time_goes_on_over_a_restart() {
    let bench = Bench::new();
    let bytes = content(1000, 3);
    for (quiet_secs, left_secs) in [(0, 60), (30, 30), (60, 0), (1_000_000, 0)] {
        let store = bench.open().await;
        let upload = begin(&store, &bytes).await;
        drop(store);
        let data = std::fs::File::options()
            .append(true)
            .open(bench.dir().join(format!("sessions/{upload}/data")))
            .unwrap();
        data.set_modified(SystemTime::now() - Duration::from_secs(quiet_secs)).unwrap();
        let store = bench.open().await;
        if left_secs > 0 {
            // The test itself takes a moment of the real clock.
            tokio::time::advance(Duration::from_secs(left_secs / 2)).await;
            assert_eq!(store.expire_sessions().await.unwrap(), 0);
            tokio::time::advance(Duration::from_secs(left_secs / 2)).await;
        }
        assert_eq!(store.expire_sessions().await.unwrap(), 1);
        bench.has_no_temporaries();
    }
}

#[tokio::test]
async fn space_stays_promised_over_a_restart_and_going_back() {
    let bench = Bench { disk_bytes: 20_000_000, ..Bench::new() };
    let store = bench.open().await;
    let free = store.capacity().await.unwrap().free_bytes;
    let upload = UploadId::random();
    store.create_session(upload, resumable(Some(10_000_000))).await.unwrap();
    let promised = store.capacity().await.unwrap().free_bytes;
    assert!(free - promised >= 10_000_000 && free - promised < 10_020_000);
    store.append(upload, 0, content(9_000_000, 4)).await.unwrap();
    store.acknowledge(upload).await.unwrap();
    assert_eq!(store.capacity().await.unwrap().free_bytes, promised);
    store.rewind(upload, 1_000_000).await.unwrap();
    assert_eq!(store.capacity().await.unwrap().free_bytes, promised);
    drop(store);
    let store = bench.open().await;
    assert_eq!(store.capacity().await.unwrap().free_bytes, promised);
    store.append(upload, 1_000_000, content(9_000_000, 4)).await.unwrap();
    assert_eq!(store.capacity().await.unwrap().free_bytes, promised);
    store.abort(upload).await.unwrap();
    assert_eq!(store.capacity().await.unwrap().free_bytes, free);
}

#[tokio::test]
async fn a_full_disk_takes_nothing_that_was_acknowledged() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(9_000_000, 5);
    for (op, keeps) in [(Op::Write, 5_000_000), (Op::SyncFile, 5_000_000), (Op::Truncate, 9_000_000)] {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
            let upload = begin(&store, &bytes.slice(..5_000_000)).await;
            bench.faults.plan(Plan::Fail(op, kind));
            let appended = store.append(upload, 5_000_000, bytes.slice(5_000_000..)).await;
            let prepared = store.prepare(upload, all_of(&bytes), LATER).await;
            assert!(appended.is_err() || op == Op::Truncate);
            refused!(prepared, BlobError::NoSpace | BlobError::WrongOffset { .. });
            bench.faults.plan(Plan::None);
            assert_eq!(store.acknowledged(upload).await.unwrap(), keeps, "{op:?}");
            complete(&store, upload, &bytes).await;
            store.abort(upload).await.unwrap();
        }
    }
    // In the middle of what says that it is prepared.
    for op in [Op::MakeFile, Op::Rename, Op::SyncDir] {
        let upload = begin(&store, &bytes).await;
        bench.faults.plan(Plan::Fail(op, io::ErrorKind::StorageFull));
        refused!(store.prepare(upload, all_of(&bytes), LATER).await, BlobError::NoSpace);
        bench.faults.plan(Plan::None);
        assert!(!bench.dir().join(format!("sessions/{upload}/about")).exists(), "{op:?}");
        store.rewind(upload, 8_000_000).await.unwrap();
        complete(&store, upload, &bytes).await;
        store.abort(upload).await.unwrap();
    }
    bench.has_no_temporaries();
}

#[tokio::test]
async fn a_disk_with_too_little_room_keeps_what_it_took() {
    let bench = Bench { disk_bytes: 6_000_000, ..Bench::new() };
    let store = bench.open().await;
    let bytes = content(9_000_000, 6);
    let upload = UploadId::random();
    let declared = resumable(Some(9_000_000));
    refused!(store.create_session(upload, declared).await, BlobError::NoSpace);
    let limited = SessionOptions { limit_bytes: 5_000_000, ..resumable(None) };
    store.create_session(upload, limited).await.unwrap();
    store.append(upload, 0, bytes.slice(..5_000_000)).await.unwrap();
    let next = resumable(Some(5_000_000));
    refused!(store.create_session(UploadId::random(), next).await, BlobError::NoSpace);
    assert_eq!(store.acknowledge(upload).await.unwrap(), 5_000_000);
}

#[tokio::test]
async fn a_failed_sync_ends_the_session() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(5_000_000, 7);
    let upload = begin(&store, &bytes).await;
    store.append(upload, 5_000_000, Bytes::from_static(b"x")).await.unwrap();
    bench.faults.plan(Plan::Fail(Op::SyncFile, io::ErrorKind::Other));
    refused!(store.acknowledge(upload).await, BlobError::Io(_));
    bench.faults.plan(Plan::None);
    refused!(store.acknowledged(upload).await, BlobError::NoSession);
    bench.has_no_temporaries();
}

#[tokio::test]
async fn what_cannot_be_read_again_is_tried_again() {
    let bench = Bench::new();
    let bytes = content(5_000_000, 8);
    let store = bench.open().await;
    let upload = begin(&store, &bytes).await;
    drop(store);
    let store = bench.open().await;
    bench.faults.plan(Plan::BadSectors);
    refused!(store.rewind(upload, 5).await, BlobError::Io(_));
    bench.faults.plan(Plan::None);
    assert_eq!(store.acknowledged(upload).await.unwrap(), 5_000_000);
    complete(&store, upload, &bytes).await;
}

#[tokio::test]
async fn a_resumable_session_that_cannot_be_read_is_kept_aside() {
    let damages: [fn(&Path); 5] = [
        |session| std::fs::write(session.join("terms"), "").unwrap(),
        |session| {
            let text = std::fs::read_to_string(session.join("terms")).unwrap();
            std::fs::write(session.join("terms"), text.replacen("\"format\":1", "\"format\":2", 1)).unwrap();
        },
        |session| std::fs::write(session.join("offset"), [0xff; 8192]).unwrap(),
        |session| std::fs::remove_file(session.join("offset")).unwrap(),
        |session| std::fs::write(session.join("data"), "short").unwrap(),
    ];
    for damage in damages {
        let bench = Bench::new();
        let store = bench.open().await;
        let upload = begin(&store, &content(5000, 1)).await;
        drop(store);
        damage(&bench.dir().join(format!("sessions/{upload}")));
        let store = bench.open().await;
        refused!(store.acknowledged(upload).await, BlobError::NoSession);
        assert!(bench.dir().join(format!("quarantine/session-{upload}.0")).exists());
    }
}

#[tokio::test]
async fn a_torn_offset_leaves_the_one_before() {
    let bench = Bench::new();
    let bytes = content(3000, 9);
    for place in [0, 4096] {
        let store = bench.open().await;
        let upload = begin(&store, &bytes.slice(..1000)).await;
        store.append(upload, 1000, bytes.slice(1000..2000)).await.unwrap();
        store.acknowledge(upload).await.unwrap();
        drop(store);
        let file = bench.dir().join(format!("sessions/{upload}/offset"));
        let mut found = std::fs::read(&file).unwrap();
        assert_eq!(found.len(), 8192);
        found[place + 10] ^= 1;
        std::fs::write(&file, found).unwrap();
        let store = bench.open().await;
        let at = store.acknowledged(upload).await.unwrap();
        assert!([1000, 2000].contains(&at));
        complete(&store, upload, &bytes).await;
        store.abort(upload).await.unwrap();
    }
}

/// A whole resumable upload with a cut after so many changes; says whether it was over before.
async fn cut_upload(changes: u64) -> bool {
    let bench = Bench::new();
    let bytes = content(5_000_000, 10);
    let store = bench.open().await;
    bench.faults.plan(Plan::CutAfter(changes));
    let upload = UploadId::random();
    let mut told = store.create_session(upload, resumable(None)).await.ok().map(|()| 0);
    let mut prepared = None;
    let half = bytes.slice(..2_500_000);
    if store.append(upload, 0, half.clone()).await.is_ok()
        && let Ok(at) = store.acknowledge(upload).await
    {
        assert_eq!(at, 2_500_000);
        told = Some(at);
        // Going back gives up what it acknowledged behind that.
        told = told.map(|_| 1_000_000);
        if store.rewind(upload, 1_000_000).await.is_ok()
            && store.append(upload, 1_000_000, bytes.slice(1_000_000..)).await.is_ok()
        {
            told = Some(ACKNOWLEDGE_BYTES);
            prepared = store.prepare(upload, all_of(&bytes), LATER).await.ok();
        }
    }
    drop(store);
    let over = !bench.faults.is_cut();
    bench.faults.plan(Plan::None);

    let store = bench.open().await;
    let found = store.acknowledged(upload).await.ok();
    assert!(found >= told, "told {told:?}, found {found:?}");
    if let Some(prepared) = prepared {
        assert_eq!(store.prepare(upload, all_of(&bytes), LATER).await.unwrap(), prepared);
        return over;
    }
    let Some(at) = found else {
        bench.has_no_temporaries();
        return over;
    };
    if store.prepared_sessions().await.unwrap().is_empty() {
        drop(store);
        scramble_after(&bench, upload, at);
        let store = bench.open().await;
        assert_eq!(store.acknowledged(upload).await.unwrap(), at);
        complete(&store, upload, &bytes).await;
        let sha1 = digests(&bytes).sha1;
        store.finish(upload, sha1, generation(1), vec![]).await.unwrap();
        has(&store, &bytes, 1).await;
        bench.has_no_temporaries();
    }
    over
}

#[tokio::test]
async fn a_resumable_upload_survives_every_cut() {
    let mut changes = 0;
    while !cut_upload(changes).await {
        changes += 1;
    }
    assert!(changes > 30, "{changes} changes are fewer than an upload makes");
}

#[tokio::test]
async fn the_end_of_a_resumable_session_survives_every_cut() {
    for changes in 0.. {
        let bench = Bench::new();
        let store = bench.open().await;
        let upload = begin(&store, &content(1000, 1)).await;
        bench.faults.plan(Plan::CutAfter(changes));
        store.abort(upload).await.unwrap();
        drop(store);
        let over = !bench.faults.is_cut();
        bench.faults.plan(Plan::None);
        let store = bench.open().await;
        assert_eq!(bench.files("quarantine"), [""; 0]);
        store.abort(upload).await.unwrap();
        bench.has_no_temporaries();
        if over {
            return;
        }
    }
}

#[tokio::test]
async fn bytes_are_synced_before_they_are_acknowledged() {
    let bench = Bench::new();
    let store = bench.open().await;
    let upload = begin(&store, &content(10, 1)).await;
    bench.faults.take_log();
    store.append(upload, 10, content(10, 2)).await.unwrap();
    store.acknowledge(upload).await.unwrap();
    store.rewind(upload, 10).await.unwrap();
    let log: Vec<_> = bench.faults.take_log().into_iter().collect();
    let log: Vec<_> =
        log.iter().map(|(op, path)| format!("{op:?} {}", path.file_name().unwrap().display())).collect();
    assert_eq!(
        log,
        [
            "Write data",
            "SyncFile data",
            "Write offset",
            "SyncFile offset",
            // Back: the offset goes first.
            "Write offset",
            "SyncFile offset",
            "Truncate data",
        ]
    );
}

/// What may happen to an upload.
#[derive(Debug, Clone)]
enum Event {
    Append(usize),
    Acknowledge,
    /// To such a part of what was acknowledged, of 1000.
    Rewind(u64),
    /// The process ends; what was not acknowledged is lost.
    Restart,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => (0..3_000_000_usize).prop_map(Event::Append),
        2 => Just(Event::Acknowledge),
        2 => (0..=1000_u64).prop_map(Event::Rewind),
        1 => Just(Event::Restart),
    ];
    proptest::collection::vec(event, 1..14)
}

async fn happen(events: Vec<Event>, declared: bool) {
    let bench = Bench::new();
    let mut store = bench.open().await;
    let upload = UploadId::random();
    let mut sent = BytesMut::new();
    let mut seed = 0;
    store.create_session(upload, resumable(declared.then_some(60_000_000))).await.unwrap();
    for event in events {
        let before = store.acknowledged(upload).await.unwrap();
        match event {
            Event::Append(length) => {
                seed += 1;
                let more = content(length, seed);
                let at = store.append(upload, sent.len() as u64, more.clone()).await.unwrap();
                sent.extend_from_slice(&more);
                assert_eq!(at, sent.len() as u64);
                let acknowledged = store.acknowledged(upload).await.unwrap();
                assert!(acknowledged >= before && at - acknowledged < ACKNOWLEDGE_BYTES);
            }
            Event::Acknowledge => {
                assert_eq!(store.acknowledge(upload).await.unwrap(), sent.len() as u64);
            }
            Event::Rewind(part) => {
                let at = before * part / 1000;
                store.rewind(upload, at).await.unwrap();
                sent.truncate(usize::try_from(at).unwrap());
                assert_eq!(store.acknowledged(upload).await.unwrap(), at);
            }
            Event::Restart => {
                drop(store);
                scramble_after(&bench, upload, before);
                store = bench.open().await;
                assert_eq!(store.acknowledged(upload).await.unwrap(), before);
                sent.truncate(usize::try_from(before).unwrap());
            }
        }
    }
    let sent = sent.freeze();
    if !declared {
        let prepared = store.prepare(upload, all_of(&sent), LATER).await.unwrap();
        assert_eq!((prepared.digests, prepared.pieces), (digests(&sent), pieces_of(&sent)));
    }
    let acknowledged = usize::try_from(store.acknowledged(upload).await.unwrap()).unwrap();
    assert!(read_all(&*store.open_session(upload).await.unwrap()).await == sent[..acknowledged]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn whatever_happens_the_digests_are_those_of_one_pass(events in events(), declared: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(happen(events, declared));
    }
}
