//! A full disk, and one that fails.

use super::*;

#[tokio::test]
async fn a_declared_size_that_does_not_fit_is_refused_at_once() {
    let bench = Bench { disk_bytes: 100_000, ..Bench::new() };
    let store = bench.open().await;
    let free = store.capacity().await.unwrap().free_bytes;
    refused!(store.create_session(UploadId::random(), options(Some(free + 1))).await, BlobError::NoSpace);
    bench.has_no_temporaries();
    store.create_session(UploadId::random(), options(Some(free))).await.unwrap();
    assert_eq!(store.capacity().await.unwrap().free_bytes, 0);
    refused!(store.create_session(UploadId::random(), options(Some(1))).await, BlobError::NoSpace);
}

#[tokio::test]
async fn what_is_written_is_not_counted_twice() {
    let bench = Bench { disk_bytes: 100_000, ..Bench::new() };
    let store = bench.open().await;
    let free = store.capacity().await.unwrap().free_bytes;
    let upload = UploadId::random();
    store.create_session(upload, options(Some(50_000))).await.unwrap();
    assert_eq!(store.capacity().await.unwrap().free_bytes, free - 50_000);
    store.append(upload, 0, content(20_000, 1)).await.unwrap();
    assert_eq!(store.capacity().await.unwrap().free_bytes, free - 50_000);
    store.append(upload, 20_000, content(30_000, 1)).await.unwrap();
    store.prepare(upload, Expected::default(), LATER).await.unwrap();
    let about = walk(&bench.dir().join("sessions")).values().map(Vec::len).sum::<usize>() as u64 - 50_000;
    assert_eq!(store.capacity().await.unwrap().free_bytes, free - 50_000 - about);
    store.abort(upload).await.unwrap();
    assert_eq!(store.capacity().await.unwrap().free_bytes, free);
}

#[tokio::test]
async fn an_upload_of_unknown_size_reserves_as_it_grows() {
    const STEP: u64 = space::STEP_BYTES;
    let bench = Bench { disk_bytes: 2 * STEP + 2000, ..Bench::new() };
    let store = bench.open().await;
    let free = store.capacity().await.unwrap().free_bytes;
    let (upload, chunk) = (UploadId::random(), content(8 << 20, 1));
    store.create_session(upload, options(None)).await.unwrap();
    let mut at = 0;
    while at < STEP {
        assert_eq!(store.capacity().await.unwrap().free_bytes, free - STEP);
        at = store.append(upload, at, chunk.clone()).await.unwrap();
    }
    // The disk has no room for a whole step more, but for what is left of it.
    while at + (chunk.len() as u64) <= free {
        at = store.append(upload, at, chunk.clone()).await.unwrap();
    }
    refused!(store.append(upload, at, chunk).await, BlobError::NoSpace);
    bench.has_no_temporaries();
    assert_eq!(store.capacity().await.unwrap().free_bytes, free);
}

#[tokio::test]
async fn an_upload_of_unknown_size_needs_no_more_room_than_its_bytes() {
    let bench = Bench { disk_bytes: 100_000, ..Bench::new() };
    let store = bench.open().await;
    let free = store.capacity().await.unwrap().free_bytes;
    let upload = UploadId::random();
    store.create_session(upload, options(None)).await.unwrap();
    assert_eq!(store.capacity().await.unwrap().free_bytes, free);
    let at = store.append(upload, 0, content(50_000, 1)).await.unwrap();
    assert_eq!(store.capacity().await.unwrap().free_bytes, free - 50_000);
    refused!(store.append(upload, at, content(60_000, 1)).await, BlobError::NoSpace);
    bench.has_no_temporaries();
    assert_eq!(store.capacity().await.unwrap().free_bytes, free);
}

#[tokio::test]
async fn a_disk_that_is_full_after_all_ends_the_session() {
    let bench = Bench::new();
    let store = bench.open().await;
    let free = store.capacity().await.unwrap().free_bytes;
    let bytes = content(1000, 1);
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        bench.faults.plan(Plan::Fail(Op::Write, kind));
        refused!(send(&store, UploadId::random(), &bytes).await, BlobError::NoSpace);
        bench.faults.plan(Plan::None);
        bench.has_no_temporaries();

        let upload = UploadId::random();
        send(&store, upload, &bytes).await.unwrap();
        bench.faults.plan(Plan::Fail(Op::Write, kind));
        refused!(store.prepare(upload, Expected::default(), LATER).await, BlobError::NoSpace);
        bench.faults.plan(Plan::None);
        bench.has_no_temporaries();
        assert_eq!(store.capacity().await.unwrap().free_bytes, free);
    }
}

#[tokio::test]
async fn a_disk_that_is_full_at_the_finish_keeps_the_session() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(1000, 1);
    let (upload, prepared) = prepare(&store, &bytes).await;
    let sha1 = prepared.digests.sha1;
    for op in [Op::MakeDir, Op::MakeFile, Op::Write, Op::Rename, Op::RenameNew] {
        bench.faults.plan(Plan::Fail(op, io::ErrorKind::StorageFull));
        refused!(store.finish(upload, sha1, generation(1), vec![]).await, BlobError::NoSpace);
        bench.faults.plan(Plan::None);
        assert_eq!(store.prepared_sessions().await.unwrap().len(), 1, "{op:?}");
        refused!(store.open_blob(sha1).await, BlobError::NoBlob);
    }
    store.finish(upload, sha1, generation(1), vec![]).await.unwrap();
    has(&store, &bytes, 1).await;
}

#[tokio::test]
async fn an_unsynced_file_is_never_a_prepared_one() {
    let bench = Bench::new();
    let store = bench.open().await;
    for op in [Op::SyncFile, Op::SyncDir] {
        let upload = UploadId::random();
        send(&store, upload, &content(1000, 1)).await.unwrap();
        bench.faults.plan(Plan::Fail(op, io::ErrorKind::Other));
        refused!(store.prepare(upload, Expected::default(), LATER).await, BlobError::Io(_));
        bench.faults.plan(Plan::None);
        refused!(store.prepare(upload, Expected::default(), LATER).await, BlobError::NoSession);
        bench.has_no_temporaries();
    }
}

#[tokio::test]
async fn a_finish_whose_sync_failed_syncs_when_it_is_repeated() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(1000, 1);
    let (upload, prepared) = prepare(&store, &bytes).await;
    let sha1 = prepared.digests.sha1;
    // A neighbour has made the folders, so the first sync that fails is the last there is.
    std::fs::create_dir_all(bench.blob(&sha1).parent().unwrap()).unwrap();
    store.inner.synced(&sha1.as_bytes()[..1]);
    store.inner.synced(&sha1.as_bytes()[..2]);
    bench.faults.plan(Plan::Fail(Op::SyncDir, io::ErrorKind::Other));
    for _ in 0..2 {
        refused!(store.finish(upload, sha1, generation(1), vec![]).await, BlobError::Io(_));
    }
    assert!(bench.blob(&sha1).exists());
    bench.faults.plan(Plan::None);
    store.finish(upload, sha1, generation(1), vec![]).await.unwrap();
    has(&store, &bytes, 1).await;
    bench.has_no_temporaries();
}

#[tokio::test]
async fn a_sync_that_failed_on_the_way_is_not_forgotten() {
    let bench = Bench::new();
    let store = bench.open().await;
    let upload = UploadId::random();
    store.create_session(upload, options(None)).await.unwrap();
    bench.faults.plan(Plan::Fail(Op::SyncFile, io::ErrorKind::Other));
    store.append(upload, 0, content(33 << 20, 1)).await.unwrap();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while bench.faults.failures() == 0 {
        assert!(std::time::Instant::now() < deadline, "no sync began on the way");
        tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
    }
    bench.faults.plan(Plan::None);
    refused!(store.prepare(upload, Expected::default(), LATER).await, BlobError::Io(_));
    bench.has_no_temporaries();
}

#[tokio::test]
async fn errors_name_no_path() {
    let bench = Bench::new();
    let store = bench.open().await;
    let (upload, prepared) = prepare(&store, &content(1000, 1)).await;
    std::fs::remove_file(bench.dir().join(format!("sessions/{upload}/data"))).unwrap();
    let error = store.finish(upload, prepared.digests.sha1, generation(1), vec![]).await.unwrap_err();
    assert!(matches!(error, BlobError::Io(_)));
    assert!(!error.to_string().contains('/'), "{error}");
}

#[tokio::test]
async fn a_disk_that_fails_is_said_with_what_it_failed_for() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(1000, 2);
    let upload = UploadId::random();
    bench.faults.plan(Plan::Fail(Op::Write, io::ErrorKind::Other));
    let error = send(&store, upload, &bytes).await.unwrap_err();
    assert!(error.is_disks_fault(), "{error:?}");
    assert!(error.to_string().contains(&upload.short()), "{error}");
    bench.faults.plan(Plan::None);

    let upload = UploadId::random();
    send(&store, upload, &bytes).await.unwrap();
    store.prepare(upload, Expected::default(), LATER).await.unwrap();
    let sha1 = digests(&bytes).sha1;
    bench.faults.plan(Plan::Fail(Op::RenameNew, io::ErrorKind::Other));
    let error = store.finish(upload, sha1, generation(1), Vec::new()).await.unwrap_err();
    assert!(error.is_disks_fault(), "{error:?}");
    assert!(error.to_string().contains(&sha1.to_string()), "{error}");
}
