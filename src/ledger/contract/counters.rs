//! The counters, against what they count.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::super::{FileOrder, ReplicaState, Totals};
use super::{Fixture, content};
use crate::domain::{Generation, NodeId, Viewer};

const BLOBS: u64 = 12;

pub async fn the_counters_are_what_is_there_after_anything(mut t: Fixture) {
    let nodes = t.nodes(5).await;
    for seed in 0..4 {
        let mut rng = StdRng::seed_from_u64(seed);
        for _ in 0..150 {
            anything(&t, &nodes, &mut rng).await;
        }
        check(&t).await;
        t.reopen().await;
        check(&t).await;
    }
    assert!(t.ledger.totals().await.unwrap().bad_replicas > 0, "the sequence reaches every state");
}

async fn anything(t: &Fixture, nodes: &[NodeId], rng: &mut StdRng) {
    let digests = content(rng.random_range(1..=BLOBS));
    let node = nodes[rng.random_range(0..nodes.len())];
    let other = nodes[rng.random_range(0..nodes.len())];
    let known = t.ledger.find_visible(Viewer::Public, digests.sha1).await.unwrap();
    let newest = known.map_or(Generation { epoch: 1, number: 1 }, |blob| blob.generation);
    let generation = Generation { number: newest.number.saturating_sub(rng.random_range(0..3)), ..newest };
    match rng.random_range(0..10) {
        0..4 => {
            let upload = t.upload("a", digests, &[node, other]);
            t.decide(&upload).await;
            if rng.random_bool(0.3) {
                t.decide(&upload).await;
            }
        }
        4..6 => t.ledger.confirm_replica(digests.sha1, node, generation).await.unwrap(),
        6..8 => t.ledger.mark_replica_bad(digests.sha1, node, generation).await.unwrap(),
        8 => t.ledger.set_node_out(node, rng.random_bool(0.5)).await.unwrap(),
        _ => drop(t.ledger.forget_outcomes(std::time::Duration::ZERO, 3).await.unwrap()),
    }
}

async fn check(t: &Fixture) {
    let mut counted = Totals::default();
    let mut of_nodes = BTreeMap::<NodeId, (u64, u64)>::new();
    counted.files =
        t.ledger.list_files(Viewer::Public, "", FileOrder::Newest, None, 1000).await.unwrap().items.len()
            as u64;
    for number in 1..=BLOBS {
        let Some(blob) = t.ledger.find_visible(Viewer::Public, content(number).sha1).await.unwrap() else {
            continue;
        };
        counted.blobs += 1;
        counted.bytes += blob.digests.size;
        for replica in blob.replicas {
            match replica.state {
                ReplicaState::Pending => counted.pending_replicas += 1,
                ReplicaState::Bad => counted.bad_replicas += 1,
                ReplicaState::Stored => {
                    counted.stored_replicas += 1;
                    let (replicas, bytes) = of_nodes.entry(replica.node).or_default();
                    *replicas += 1;
                    *bytes += blob.digests.size;
                }
            }
        }
    }
    assert_eq!(t.ledger.totals().await.unwrap(), counted);
    for node in t.ledger.nodes().await.unwrap() {
        let counted = of_nodes.get(&node.node.id).copied().unwrap_or_default();
        assert_eq!((node.replicas, node.bytes), counted);
    }
}
