//! Blobs and descriptions that are not what they were.

use super::*;

#[tokio::test]
async fn a_rotten_blob_goes_to_the_quarantine_when_a_good_one_comes() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(5_000_000, 1);
    let sha1 = put(&store, &bytes, 1).await;
    let mut rotten = bytes.to_vec();
    rotten[4_999_999] ^= 1;
    std::fs::write(bench.blob(&sha1), &rotten).unwrap();
    put(&store, &bytes, 2).await;
    has(&store, &bytes, 2).await;
    assert_eq!(bench.files("quarantine"), [format!("blob-{sha1}.0")]);
    assert!(std::fs::read(bench.dir().join(format!("quarantine/blob-{sha1}.0"))).unwrap() == rotten);
    assert_eq!(described_files(&bench.about(&sha1)).len(), 2);
    std::fs::write(bench.blob(&sha1), &rotten).unwrap();
    put(&store, &bytes, 3).await;
    assert_eq!(bench.files("quarantine").len(), 2, "the first one is not replaced");
}

#[tokio::test]
async fn a_blob_that_the_disk_cannot_give_back_is_replaced() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(5000, 1);
    let sha1 = put(&store, &bytes, 1).await;
    let (upload, _) = prepare(&store, &bytes).await;
    // Any other failure may pass, and moves nothing.
    bench.faults.plan(Plan::Fail(Op::Read, io::ErrorKind::PermissionDenied));
    refused!(store.finish(upload, sha1, generation(2), vec![]).await, BlobError::Io(_));
    has(&store, &bytes, 1).await;
    bench.faults.plan(Plan::BadSectors);
    store.finish(upload, sha1, generation(2), vec![]).await.unwrap();
    has(&store, &bytes, 2).await;
    assert_eq!(bench.files("quarantine"), [format!("blob-{sha1}.0")]);
}

#[tokio::test]
async fn a_blob_of_another_length_is_no_blob_and_is_replaced() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(5000, 1);
    let sha1 = put(&store, &bytes, 8).await;
    for length in [0, 4999, 5001] {
        std::fs::File::options().write(true).open(bench.blob(&sha1)).unwrap().set_len(length).unwrap();
        let Err(BlobError::Io(error)) = store.open_blob(sha1).await else { panic!("it was opened") };
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(store.inventory(None, 5).await.unwrap().blobs, []);
        let nobody = UploadId::random();
        refused!(store.finish(nobody, sha1, generation(8), vec![]).await, BlobError::NoSession);
        // An older decision's bytes are as good; the newest decision stays on record.
        put(&store, &bytes, 3).await;
        has(&store, &bytes, 8).await;
    }
    assert_eq!(bench.files("quarantine").len(), 3);
}

#[tokio::test]
async fn a_reader_of_a_blob_that_shrinks_says_so() {
    let bench = Bench::new();
    let store = bench.open().await;
    let sha1 = put(&store, &content(5000, 1), 1).await;
    let (_, reader) = store.open_blob(sha1).await.unwrap();
    std::fs::File::options().write(true).open(bench.blob(&sha1)).unwrap().set_len(100).unwrap();
    let Err(BlobError::Io(error)) = reader.read(0..5000).await else { panic!("it was read") };
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_description_that_cannot_be_read_is_kept_aside() {
    for damage in ["", "{}", "{}\n", "{\"blob\":1}\t0000000000000000\n", "\t\n", "x"] {
        let bench = Bench::new();
        let store = bench.open().await;
        let bytes = content(5000, 1);
        let sha1 = put(&store, &bytes, 1).await;
        let text = std::fs::read_to_string(bench.about(&sha1)).unwrap();
        let (_, rest) = text.split_once('\n').unwrap();
        std::fs::write(bench.about(&sha1), format!("{damage}{rest}")).unwrap();
        refused!(store.open_blob(sha1).await, BlobError::NoBlob);
        assert_eq!(store.inventory(None, 5).await.unwrap().blobs, []);
        put(&store, &bytes, 2).await;
        has(&store, &bytes, 2).await;
        assert_eq!(bench.files("quarantine"), [format!("description-{sha1}.about.0")]);
    }
}

#[tokio::test]
async fn a_description_of_another_blob_or_a_later_format_is_none() {
    let bench = Bench::new();
    let store = bench.open().await;
    let (one, other) = (content(5000, 1), content(5000, 2));
    let (sha1, other_sha1) = (put(&store, &one, 1).await, put(&store, &other, 1).await);
    let text = std::fs::read_to_string(bench.about(&sha1)).unwrap();
    std::fs::copy(bench.about(&other_sha1), bench.about(&sha1)).unwrap();
    refused!(store.open_blob(sha1).await, BlobError::NoBlob);
    let header = text.lines().next().unwrap().split_once('\t').unwrap().0;
    let later = header.replace("\"format\":1", "\"format\":2");
    let checksum = &digests(later.as_bytes()).sha256.to_string()[..16];
    std::fs::write(bench.about(&sha1), format!("{later}\t{checksum}\n")).unwrap();
    refused!(store.open_blob(sha1).await, BlobError::NoBlob);
    has(&store, &other, 1).await;
}

#[tokio::test]
async fn a_description_without_its_blob_says_nothing() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(5000, 1);
    let sha1 = put(&store, &bytes, 9).await;
    std::fs::remove_file(bench.blob(&sha1)).unwrap();
    refused!(store.open_blob(sha1).await, BlobError::NoBlob);
    assert_eq!(store.inventory(None, 5).await.unwrap().blobs, []);
    refused!(store.finish(UploadId::random(), sha1, generation(1), vec![]).await, BlobError::NoSession);
    put(&store, &bytes, 4).await;
    has(&store, &bytes, 4).await;
}

#[tokio::test]
async fn other_content_under_the_same_name_is_never_taken_for_a_duplicate() {
    let bench = Bench::new();
    let store = bench.open().await;
    let bytes = content(5000, 1);
    let sha1 = put(&store, &bytes, 5).await;
    // A description that names another SHA-256 stands for a collision that nobody knows.
    let text = std::fs::read_to_string(bench.about(&sha1)).unwrap();
    let header = text.lines().next().unwrap().split_once('\t').unwrap().0;
    let other = header.replace(&digests(&bytes).sha256.to_string(), &"ab".repeat(32));
    let checksum = &digests(other.as_bytes()).sha256.to_string()[..16];
    std::fs::write(bench.about(&sha1), format!("{other}\t{checksum}\n")).unwrap();
    let (upload, _) = prepare(&store, &bytes).await;
    let result = store.finish(upload, sha1, generation(5), vec![]).await;
    let Err(BlobError::WrongDigest(found)) = result else { panic!("{result:?}") };
    assert_eq!(found.sha256.to_string(), "ab".repeat(32));
    assert_eq!(store.prepared_sessions().await.unwrap().len(), 1);
}

#[tokio::test]
async fn foreign_names_among_the_blobs_are_not_listed() {
    let bench = Bench::new();
    let store = bench.open().await;
    let sha1 = put(&store, &Bytes::from_static(b"abc"), 1).await;
    let hex = sha1.to_hex();
    let blobs = bench.dir().join("blobs");
    for name in ["notes.txt".to_owned(), "a9/notes".to_owned(), format!("a9/99/{}", hex.to_uppercase())] {
        std::fs::write(blobs.join(name), "x").unwrap();
    }
    std::fs::create_dir_all(blobs.join("AB/99")).unwrap();
    std::fs::create_dir_all(blobs.join("b0/00")).unwrap();
    std::fs::copy(bench.blob(&sha1), blobs.join("b0/00").join(&hex)).unwrap();
    std::fs::write(blobs.join("b1"), "x").unwrap();
    std::fs::create_dir_all(blobs.join("b0/00/b000000000000000000000000000000000000000")).unwrap();
    let page = store.inventory(None, 50).await.unwrap();
    assert_eq!(page.blobs.iter().map(|blob| blob.digests.sha1).collect::<Vec<_>>(), [sha1]);
}
