//! Uploads of known content of which copies are missing.

use super::super::ReplicaState::{Bad, Pending, Stored};
use super::{DecideUpload, Fixture, content};
use crate::domain::NodeId;

pub async fn a_whole_blob_takes_nothing(t: Fixture) {
    let nodes = t.nodes(4).await;
    let first = t.store(" ", content(1), &nodes[..2]).await;
    // Pending replicas count: their bytes are synced on their nodes.
    for pair in [&nodes[..2], &nodes[1..3], &nodes[2..]] {
        assert_eq!(t.decide(&t.upload("b", content(1), pair)).await.duplicate().keep, []);
    }
    assert_eq!(t.blob(content(1)).await, first.blob);
}

pub async fn a_bad_replica_is_filled_for_pairs_that_share_two_one_and_no_nodes(t: Fixture) {
    let nodes = t.nodes(5).await;
    let [a, b, c, d, e] = [nodes[0], nodes[1], nodes[2], nodes[3], nodes[4]];
    // The blob is on a and b, and b's copy is bad: who sends, who is kept, what is there then.
    type Case<'a> = (&'a [NodeId], &'a [NodeId], &'a [(NodeId, super::ReplicaState)]);
    let cases: [Case<'_>; 7] = [
        (&[a, b], &[b], &[(a, Stored), (b, Pending)]),
        (&[b, a], &[b], &[(a, Stored), (b, Pending)]),
        (&[b, c], &[b], &[(a, Stored), (b, Pending)]),
        (&[c, b], &[c], &[(a, Stored), (b, Bad), (c, Pending)]),
        (&[a, c], &[c], &[(a, Stored), (b, Bad), (c, Pending)]),
        (&[d, e], &[d], &[(a, Stored), (b, Bad), (d, Pending)]),
        (&[a], &[], &[(a, Stored), (b, Bad)]),
    ];
    for (number, (senders, keep, after)) in (1..).zip(cases) {
        let blob = content(number);
        let first = t.store_whole("a.txt", blob, &[a, b]).await;
        t.spoil(blob, b).await;
        let upload = t.upload("b.txt", blob, senders);
        let healed = t.decide(&upload).await.duplicate();
        assert_eq!(healed.keep, keep, "{number}");
        assert_eq!(t.states(blob).await, after, "{number}");
        assert_eq!(healed.generation > first.generation, !keep.is_empty(), "{number}");
        assert_eq!(healed.blob.generation, healed.generation, "{number}");
        assert_eq!(healed.files, first.files, "no file is recorded");
        for replica in healed.blob.replicas {
            let new = keep.contains(&replica.node);
            assert_eq!(replica.upload == upload.upload, new, "{number}");
            assert_eq!(replica.generation == first.generation, !new, "{number}");
        }
    }
}

pub async fn two_bad_replicas_are_filled_for_pairs_that_share_two_one_and_no_nodes(t: Fixture) {
    let nodes = t.nodes(4).await;
    let [a, b, c, d] = [nodes[0], nodes[1], nodes[2], nodes[3]];
    for (number, senders) in (1..).zip([[a, b], [b, a], [b, c], [c, d]]) {
        let blob = content(number);
        t.store_whole("a.txt", blob, &[a, b]).await;
        t.spoil(blob, a).await;
        t.spoil(blob, b).await;
        // One receipt fills one.
        let one = t.decide(&t.upload("b", blob, &senders[..1])).await.duplicate();
        assert_eq!(one.keep, senders[..1]);
        let two = t.decide(&t.upload("b", blob, &senders)).await.duplicate();
        assert_eq!(two.keep, senders[1..]);
        assert!(two.generation > one.generation);
        let usable = two.blob.replicas.iter().filter(|replica| replica.is_usable());
        assert_eq!(usable.count(), 2);
        assert_eq!(t.decide(&t.upload("b", blob, &[c, d])).await.duplicate().keep, []);
    }
}

pub async fn a_replica_on_a_node_that_is_out_is_replaced_and_stays_known(t: Fixture) {
    let nodes = t.nodes(4).await;
    let blob = content(1);
    t.store_whole("a.txt", blob, &nodes[..2]).await;
    t.ledger.set_node_out(nodes[1], true).await.unwrap();
    let healed = t.decide(&t.upload("b", blob, &nodes[2..])).await.duplicate();
    assert_eq!(healed.keep, [nodes[2]]);
    assert_eq!(t.states(blob).await, [(nodes[0], Stored), (nodes[1], Stored), (nodes[2], Pending)]);
    assert!(healed.blob.replicas[1].node_out && !healed.blob.replicas[1].is_usable());
    // It comes back: three copies, and nothing is wanted.
    t.ledger.record_node(t.node(nodes[1])).await.unwrap();
    assert!(t.blob(blob).await.replicas[1].is_usable());
    assert_eq!(t.decide(&t.upload("b", blob, &nodes[2..])).await.duplicate().keep, []);
}

pub async fn a_node_that_is_out_and_sends_again_is_filled(t: Fixture) {
    let nodes = t.nodes(3).await;
    let blob = content(1);
    t.store_whole("a.txt", blob, &nodes[..2]).await;
    t.ledger.set_node_out(nodes[1], true).await.unwrap();
    let healed = t.decide(&t.upload("b", blob, &nodes[1..])).await.duplicate();
    assert_eq!(healed.keep, [nodes[1]]);
    assert_eq!(t.states(blob).await, [(nodes[0], Stored), (nodes[1], Pending)]);
}

pub async fn healing_repeats_its_answer(t: Fixture) {
    let nodes = t.nodes(4).await;
    let blob = content(1);
    t.store_whole("a.txt", blob, &nodes[..2]).await;
    t.spoil(blob, nodes[0]).await;
    let upload = t.upload("b", blob, &nodes[2..]);
    let healed = t.decide(&upload).await;
    assert_eq!(t.decide(&upload).await, healed);
    // Also when the world has moved on: the decision is what it was, the blob as it is now.
    t.spoil(blob, nodes[2]).await;
    let again = t.decide(&upload).await.duplicate();
    assert_eq!((again.keep, again.generation), (vec![nodes[2]], healed.duplicate().generation));
    assert_eq!(t.states(blob).await[2], (nodes[2], Bad));
}

pub async fn a_blob_that_no_answering_node_has_is_filled_by_the_upload(t: Fixture) {
    let nodes = t.nodes(5).await;
    let blob = content(1);
    t.store_whole("a.txt", blob, &nodes[..2]).await;
    // One copy answers: nothing is missing that cannot wait.
    let one = DecideUpload { answering: nodes[1..4].to_vec(), ..t.upload("b", blob, &nodes[2..4]) };
    assert_eq!(t.decide(&one).await.duplicate().keep, []);
    // None does: the upload stands in for both, which stay known.
    let none = DecideUpload { answering: nodes[2..].to_vec(), ..t.upload("b", blob, &nodes[2..4]) };
    assert_eq!(t.decide(&none).await.duplicate().keep, nodes[2..4]);
    assert_eq!(t.states(blob).await.len(), 4);
    let next = DecideUpload { answering: nodes[2..].to_vec(), ..t.upload("c", blob, &nodes[3..]) };
    assert_eq!(t.decide(&next).await.duplicate().keep, [], "pending copies count");
}
