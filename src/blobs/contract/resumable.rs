//! What resumable sessions promise.

use super::*;

pub(in crate::blobs) fn resumable(declared: Option<u64>) -> SessionOptions {
    SessionOptions { resumable: true, ..options(declared) }
}

/// Makes a resumable session that has acknowledged this content.
pub(in crate::blobs) async fn begin(store: &dyn BlobStore, content: &Bytes) -> UploadId {
    let upload = UploadId::random();
    store.create_session(upload, resumable(None)).await.unwrap();
    store.append(upload, 0, content.clone()).await.unwrap();
    assert_eq!(store.acknowledge(upload).await.unwrap(), content.len() as u64);
    upload
}

pub(in crate::blobs) fn pieces_of(content: &Bytes) -> Vec<Sha256> {
    let piece = usize::try_from(PIECE_BYTES).unwrap();
    content.chunks(piece).map(|piece| Sha256::new(sha2::Sha256::digest(piece).into())).collect()
}

pub(in crate::blobs) async fn bytes_are_acknowledged_on_the_way(store: Arc<dyn BlobStore>) {
    let content = content(9_000_000, 21);
    let upload = UploadId::random();
    store.create_session(upload, resumable(Some(9_000_000))).await.unwrap();
    refused!(store.create_session(upload, resumable(None)).await, BlobError::SessionExists);
    assert_eq!(store.acknowledged(upload).await.unwrap(), 0);
    assert!(read_all(&*store.open_session(upload).await.unwrap()).await.is_empty());
    store.append(upload, 0, content.slice(..4_000_000)).await.unwrap();
    assert_eq!(store.acknowledged(upload).await.unwrap(), 0);
    assert_eq!(
        store.append(upload, 4_000_000, content.slice(4_000_000..8_999_999)).await.unwrap(),
        8_999_999
    );
    assert_eq!(store.acknowledged(upload).await.unwrap(), 2 * ACKNOWLEDGE_BYTES);
    let read = read_all(&*store.open_session(upload).await.unwrap()).await;
    assert!(read == content[..8 << 20]);
    for _ in 0..2 {
        assert_eq!(store.acknowledge(upload).await.unwrap(), 8_999_999);
        assert_eq!(store.acknowledged(upload).await.unwrap(), 8_999_999);
    }
    store.append(upload, 8_999_999, content.slice(8_999_999..)).await.unwrap();
    let prepared = store.prepare(upload, Expected::default(), LATER).await.unwrap();
    assert_eq!((prepared.digests, &prepared.pieces), (digests(&content), &pieces_of(&content)));
    assert_eq!(store.acknowledged(upload).await.unwrap(), 9_000_000);
    assert_eq!(store.acknowledge(upload).await.unwrap(), 9_000_000);
    refused!(store.rewind(upload, 0).await, BlobError::WrongState);
    store.finish(upload, prepared.digests.sha1, generation(1), vec![]).await.unwrap();
    has(&*store, &content, 1).await;
    refused!(store.acknowledged(upload).await, BlobError::NoSession);
    refused!(store.acknowledge(upload).await, BlobError::NoSession);
    refused!(store.rewind(upload, 0).await, BlobError::NoSession);
    has_no_sessions(&*store).await;
}

pub(in crate::blobs) async fn going_back_to_any_offset_changes_no_digest(store: Arc<dyn BlobStore>) {
    let piece = usize::try_from(PIECE_BYTES).unwrap();
    let content = content(2 * piece + 77, 22);
    let size = content.len() as u64;
    let (expected, pieces) = (digests(&content), pieces_of(&content));
    // Each way down: everything, then back to these one after the other, then to the end.
    for back in [
        vec![0],
        vec![size],
        vec![size - 1, piece as u64 + 1, piece as u64, piece as u64 - 1],
        vec![2 * piece as u64, 5, 5, 0],
        vec![piece as u64],
        vec![piece as u64 - 1, 1],
    ] {
        let upload = begin(&*store, &content).await;
        for at in back {
            refused!(store.rewind(upload, size + 1).await, BlobError::WrongOffset { at } if *at <= size);
            store.rewind(upload, at).await.unwrap();
            assert_eq!(store.acknowledged(upload).await.unwrap(), at);
            refused!(store.append(upload, at + 1, Bytes::new()).await, BlobError::WrongOffset { .. });
            // Bytes that do not stay.
            let other = Bytes::from_static(&[7; 1000]);
            store.append(upload, at, other).await.unwrap();
            store.rewind(upload, at).await.unwrap();
        }
        let at = store.acknowledged(upload).await.unwrap();
        store.append(upload, at, content.slice(usize::try_from(at).unwrap()..)).await.unwrap();
        let prepared = store.prepare(upload, Expected::default(), LATER).await.unwrap();
        assert_eq!((prepared.digests, &prepared.pieces), (expected, &pieces));
        assert!(read_all(&*store.open_session(upload).await.unwrap()).await == content);
        store.abort(upload).await.unwrap();
    }
    has_no_sessions(&*store).await;
}

pub(in crate::blobs) async fn a_resumable_session_outlives_what_it_refuses(store: Arc<dyn BlobStore>) {
    let content = content(1000, 23);
    let sized = |size| Expected { size: Some(size), ..Expected::default() };
    for options in [resumable(Some(1000)), SessionOptions { limit_bytes: 1000, ..resumable(None) }] {
        let upload = UploadId::random();
        store.create_session(upload, options).await.unwrap();
        store.append(upload, 0, content.slice(..999)).await.unwrap();
        refused!(store.append(upload, 999, content.slice(..2)).await, BlobError::TooLong);
        refused!(store.append(upload, 1, content.slice(..2)).await, BlobError::WrongOffset { at: 999 });
        refused!(store.prepare(upload, sized(1000), LATER).await, BlobError::WrongOffset { at: 999 });
        refused!(store.prepare(upload, sized(998), LATER).await, BlobError::WrongOffset { at: 999 });
        if options.declared_bytes.is_some() {
            let any = Expected::default();
            refused!(store.prepare(upload, any, LATER).await, BlobError::WrongOffset { at: 999 });
        }
        store.append(upload, 999, content.slice(999..)).await.unwrap();
        let prepared = store.prepare(upload, sized(1000), LATER).await.unwrap();
        assert_eq!(prepared.digests, digests(&content));
        refused!(store.append(upload, 1000, Bytes::new()).await, BlobError::WrongState);
        store.abort(upload).await.unwrap();
    }
    let upload = begin(&*store, &content).await;
    let wrong = Expected { sha1: Some(Sha1::new([1; 20])), ..sized(1000) };
    refused!(store.prepare(upload, wrong, LATER).await, BlobError::WrongDigest(_));
    assert_eq!(store.acknowledged(upload).await.unwrap(), 1000);
    refused!(store.prepare(upload, wrong, LATER).await, BlobError::WrongDigest(_));
    assert_eq!(store.prepare(upload, sized(1000), LATER).await.unwrap().digests, digests(&content));
    store.abort(upload).await.unwrap();
    has_no_sessions(&*store).await;
}

pub(in crate::blobs) async fn held_bytes_are_acknowledged_together_or_not_at_all(store: Arc<dyn BlobStore>) {
    let piece = usize::try_from(ACKNOWLEDGE_BYTES).unwrap();
    let content = content(3 * piece + 5, 26);
    let options = resumable(Some(content.len() as u64));
    let upload = UploadId::random();
    store.create_session(upload, options).await.unwrap();
    store.append(upload, 0, content.slice(..1000)).await.unwrap();
    store.hold(upload).await.unwrap();
    let at = store.acknowledged(upload).await.unwrap();
    assert_eq!(at, 1000);
    // Other bytes, over two pieces' ends.
    store.append(upload, at, Bytes::from(vec![9; 2 * piece])).await.unwrap();
    assert_eq!(store.acknowledged(upload).await.unwrap(), at);
    let early = store.prepare(upload, Expected::default(), LATER).await;
    refused!(early, BlobError::WrongOffset { at: 1000 });
    refused!(store.rewind(upload, at + 1).await, BlobError::WrongOffset { at: 1000 });
    store.rewind(upload, at).await.unwrap();
    store.hold(upload).await.unwrap();
    store.append(upload, at, content.slice(1000..2 * piece)).await.unwrap();
    assert_eq!(store.acknowledge(upload).await.unwrap(), 2 * ACKNOWLEDGE_BYTES);
    // And from then on as ever.
    store.append(upload, 2 * ACKNOWLEDGE_BYTES, content.slice(2 * piece..)).await.unwrap();
    assert_eq!(store.acknowledged(upload).await.unwrap(), 3 * ACKNOWLEDGE_BYTES);
    let prepared = store.prepare(upload, Expected::default(), LATER).await.unwrap();
    assert_eq!((prepared.digests, prepared.pieces), (digests(&content), pieces_of(&content)));
    refused!(store.hold(upload).await, BlobError::WrongState);
    store.abort(upload).await.unwrap();
    refused!(store.hold(upload).await, BlobError::NoSession);
    has_no_sessions(&*store).await;
}

pub(in crate::blobs) async fn one_request_sessions_acknowledge_nothing(store: Arc<dyn BlobStore>) {
    let content = content(1000, 24);
    let upload = UploadId::random();
    send(&*store, upload, &content).await.unwrap();
    refused!(store.acknowledged(upload).await, BlobError::WrongState);
    refused!(store.acknowledge(upload).await, BlobError::WrongState);
    refused!(store.rewind(upload, 0).await, BlobError::WrongState);
    let prepared = store.prepare(upload, Expected::default(), LATER).await.unwrap();
    assert_eq!(prepared.digests, digests(&content));
    assert_eq!(store.acknowledged(upload).await.unwrap(), 1000);
}

pub(in crate::blobs) async fn asking_for_the_offset_keeps_nothing_alive(store: Arc<dyn BlobStore>) {
    let upload = begin(&*store, &content(1000, 25)).await;
    tokio::time::advance(Duration::from_secs(59)).await;
    store.append(upload, 1000, Bytes::new()).await.unwrap();
    tokio::time::advance(Duration::from_secs(59)).await;
    assert_eq!(store.acknowledged(upload).await.unwrap(), 1000);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(store.expire_sessions().await.unwrap(), 1);
    refused!(store.acknowledged(upload).await, BlobError::NoSession);
}
