//! The power is cut before each single change to the disk; then the store is opened again.

use super::*;

/// What lies on the disk before the upload that is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    Nothing,
    Older,
    OlderAndRotten,
    OlderAndUndescribed,
    Newer,
}

/// Nothing at a final path is other than its name says (I2).
fn names_imply_content(bench: &Bench) {
    for (path, bytes) in walk(&bench.dir().join("blobs")) {
        if path.extension().is_none() {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(digests(&bytes).sha1.to_hex(), name);
        }
    }
}

/// An upload with a cut after so many changes; says whether it was over before.
async fn cut_upload(before: Before, changes: u64) -> bool {
    let bench = Bench::new();
    let bytes = content(100_000, 1);
    let sha1 = digests(&bytes).sha1;
    let store = bench.open().await;
    if before != Before::Nothing {
        put(&store, &bytes, if before == Before::Newer { 9 } else { 1 }).await;
    }
    match before {
        Before::OlderAndRotten => std::fs::write(bench.blob(&sha1), vec![0; 100_000]).unwrap(),
        Before::OlderAndUndescribed => std::fs::write(bench.about(&sha1), "rubbish\n").unwrap(),
        Before::Nothing | Before::Older | Before::Newer => {}
    }

    bench.faults.plan(Plan::CutAfter(changes));
    let upload = UploadId::random();
    let sent = send(&store, upload, &bytes).await;
    let prepared = store.prepare(upload, Expected::default(), LATER).await;
    let finished = store.finish(upload, sha1, generation(5), vec![file("a")]).await;
    assert!(sent.is_ok() || prepared.is_err());
    assert!(prepared.is_ok() || finished.is_err() || before == Before::Newer);
    drop(store);
    let over = !bench.faults.is_cut();
    bench.faults.plan(Plan::None);

    let store = bench.open().await;
    if before != Before::OlderAndRotten {
        names_imply_content(&bench);
    }
    if matches!(before, Before::Older | Before::Newer) {
        let (_, reader) = store.open_blob(sha1).await.unwrap();
        assert!(read_all(&*reader).await == bytes, "a good blob was lost");
    }
    let listed = store.prepared_sessions().await.unwrap();
    if finished.is_err() && prepared.is_ok() {
        assert_eq!(listed.len(), 1, "a receipt was given and the session is gone");
    }
    if let Some(listed) = listed.first() {
        assert_eq!((listed.upload, listed.digests), (upload, digests(&bytes)));
        let again = store.prepare(upload, Expected::default(), LATER).await.unwrap();
        assert!(prepared.is_err() || again == prepared.unwrap());
    } else if finished.is_err() {
        send(&store, upload, &bytes).await.unwrap();
        store.prepare(upload, Expected::default(), LATER).await.unwrap();
    }
    for _ in 0..2 {
        store.finish(upload, sha1, generation(5), vec![file("a")]).await.unwrap();
        has(&store, &bytes, if before == Before::Newer { 9 } else { 5 }).await;
    }
    names_imply_content(&bench);
    bench.has_no_temporaries();
    assert_eq!(store.inventory(None, 9).await.unwrap().blobs.len(), 1);
    let aside = bench.files("quarantine").len();
    assert_eq!(aside, usize::from(matches!(before, Before::OlderAndRotten | Before::OlderAndUndescribed)));
    over
}

/// Cuts at every change, until the upload is over before the cut.
async fn cut_everywhere(before: Before) {
    let mut changes = 0;
    while !cut_upload(before, changes).await {
        changes += 1;
    }
    assert!(changes > 15, "{changes} changes are fewer than an upload makes");
}

#[tokio::test]
async fn a_new_blob_survives_every_cut() {
    cut_everywhere(Before::Nothing).await;
}

#[tokio::test]
async fn a_blob_of_an_older_generation_survives_every_cut() {
    cut_everywhere(Before::Older).await;
}

#[tokio::test]
async fn a_rotten_blob_is_replaced_through_every_cut() {
    cut_everywhere(Before::OlderAndRotten).await;
}

#[tokio::test]
async fn a_blob_without_description_gets_one_through_every_cut() {
    cut_everywhere(Before::OlderAndUndescribed).await;
}

#[tokio::test]
async fn a_newer_blob_survives_every_cut() {
    cut_everywhere(Before::Newer).await;
}

#[tokio::test]
async fn an_abort_survives_every_cut() {
    for changes in 0.. {
        let bench = Bench::new();
        let bytes = content(1000, 1);
        let store = bench.open().await;
        let (upload, _) = prepare(&store, &bytes).await;
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
async fn the_first_opening_survives_every_cut() {
    for changes in 0.. {
        let bench = Bench::new();
        bench.faults.plan(Plan::CutAfter(changes));
        let probe: Probe = Box::new(|| Ok(Filesystem { total_bytes: 1, free_bytes: 1 }));
        let opened = FolderStore::open_with(bench.options(), probe, bench.faults.clone()).await;
        let over = opened.is_ok();
        drop(opened);
        bench.faults.plan(Plan::None);
        let store = bench.open().await;
        put(&store, &content(10, 1), 1).await;
        if over {
            return;
        }
    }
}

#[tokio::test]
async fn everything_is_synced_before_it_counts() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = Bytes::from_static(b"abc");
    let upload = UploadId::random();
    send(&store, upload, &bytes).await.unwrap();
    bench.faults.take_log();
    let logged = || -> Vec<String> {
        let log = bench.faults.take_log().into_iter();
        let log = log.filter(|(op, path)| {
            // Clearing away and drafts' first bytes order nothing.
            !matches!(op, Op::Remove | Op::Write | Op::MakeFile) || path.ends_with("data")
        });
        let line = |(op, path): (Op, PathBuf)| {
            format!("{op:?} {}", path.strip_prefix(bench.dir()).unwrap().display())
                .replace(&upload.to_string(), "U")
        };
        log.map(line).collect()
    };
    store.prepare(upload, Expected::default(), LATER).await.unwrap();
    assert_eq!(
        logged(),
        [
            "SyncFile sessions/U/data",
            "SyncFile sessions/U/about.draft",
            "Rename sessions/U/about",
            "SyncDir sessions/U",
            "SyncDir sessions",
        ]
    );
    store.finish(upload, digests(&bytes).sha1, generation(1), vec![]).await.unwrap();
    let name = "blobs/a9/99/a9993e364706816aba3e25717850c26c9cd0d89d";
    assert_eq!(
        logged(),
        [
            "MakeDir blobs/a9",
            "SyncDir blobs",
            "MakeDir blobs/a9/99",
            "SyncDir blobs/a9",
            "SyncFile sessions/U/description.draft",
            &format!("Rename {name}.about"),
            &format!("RenameNew {name}"),
            "SyncDir blobs/a9/99",
        ]
    );
    store.finish(upload, digests(&bytes).sha1, generation(1), vec![]).await.unwrap();
    assert_eq!(logged(), ["SyncDir blobs/a9/99"], "the one before may not have come so far");
}
