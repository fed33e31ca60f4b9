//! Deciding uploads of new and known content.

use std::collections::BTreeSet;

use super::super::{Decision, LedgerError, RefusedReceipts, ReplicaState, Totals};
use super::{DEADLINE, Fixture, content};
use crate::domain::{FileName, NodeId, Sha256, Viewer};

pub async fn new_content_is_stored_on_the_first_two_nodes(t: Fixture) {
    let nodes = t.nodes(3).await;
    let upload = t.upload("a.txt", content(7), &[nodes[2], nodes[0], nodes[1]]);
    let decided = t.decide(&upload).await.stored();
    assert_eq!(decided.keep, [nodes[2], nodes[0]]);
    assert_eq!(decided.generation.epoch, t.ledger.cluster().epoch);
    assert_eq!(decided.blob, t.blob(content(7)).await);
    assert_eq!(decided.blob.digests, content(7));
    assert_eq!(decided.blob.generation, decided.generation);
    assert_eq!(decided.blob.file.name.as_str(), "a.txt");
    assert_eq!(decided.blob.file.media_type.as_str(), "text/plain");
    assert_eq!(decided.blob.file.created_at, t.time.now());
    assert_eq!(decided.files, std::slice::from_ref(&decided.blob.file));
    for replica in &decided.blob.replicas {
        assert_eq!(replica.state, ReplicaState::Pending);
        assert_eq!(replica.upload, upload.upload);
        assert_eq!(replica.generation, decided.generation);
        assert_eq!(replica.verified_at, upload.receipts[0].verified_at);
        assert!(replica.is_usable());
    }
    let holders: Vec<NodeId> = decided.blob.replicas.iter().map(|replica| replica.node).collect();
    assert_eq!(holders, [nodes[0], nodes[2]], "in order of node id");
    let later = t.store("b.txt", content(8), &nodes).await;
    assert!(later.generation > decided.generation);
}

pub async fn a_repeated_upload_gets_the_same_answer_and_draws_nothing(t: Fixture) {
    let nodes = t.nodes(3).await;
    let upload = t.upload("a.txt", content(1), &nodes);
    let first = t.decide(&upload).await;
    let totals = t.ledger.totals().await.unwrap();
    assert_eq!(t.decide(&upload).await, first);
    assert_eq!(t.ledger.totals().await.unwrap(), totals);

    let duplicate = t.upload("b.txt", content(1), &nodes);
    let answer = t.decide(&duplicate).await;
    assert!(matches!(answer, Decision::Duplicate(_)));
    assert_eq!(t.decide(&duplicate).await, answer);
    assert_eq!(t.ledger.totals().await.unwrap(), totals);

    // Both answers drew one generation in all.
    let next = t.store("c.txt", content(2), &nodes).await;
    assert_eq!(next.generation.number, first.stored().generation.number + 1);
}

pub async fn a_late_decision_is_refused_unless_it_was_taken_before(t: Fixture) {
    let nodes = t.nodes(3).await;
    let mut late = t.upload("late.txt", content(1), &nodes[..2]);
    let in_time = t.upload("a.txt", content(2), &nodes[..2]);
    t.time.advance(DEADLINE);
    let decided = t.decide(&in_time).await;
    assert!(matches!(decided, Decision::Stored(_)), "the deadline itself is in time");

    t.time.advance(std::time::Duration::from_millis(1));
    assert_eq!(t.decide(&late).await.refused(), RefusedReceipts::Late);
    late.receipts[0].decide_before = t.time.now();
    assert_eq!(t.decide(&late).await.refused(), RefusedReceipts::Late, "one late receipt is enough");
    assert_eq!(t.ledger.find_visible(Viewer::Public, content(1).sha1).await.unwrap(), None);
    assert_eq!(t.decide(&in_time).await, decided);
}

pub async fn receipts_that_do_not_fit_are_refused(t: Fixture) {
    let nodes = t.nodes(3).await;
    for few in [&[][..], &nodes[..1], &[nodes[0], nodes[0]]] {
        let upload = t.upload("a.txt", content(1), few);
        assert_eq!(t.decide(&upload).await.refused(), RefusedReceipts::TooFew);
    }
    let mut mixed = t.upload("a.txt", content(1), &nodes);
    mixed.receipts[2].digests = content(2);
    assert_eq!(t.decide(&mixed).await.refused(), RefusedReceipts::Mixed);
    assert_eq!(t.ledger.totals().await.unwrap(), Totals::default());
    // A refusal is no outcome: the same upload with better receipts is decided.
    mixed.receipts.pop();
    t.decide(&mixed).await.stored();
}

pub async fn known_content_is_a_duplicate_under_any_name(t: Fixture) {
    let nodes = t.nodes(4).await;
    let first = t.store("a.txt", content(1), &nodes[..2]).await;
    let totals = t.ledger.totals().await.unwrap();
    for (name, pair) in
        [("a.txt", &nodes[..2]), ("b.txt", &nodes[1..3]), ("c.txt", &nodes[2..]), ("d", &nodes[3..])]
    {
        let decided = t.decide(&t.upload(name, content(1), pair)).await.duplicate();
        assert_eq!(decided.keep, []);
        assert_eq!(decided.generation, first.generation);
        assert_eq!(decided.blob, first.blob);
        assert_eq!(decided.files, first.files);
    }
    assert_eq!(t.ledger.totals().await.unwrap(), totals);
    let named = FileName::parse("b.txt").unwrap();
    assert_eq!(t.ledger.file_named(Viewer::Public, content(1).sha1, &named).await.unwrap(), None);
}

pub async fn another_content_of_the_same_sha1_is_a_conflict(t: Fixture) {
    let nodes = t.nodes(2).await;
    t.store("a.txt", content(1), &nodes).await;
    let totals = t.ledger.totals().await.unwrap();
    let (mut other_hash, mut other_size) = (content(1), content(1));
    other_hash.sha256 = Sha256::new([9; 32]);
    other_size.size = 2;
    for other in [other_hash, other_size] {
        let upload = t.upload("b.txt", other, &nodes);
        assert_eq!(t.decide(&upload).await, Decision::Conflict(content(1)));
    }
    assert_eq!(t.ledger.totals().await.unwrap(), totals);
}

pub async fn one_of_many_uploads_of_one_content_is_stored(t: Fixture) {
    let nodes = t.nodes(5).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..40 {
        // Pairs that share two, one and no nodes.
        let pair = [nodes[i % 5], nodes[(i + 1 + i / 5 % 3) % 5]];
        let upload = t.upload(&format!("{i}.txt"), content(1), &pair);
        let ledger = t.ledger.clone();
        tasks.spawn(async move { ledger.decide_upload(upload).await.unwrap() });
    }
    let (mut winners, mut losers) = (Vec::new(), Vec::new());
    for decision in tasks.join_all().await {
        match decision {
            Decision::Stored(decided) => winners.push(decided),
            other => losers.push(other.duplicate()),
        }
    }
    assert_eq!((winners.len(), losers.len()), (1, 39));
    for loser in losers {
        assert_eq!((loser.keep, loser.blob), (vec![], winners[0].blob.clone()));
    }
    let totals = t.ledger.totals().await.unwrap();
    assert_eq!((totals.files, totals.blobs, totals.pending_replicas), (1, 1, 2));
}

pub async fn many_decisions_at_once_are_all_kept(mut t: Fixture) {
    const UPLOADS: u64 = 1000;
    let nodes = t.nodes(4).await;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..UPLOADS {
        // Some fail among those that succeed.
        let prepared =
            if i % 10 == 9 { vec![nodes[0], NodeId::from_bytes([0xFF; 16])] } else { nodes.clone() };
        let upload = t.upload(&format!("{i}.txt"), content(i), &prepared);
        let ledger = t.ledger.clone();
        tasks.spawn(async move { (i, ledger.decide_upload(upload).await) });
    }
    let mut generations = BTreeSet::new();
    for (i, decision) in tasks.join_all().await {
        if i % 10 == 9 {
            assert!(matches!(decision, Err(LedgerError::Damaged(_))), "{decision:?}");
        } else {
            let decided = decision.unwrap().stored();
            assert_eq!(decided.blob.file.name.as_str(), format!("{i}.txt"));
            assert!(generations.insert(decided.generation), "a generation is drawn once");
        }
    }
    t.reopen().await;
    let totals = t.ledger.totals().await.unwrap();
    let kept = UPLOADS / 10 * 9;
    assert_eq!((totals.files, totals.blobs, totals.pending_replicas), (kept, kept, 2 * kept));
    for i in 0..UPLOADS {
        let found = t.ledger.find_visible(Viewer::Public, content(i).sha1).await.unwrap();
        assert_eq!(found.is_some(), i % 10 != 9, "{i}");
    }
}

pub async fn a_receipt_of_an_unknown_node_records_nothing(t: Fixture) {
    let nodes = t.nodes(1).await;
    let upload = t.upload("a.txt", content(1), &[nodes[0], NodeId::from_bytes([0xFF; 16])]);
    let error = t.ledger.decide_upload(upload).await.unwrap_err();
    assert!(matches!(&error, LedgerError::Damaged(what) if what.contains("unknown node")), "{error}");
    assert_eq!(t.ledger.totals().await.unwrap(), Totals::default());
    assert_eq!(t.ledger.sizes_seen(Viewer::Public, &[1]).await.unwrap(), [false]);
}

pub async fn everything_is_there_after_a_restart(mut t: Fixture) {
    let nodes = t.nodes(2).await;
    let upload = t.upload("a.txt", content(1), &nodes);
    let decision = t.decide(&upload).await;
    let (cluster, totals) = (t.ledger.cluster(), t.ledger.totals().await.unwrap());
    let (blob, known) = (t.blob(content(1)).await, t.ledger.nodes().await.unwrap());
    t.reopen().await;
    assert_eq!(t.ledger.cluster(), cluster);
    assert_eq!(t.ledger.totals().await.unwrap(), totals);
    assert_eq!(t.ledger.nodes().await.unwrap(), known);
    assert_eq!(t.blob(content(1)).await, blob);
    assert_eq!(t.decide(&upload).await, decision);
    let next = t.store("b.txt", content(2), &nodes).await;
    assert!(next.generation > blob.generation, "generations go on rising");
}
