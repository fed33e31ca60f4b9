//! Looking up blobs and files by key.

use super::super::{FileOrder, LedgerError, Pieces};
use super::{Fixture, content};
use crate::domain::{FileId, FileName, Sha256, Viewer};

const ANY: Viewer = Viewer::Public;

pub async fn files_are_found_by_blob_name_and_id(t: Fixture) {
    let nodes = t.nodes(2).await;
    let file = t.store("ä \"b\".txt", content(1), &nodes).await.blob.file;
    t.store("b.txt", content(2), &nodes).await;
    let sha1 = content(1).sha1;
    assert_eq!(t.ledger.files_of(ANY, sha1, 10).await.unwrap(), std::slice::from_ref(&file));
    assert_eq!(t.ledger.files_of(ANY, sha1, 0).await.unwrap(), []);
    assert_eq!(t.ledger.file_named(ANY, sha1, &file.name).await.unwrap(), Some(file.clone()));
    for other in ["Ä \"B\".TXT", "b.txt", "%"] {
        let other = FileName::parse(other).unwrap();
        assert_eq!(t.ledger.file_named(ANY, sha1, &other).await.unwrap(), None);
    }
    assert_eq!(t.ledger.find_file(ANY, file.id).await.unwrap(), Some(file));
}

pub async fn sizes_are_seen_once_a_file_has_them(t: Fixture) {
    let nodes = t.nodes(2).await;
    for number in [0, 5, 1 << 40] {
        t.store("a", content(number), &nodes).await;
    }
    let sizes = [5, 1, 0, 5, 1 << 40, u64::MAX, i64::MAX as u64];
    let seen = [true, false, true, true, true, false, false];
    assert_eq!(t.ledger.sizes_seen(ANY, &sizes).await.unwrap(), seen);
    assert!(t.ledger.sizes_seen(ANY, &[]).await.unwrap().is_empty());
}

pub async fn pieces_come_back_in_order(t: Fixture) {
    let nodes = t.nodes(2).await;
    for (number, count) in [(0, 0), (1, 1), (2, 5), (3, 5000_u32)] {
        let mut upload = t.upload("a", content(number), &nodes);
        upload.pieces = (0..count)
            .map(|i| {
                let mut digest = [0; 32];
                digest[28..].copy_from_slice(&i.to_be_bytes());
                Sha256::new(digest)
            })
            .collect();
        t.decide(&upload).await.stored();
        let pieces = t.ledger.pieces(ANY, content(number).sha1).await.unwrap();
        assert_eq!(pieces, Some(Pieces { digests: content(number), sha256: upload.pieces }));
    }
}

pub async fn what_is_unknown_is_none(t: Fixture) {
    let sha1 = content(1).sha1;
    assert_eq!(t.ledger.find_visible(ANY, sha1).await.unwrap(), None);
    assert_eq!(t.ledger.files_of(ANY, sha1, 10).await.unwrap(), []);
    assert_eq!(t.ledger.file_named(ANY, sha1, &FileName::parse("a").unwrap()).await.unwrap(), None);
    assert_eq!(t.ledger.find_file(ANY, FileId::random()).await.unwrap(), None);
    assert_eq!(t.ledger.pieces(ANY, sha1).await.unwrap(), None);
    let page = t.ledger.list_files(ANY, "", FileOrder::Newest, None, 10).await.unwrap();
    assert_eq!((page.items, page.next), (vec![], None));
    assert_eq!(t.ledger.nodes().await.unwrap(), []);
}

pub async fn a_closed_ledger_fails(t: Fixture) {
    let nodes = t.nodes(2).await;
    t.ledger.check_writable().await.unwrap();
    t.ledger.close().await;
    t.ledger.close().await;
    let closed = |error| matches!(error, LedgerError::Unavailable(_));
    assert!(closed(t.ledger.check_writable().await.unwrap_err()));
    assert!(closed(t.ledger.totals().await.unwrap_err()));
    assert!(closed(t.ledger.decide_upload(t.upload("a", content(1), &nodes)).await.unwrap_err()));
}
