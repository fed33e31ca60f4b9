//! The nodes.

use super::super::NodeWithCounts;
use super::{Fixture, content};
use crate::domain::{KeyId, Label, NodeId, Place};

pub async fn nodes_are_recorded_changed_and_listed_by_id(t: Fixture) {
    let ids = [9, 3, 0xF0].map(|byte| NodeId::from_bytes([byte; 16]));
    for id in ids {
        t.ledger.record_node(t.node(id)).await.unwrap();
    }
    let listed = || async { t.ledger.nodes().await.unwrap() };
    let order: Vec<NodeId> = listed().await.iter().map(|node| node.node.id).collect();
    assert_eq!(order, [ids[1], ids[0], ids[2]]);

    let blob = t.store_whole("a", content(100), &ids[..2]).await;
    assert_eq!(blob.keep, ids[..2]);
    t.ledger.set_node_out(ids[0], true).await.unwrap();
    t.ledger.set_node_out(NodeId::from_bytes([1; 16]), true).await.unwrap();
    let unknown = NodeId::from_bytes([1; 16]);
    assert_eq!(t.ledger.nodes_out(&[ids[1], unknown, ids[0]]).await.unwrap(), ids[..1]);
    let nodes = listed().await;
    assert_eq!(nodes.len(), 3, "a node that never joined is not made");
    assert_eq!(nodes.iter().map(|node| node.node.out).collect::<Vec<_>>(), [false, true, false]);
    assert_eq!(
        nodes.iter().map(|node| (node.replicas, node.bytes)).collect::<Vec<_>>(),
        [(1, 100), (1, 100), (0, 0)]
    );

    t.time.advance(std::time::Duration::from_secs(5));
    let mut changed = t.node(ids[0]);
    changed.key_id = KeyId(2);
    changed.place = Place::new("Nowhere", None, -12.5, 179.25).unwrap();
    changed.failure_domain = Label::parse("rack 2").unwrap();
    changed.public_url = "https://files.example".to_owned();
    changed.version = Label::parse("0.2.0").unwrap();
    changed.out = true;
    t.ledger.record_node(changed.clone()).await.unwrap();
    // It has beaten, so it is not out; its counters are not its own to say.
    changed.out = false;
    assert_eq!(listed().await[1], NodeWithCounts { node: changed, replicas: 1, bytes: 100 });
    t.ledger.set_node_out(ids[0], true).await.unwrap();
    t.ledger.set_node_out(ids[0], false).await.unwrap();
    assert!(!listed().await[1].node.out);
}
