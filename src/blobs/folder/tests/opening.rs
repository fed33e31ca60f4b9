//! Whose folder it is, and what a restart finds.

use super::*;

async fn refusal(options: FolderStoreOptions) -> OpenError {
    FolderStore::open(options).await.err().unwrap()
}

#[tokio::test]
async fn a_folder_of_another_node_or_cluster_is_refused() {
    let bench = Bench::new();
    drop(bench.open().await);
    let (node, cluster) = (NodeId::from_bytes([7; 16]), ClusterId::from_bytes([8; 16]));
    for known_to_cluster in [false, true] {
        let options = FolderStoreOptions { known_to_cluster, ..bench.options() };
        let other = refusal(FolderStoreOptions { node, ..options.clone() }).await;
        assert!(matches!(other, OpenError::OtherNode { found: NODE, .. }), "{other}");
        let other = refusal(FolderStoreOptions { cluster, ..options.clone() }).await;
        assert!(matches!(other, OpenError::OtherCluster { found: CLUSTER, .. }), "{other}");
        FolderStore::open(options).await.unwrap();
    }
}

#[tokio::test]
async fn a_known_node_without_its_marker_is_refused_and_nothing_written() {
    let bench = Bench::new();
    let known = FolderStoreOptions { known_to_cluster: true, ..bench.options() };
    assert!(matches!(refusal(known.clone()).await, OpenError::Unmarked));
    assert!(!bench.dir().exists());
    std::fs::create_dir(bench.dir()).unwrap();
    let error = refusal(known).await;
    assert!(error.to_string().contains("mounted"), "{error}");
    assert_eq!(std::fs::read_dir(bench.dir()).unwrap().count(), 0);
}

#[tokio::test]
async fn data_without_a_marker_is_not_taken_over() {
    let bench = Bench::new();
    drop(bench.open().await);
    std::fs::remove_file(bench.dir().join("marker.json")).unwrap();
    assert!(matches!(refusal(bench.options()).await, OpenError::Unclaimed));
}

#[tokio::test]
async fn a_new_folder_may_hold_other_things() {
    let bench = Bench::new();
    std::fs::create_dir_all(bench.dir().join("lost+found")).unwrap();
    drop(bench.open().await);
    assert!(bench.dir().join("lost+found").exists());
}

#[tokio::test]
async fn a_marker_that_cannot_be_read_is_refused() {
    let bench = Bench::new();
    drop(bench.open().await);
    let marker = bench.dir().join("marker.json");
    let good = std::fs::read_to_string(&marker).unwrap();
    std::fs::write(&marker, good.replace("\"format\":1", "\"format\":2")).unwrap();
    let error = refusal(bench.options()).await;
    assert!(matches!(error, OpenError::NewerFormat { found: 2, known: 1 }), "{error}");
    for bad in ["", "{", "{}", "[1]", r#"{"format":1}"#, r#"{"format":1,"node":"x","cluster":"y"}"#] {
        std::fs::write(&marker, bad).unwrap();
        assert!(matches!(refusal(bench.options()).await, OpenError::Damaged(_)), "{bad:?}");
    }
    std::fs::write(&marker, good).unwrap();
    drop(bench.open().await);
}

#[tokio::test]
async fn a_folder_is_opened_once_at_a_time() {
    let bench = Bench::new();
    let store = bench.open().await;
    assert!(matches!(refusal(bench.options()).await, OpenError::Locked));
    drop(store);
    drop(bench.open().await);
}

#[tokio::test(start_paused = true)]
async fn a_restart_keeps_what_is_prepared_and_drops_what_is_not() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(5_000_000, 1);
    let (upload, prepared) = prepare(&store, &bytes).await;
    send(&store, UploadId::random(), &bytes).await.unwrap();
    store.create_session(UploadId::random(), options(None)).await.unwrap();
    tokio::time::advance(std::time::Duration::from_secs(500)).await;
    drop(store);

    let store = bench.open().await;
    assert_eq!(store.capacity().await.unwrap().sessions, 1);
    let listed = store.prepared_sessions().await.unwrap();
    assert_eq!((listed[0].upload, listed[0].digests), (upload, prepared.digests));
    assert_eq!((listed[0].decide_before, listed[0].quiet_for), (LATER, std::time::Duration::ZERO));
    assert_eq!(std::fs::read_dir(bench.dir().join("sessions")).unwrap().count(), 1);
    assert_eq!(store.prepare(upload, Expected::default(), LATER).await.unwrap(), prepared);
    assert!(read_all(&*store.open_session(upload).await.unwrap()).await == bytes);
    refused!(store.create_session(upload, options(None)).await, BlobError::SessionExists);
    store.finish(upload, prepared.digests.sha1, generation(1), vec![]).await.unwrap();
    drop(store);

    let store = bench.open().await;
    assert_eq!(store.capacity().await.unwrap().sessions, 0);
    has(&store, &bytes, 1).await;
}

#[tokio::test]
async fn a_prepared_session_that_cannot_be_read_is_kept_aside() {
    let damages: [fn(&Path); 6] = [
        |session| std::fs::write(session.join("about"), "").unwrap(),
        |session| std::fs::write(session.join("about"), [0xff; 600_000]).unwrap(),
        |session| {
            let text = std::fs::read_to_string(session.join("about")).unwrap();
            std::fs::write(session.join("about"), text.replacen("\"size\":5", "\"size\":6", 1)).unwrap();
        },
        |session| {
            let text = std::fs::read_to_string(session.join("about")).unwrap();
            let header = text.lines().next().unwrap();
            std::fs::write(session.join("about"), format!("{header}\n")).unwrap();
        },
        |session| std::fs::write(session.join("data"), "short").unwrap(),
        |session| std::fs::remove_file(session.join("data")).unwrap(),
    ];
    for damage in damages {
        let bench = Bench::new();
        let store = bench.open().await;
        let (upload, _) = prepare(&store, &content(5000, 1)).await;
        let (sound, _) = prepare(&store, &content(5000, 2)).await;
        drop(store);
        damage(&bench.dir().join(format!("sessions/{upload}")));
        let store = bench.open().await;
        let listed = store.prepared_sessions().await.unwrap();
        assert_eq!(listed.iter().map(|session| session.upload).collect::<Vec<_>>(), [sound]);
        assert!(bench.dir().join(format!("quarantine/session-{upload}.0/about")).exists());
        refused!(store.open_session(upload).await, BlobError::NoSession);
    }
}

#[tokio::test]
async fn what_is_no_session_is_left_alone() {
    let bench = Bench::new();
    drop(bench.open().await);
    for name in ["notes.txt", "0123", "ABCDEF0123456789ABCDEF0123456789"] {
        std::fs::write(bench.dir().join("sessions").join(name), "mine").unwrap();
    }
    let store = bench.open().await;
    assert_eq!(store.capacity().await.unwrap().sessions, 0);
    assert_eq!(bench.files("sessions").len(), 3);
}

#[tokio::test]
async fn sessions_are_bounded_in_number_and_make_room_when_they_end() {
    let bench = Bench::new();
    let store = bench.open().await;
    let mut last = UploadId::random();
    for _ in 0..super::super::MOST_SESSIONS {
        last = UploadId::random();
        store.create_session(last, options(None)).await.unwrap();
    }
    let refused = store.create_session(UploadId::random(), options(None)).await;
    assert!(matches!(refused, Err(BlobError::NoSpace)), "{refused:?}");
    store.abort(last).await.unwrap();
    store.create_session(UploadId::random(), options(None)).await.unwrap();
}
