//! Resumable uploads: made before they are decided, ended at most once.

use super::*;
use crate::ledger::{NewResumable, ResumableEnd, ResumableState, SessionOutcome};

const LIFE: Duration = Duration::from_hours(24);

fn new(t: &Fixture, digests: BlobDigests, nodes: &[NodeId]) -> NewResumable {
    NewResumable {
        upload: UploadId::random(),
        sender: None,
        name: FileName::parse("a.txt").unwrap(),
        media_type: MediaType::parse("text/plain"),
        size: digests.size,
        sha1: None,
        nodes: nodes.to_vec(),
        expires_at: t.time.now().saturating_add(LIFE),
    }
}

pub async fn a_resumable_upload_is_found_changed_and_decided(mut t: Fixture) {
    let nodes = t.nodes(3).await;
    let blob = content(7);
    let made = new(&t, blob, &nodes[..2]);
    assert!(t.ledger.create_upload(made.clone(), 10).await.unwrap());
    assert!(t.ledger.create_upload(made.clone(), 10).await.unwrap());
    let later = made.expires_at.saturating_add(LIFE);
    assert!(t.ledger.set_upload_nodes(made.upload, &nodes[1..], later).await.unwrap());
    t.ledger.announce_upload(made.upload, None, Some(blob.sha256)).await.unwrap();
    t.ledger.announce_upload(made.upload, Some(blob.sha1), None).await.unwrap();
    t.reopen().await;
    let found = t.ledger.find_upload(made.upload).await.unwrap().unwrap();
    assert_eq!((found.name, found.media_type, found.size), (made.name, made.media_type, made.size));
    assert_eq!((found.sha1, found.sha256), (Some(blob.sha1), Some(blob.sha256)));
    assert_eq!((found.nodes, found.expires_at), (nodes[1..].to_vec(), later));
    assert_eq!(found.former, nodes[..1]);
    // A node that takes its bytes again is no former one.
    for (now, former) in [(&nodes[..1], &nodes[1..]), (&nodes[1..], &nodes[..1])] {
        assert!(t.ledger.set_upload_nodes(made.upload, now, later).await.unwrap());
        let found = t.ledger.find_upload(made.upload).await.unwrap().unwrap();
        assert_eq!((&found.nodes[..], &found.former[..]), (now, former));
    }
    assert_eq!(found.state, ResumableState::Receiving);
    // Its nodes keep what they have prepared, however late it is; a former one does not.
    let late = t.time.now();
    t.time.advance(Duration::from_secs(1));
    for (node, outcome) in [(nodes[1], SessionOutcome::Keep), (nodes[0], SessionOutcome::Abort)] {
        let told = t.ledger.session_outcome(made.upload, node, blob.sha1, late).await.unwrap();
        assert_eq!(told, outcome);
    }

    let upload = DecideUpload { upload: made.upload, ..t.upload("a.txt", blob, &nodes[1..]) };
    let decided = t.decide(&upload).await.stored();
    assert_eq!(decided.keep, nodes[1..]);
    let found = t.ledger.find_upload(made.upload).await.unwrap().unwrap();
    assert_eq!(found.state, ResumableState::Decided(blob));
    assert!(!t.ledger.end_upload(made.upload, ResumableEnd::Terminated).await.unwrap());
    assert!(!t.ledger.set_upload_nodes(made.upload, &nodes, later).await.unwrap());
    t.time.advance(LIFE * 3);
    assert_eq!(t.ledger.expired_uploads(10).await.unwrap(), []);
    assert_eq!(t.ledger.forget_outcomes(LIFE, 10).await.unwrap(), 1);
    assert_eq!(t.ledger.find_upload(made.upload).await.unwrap(), None);
    assert_eq!(t.ledger.find_upload(UploadId::random()).await.unwrap(), None);
}

pub async fn an_upload_that_ended_is_never_decided(t: Fixture) {
    let nodes = t.nodes(2).await;
    for end in [
        ResumableEnd::Terminated,
        ResumableEnd::Expired,
        ResumableEnd::WrongDigest,
        ResumableEnd::CollisionAttack,
        ResumableEnd::Collision,
    ] {
        let made = new(&t, content(9), &nodes);
        assert!(t.ledger.create_upload(made.clone(), 10).await.unwrap());
        assert!(t.ledger.end_upload(made.upload, end).await.unwrap());
        assert!(!t.ledger.end_upload(made.upload, ResumableEnd::Terminated).await.unwrap());
        let found = t.ledger.find_upload(made.upload).await.unwrap().unwrap();
        assert_eq!(found.state, ResumableState::Ended(end));
        let upload = DecideUpload { upload: made.upload, ..t.upload("a.txt", content(9), &nodes) };
        assert_eq!(t.decide(&upload).await.refused(), RefusedReceipts::Ended);
        let before = t.time.now().saturating_add(DEADLINE);
        let told = t.ledger.session_outcome(made.upload, nodes[0], content(9).sha1, before).await.unwrap();
        assert_eq!(told, SessionOutcome::Abort);
    }
    t.time.advance(LIFE * 2);
    assert_eq!(t.ledger.expired_uploads(10).await.unwrap(), []);
    assert_eq!(t.ledger.forget_outcomes(LIFE, 10).await.unwrap(), 5);
}

pub async fn uploads_expire_oldest_first(t: Fixture) {
    let nodes = t.nodes(2).await;
    let mut made = Vec::new();
    for _ in 0..3 {
        let upload = new(&t, content(1), &nodes);
        assert!(t.ledger.create_upload(upload.clone(), 10).await.unwrap());
        made.push(upload.upload);
        t.time.advance(Duration::from_secs(1));
    }
    assert_eq!(t.ledger.expired_uploads(10).await.unwrap(), []);
    t.time.advance(LIFE);
    let expired = t.ledger.expired_uploads(2).await.unwrap();
    assert_eq!(expired.iter().map(|one| one.upload).collect::<Vec<_>>(), made[..2]);
    assert!(t.ledger.end_upload(made[0], ResumableEnd::Expired).await.unwrap());
    assert_eq!(t.ledger.expired_uploads(10).await.unwrap().len(), 2);
}

pub async fn a_sender_has_so_many_unfinished_uploads_at_most(mut t: Fixture) {
    let nodes = t.nodes(2).await;
    let senders = [Some("192.0.2.1".parse().unwrap()), Some("2001:db8::1".parse().unwrap()), None];
    let mut made = Vec::new();
    for sender in senders {
        for _ in 0..3 {
            let upload = NewResumable { sender, ..new(&t, content(1), &nodes) };
            assert!(t.ledger.create_upload(upload.clone(), 3).await.unwrap());
            made.push(upload.upload);
        }
        let more = NewResumable { sender, ..new(&t, content(1), &nodes) };
        assert!(!t.ledger.create_upload(more.clone(), 3).await.unwrap());
        assert_eq!(t.ledger.find_upload(more.upload).await.unwrap(), None);
        assert_eq!(t.ledger.unfinished_uploads(sender, 9).await.unwrap(), 3);
        assert_eq!(t.ledger.unfinished_uploads(sender, 2).await.unwrap(), 2);
    }
    t.reopen().await;
    assert_eq!(t.ledger.load().await.unwrap().unfinished_uploads, 9);
    // Those that come to an end make room, however they end.
    assert!(t.ledger.end_upload(made[0], ResumableEnd::Terminated).await.unwrap());
    let upload = DecideUpload { upload: made[1], ..t.upload("a", content(1), &nodes) };
    t.decide(&upload).await.stored();
    assert_eq!(t.ledger.unfinished_uploads(senders[0], 9).await.unwrap(), 1);
    assert_eq!(t.ledger.unfinished_uploads(senders[1], 9).await.unwrap(), 3);
    let load = t.ledger.load().await.unwrap();
    assert_eq!((load.unfinished_uploads, load.waiting_writes), (7, 0));
    assert!(load.file_bytes > 0 && load.disk_free_bytes > 0, "{load:?}");
}
