//! Confirmations, losses, sessions that ask, outcomes that are forgotten.

use std::time::Duration;

use super::super::ReplicaState::{Bad, Pending, Stored};
use super::super::{PendingReplica, SessionOutcome};
use super::{DEADLINE, Fixture, content};
use crate::domain::{Generation, NodeId, UploadId};

const SECOND: Duration = Duration::from_secs(1);

pub async fn a_confirmation_makes_a_replica_stored_and_nothing_undoes_it(t: Fixture) {
    let nodes = t.nodes(3).await;
    let blob = content(1);
    let decided = t.store("a", blob, &nodes).await;
    let newer = Generation { epoch: decided.generation.epoch + 1, number: 0 };
    t.ledger.confirm_replica(blob.sha1, nodes[0], decided.generation).await.unwrap();
    t.ledger.confirm_replica(blob.sha1, nodes[1], newer).await.unwrap();
    assert_eq!(t.states(blob).await, [(nodes[0], Stored), (nodes[1], Stored)]);
    // Again, of a node without a replica, of a blob and a node that nobody knows: nothing.
    let totals = t.ledger.totals().await.unwrap();
    for (blob, node) in
        [(blob, nodes[0]), (blob, nodes[2]), (content(2), nodes[0]), (blob, NodeId::from_bytes([0xFF; 16]))]
    {
        t.ledger.confirm_replica(blob.sha1, node, newer).await.unwrap();
        if node != nodes[0] {
            t.ledger.mark_replica_bad(blob.sha1, node, newer).await.unwrap();
        }
    }
    assert_eq!(t.ledger.totals().await.unwrap(), totals);
    assert_eq!(t.blob(blob).await.generation, decided.generation);
}

pub async fn what_is_said_of_an_older_decision_changes_nothing(t: Fixture) {
    let nodes = t.nodes(2).await;
    let blob = content(1);
    let first = t.store_whole("a", blob, &nodes).await;
    t.spoil(blob, nodes[1]).await;
    let healed = t.decide(&t.upload("a", blob, &nodes)).await.duplicate();
    assert_eq!(healed.keep, [nodes[1]]);
    t.ledger.confirm_replica(blob.sha1, nodes[1], first.generation).await.unwrap();
    assert_eq!(t.states(blob).await[1], (nodes[1], Pending));
    t.ledger.mark_replica_bad(blob.sha1, nodes[1], first.generation).await.unwrap();
    assert_eq!(t.states(blob).await[1], (nodes[1], Pending));
    t.ledger.confirm_replica(blob.sha1, nodes[1], healed.generation).await.unwrap();
    assert_eq!(t.states(blob).await[1], (nodes[1], Stored));
}

pub async fn a_bad_replica_can_be_confirmed_again(t: Fixture) {
    let nodes = t.nodes(2).await;
    let blob = content(1);
    let decided = t.store_whole("a", blob, &nodes).await;
    t.spoil(blob, nodes[0]).await;
    t.spoil(blob, nodes[0]).await;
    assert_eq!(t.states(blob).await[0], (nodes[0], Bad));
    t.ledger.confirm_replica(blob.sha1, nodes[0], decided.generation).await.unwrap();
    assert_eq!(t.states(blob).await[0], (nodes[0], Stored));
}

pub async fn a_session_is_finished_kept_or_aborted(t: Fixture) {
    let nodes = t.nodes(3).await;
    let blob = content(1);
    let upload = t.upload("a", blob, &nodes);
    let decide_before = upload.receipts[0].decide_before;
    let ask =
        |upload: UploadId, node: NodeId| t.ledger.session_outcome(upload, node, blob.sha1, decide_before);
    assert_eq!(ask(upload.upload, nodes[0]).await.unwrap(), SessionOutcome::Keep);
    let decided = t.decide(&upload).await.stored();
    let finish = SessionOutcome::Finish { generation: decided.generation, files: decided.files.clone() };
    for &node in &decided.keep {
        assert_eq!(ask(upload.upload, node).await.unwrap(), finish);
    }
    assert_eq!(ask(upload.upload, nodes[2]).await.unwrap(), SessionOutcome::Abort, "decided without it");
    // Of another upload that may still be decided.
    let other = UploadId::random();
    assert_eq!(ask(other, nodes[0]).await.unwrap(), SessionOutcome::Keep);
    t.time.advance(DEADLINE);
    assert_eq!(ask(other, nodes[0]).await.unwrap(), SessionOutcome::Keep);
    t.time.advance(Duration::from_millis(1));
    assert_eq!(ask(other, nodes[0]).await.unwrap(), SessionOutcome::Abort);
    // Finished or not, the session that won is never aborted.
    t.ledger.confirm_replica(blob.sha1, nodes[0], decided.generation).await.unwrap();
    for &node in &decided.keep {
        assert_eq!(ask(upload.upload, node).await.unwrap(), finish);
    }
}

pub async fn sessions_of_losers_are_aborted_at_once(t: Fixture) {
    let nodes = t.nodes(3).await;
    let blob = content(1);
    t.store("a", blob, &nodes[..2]).await;
    let loser = t.upload("b", blob, &nodes[1..]);
    t.decide(&loser).await.duplicate();
    for receipt in &loser.receipts {
        let outcome = t
            .ledger
            .session_outcome(loser.upload, receipt.node, blob.sha1, receipt.decide_before)
            .await
            .unwrap();
        assert_eq!(outcome, SessionOutcome::Abort);
    }
}

pub async fn a_nodes_pending_replicas_come_oldest_first_once_they_are_old(t: Fixture) {
    let nodes = t.nodes(2).await;
    let mut expected = Vec::new();
    for number in 1..=3 {
        let upload = t.upload("a", content(number), &nodes);
        let decided = t.decide(&upload).await.stored();
        expected.push(PendingReplica {
            node: nodes[0],
            upload: upload.upload,
            digests: content(number),
            generation: decided.generation,
            files: decided.files.clone(),
        });
        t.time.advance(SECOND);
    }
    let pending = |node, age: u32, limit| t.ledger.pending_replicas(node, SECOND * age, limit);
    assert_eq!(pending(nodes[0], 0, 100).await.unwrap(), expected);
    assert_eq!(t.ledger.load().await.unwrap().oldest_pending, SECOND * 3);
    assert_eq!(pending(nodes[0], 2, 100).await.unwrap(), expected[..2]);
    assert_eq!(pending(nodes[0], 4, 100).await.unwrap(), []);
    assert_eq!(pending(nodes[0], 0, 1).await.unwrap(), expected[..1]);
    let first = expected[0].generation;
    t.ledger.confirm_replica(content(1).sha1, nodes[0], first).await.unwrap();
    t.ledger.mark_replica_bad(content(1).sha1, nodes[1], first).await.unwrap();
    assert_eq!(pending(nodes[0], 0, 100).await.unwrap(), expected[1..]);
    assert_eq!(t.ledger.load().await.unwrap().oldest_pending, SECOND * 2);
    let others: Vec<_> =
        expected[1..].iter().map(|replica| PendingReplica { node: nodes[1], ..replica.clone() }).collect();
    assert_eq!(pending(nodes[1], 0, 100).await.unwrap(), others);
    assert_eq!(pending(NodeId::from_bytes([9; 16]), 0, 100).await.unwrap(), []);
    for number in 2..=3 {
        for node in &nodes {
            let generation = expected[number - 1].generation;
            t.ledger.confirm_replica(expected[number - 1].digests.sha1, *node, generation).await.unwrap();
        }
    }
    assert_eq!(t.ledger.load().await.unwrap().oldest_pending, Duration::ZERO);
}

pub async fn outcomes_are_forgotten_when_they_are_old(t: Fixture) {
    let nodes = t.nodes(2).await;
    let mut uploads = Vec::new();
    for number in 1..=3 {
        let upload = t.upload("a", content(number), &nodes);
        t.decide(&upload).await.stored();
        uploads.push(upload);
        t.time.advance(SECOND);
    }
    let forget = |age: u32, limit| t.ledger.forget_outcomes(SECOND * age, limit);
    assert_eq!(forget(3, 100).await.unwrap(), 0, "as old as that, not older");
    assert_eq!(forget(0, 1).await.unwrap(), 1);
    // Forgotten: the same content is met as anybody's. Remembered: the answer is the same.
    t.decide(&uploads[0]).await.duplicate();
    t.decide(&uploads[1]).await.stored();
    assert_eq!(forget(1, 100).await.unwrap(), 1);
    t.time.advance(SECOND);
    assert_eq!(forget(0, 100).await.unwrap(), 2);
    assert_eq!(t.ledger.totals().await.unwrap().files, 3, "the files stay");
}
