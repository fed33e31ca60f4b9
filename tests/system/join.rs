//! Who may become a node, and with what.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use closeby::role::node::Node;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Cluster, Options, poll};

fn small() -> Options {
    Options { places: vec!["toronto", "amsterdam"], ..Options::default() }
}

async fn nodes(cluster: &Cluster) -> Vec<Value> {
    let nodes: Value = cluster.get("/api/v1/nodes").send().await.unwrap().json().await.unwrap();
    nodes["nodes"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_join_secret_stays_outside() {
    let cluster = Cluster::with(small()).await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut config =
        cluster.node_config("singapore", cluster.scratch("stranger"), listener.local_addr().unwrap());
    config.join_secret = "another-secret-another-secret-another".parse().unwrap();
    let stop = CancellationToken::new();
    let node = tokio::spawn(Node::with_listener(config, listener).run(stop.clone()));
    // It knocks several times.
    let outcome = tokio::time::timeout(Duration::from_secs(3), node).await;
    assert_eq!(nodes(&cluster).await.len(), 2);
    stop.cancel();
    drop(outcome);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_id_comes_back_only_with_its_key() {
    let mut cluster = Cluster::with(small()).await;
    let before = nodes(&cluster).await;
    cluster.stop_node("toronto").await;
    cluster.start_node("toronto");
    cluster.wait_for_nodes(2).await;
    let ids = |nodes: &[Value]| nodes.iter().map(|node| node["id"].to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&before), ids(&nodes(&cluster).await), "the same folder is the same node");

    // The id without the key, with the right join secret all the same.
    let id: closeby::domain::NodeId = before[0]["id"].as_str().unwrap().parse().unwrap();
    let nonce = "00".repeat(32);
    let challenge = json!({ "protocol": 1, "node": id, "node_nonce": nonce });
    let challenge: Value =
        cluster.post("/cluster/v1/challenge").json(&challenge).send().await.unwrap().json().await.unwrap();
    let secret: closeby::tickets::JoinSecret = "join-secret-for-tests-join-secret-for-tests".parse().unwrap();
    let central_nonce = challenge["central_nonce"].as_str().unwrap();
    let proof =
        secret.prove(challenge["cluster"].as_str().unwrap().parse().unwrap(), id, &nonce, central_nonce);
    let join = |node: String, proof: &str| {
        let request = json!({
            "protocol": 1, "node": node, "node_nonce": nonce, "central_nonce": central_nonce, "proof": proof,
        });
        cluster.post("/cluster/v1/join").json(&request).send()
    };
    let refused = join(id.to_string(), &proof).await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert!(refused.text().await.unwrap().contains("key was not proved"));
    let refused = join(id.to_string(), &"0".repeat(64)).await.unwrap();
    assert!(refused.text().await.unwrap().contains("join secret"));
    let refused = join("0".repeat(32), &proof).await.unwrap();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN, "a challenge is for one node");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_without_a_right_signature_are_refused() {
    let cluster = Cluster::with(small()).await;
    let id = nodes(&cluster).await[0]["id"].as_str().unwrap().to_owned();
    for call in ["heartbeat", "outcome", "confirm"] {
        let bare = cluster.post(&format!("/cluster/v1/{call}")).body("{}").send().await.unwrap();
        assert_eq!(bare.status(), StatusCode::FORBIDDEN, "{call}");
        let signed = cluster
            .post(&format!("/cluster/v1/{call}"))
            .header("closeby-node", &id)
            .header("closeby-key", "1")
            .header("closeby-signature", "AAAA")
            .body("{}")
            .send()
            .await
            .unwrap();
        assert_eq!(signed.status(), StatusCode::FORBIDDEN, "{call}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_its_marker_is_refused() {
    let mut cluster = Cluster::with(small()).await;
    cluster.store("kept.txt", "kept").await;
    cluster.stop_node("toronto").await;
    let folder = cluster.node_dir("toronto");
    let marker = folder.join("marker.json");
    let kept = std::fs::read(&marker).unwrap();
    std::fs::remove_file(&marker).unwrap();
    let run = |cluster: &Cluster| {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let config = cluster.node_config("toronto", folder.clone(), listener.local_addr().unwrap());
        Node::with_listener(config, listener).run(CancellationToken::new())
    };
    let refused = tokio::time::timeout(Duration::from_secs(20), run(&cluster)).await.unwrap();
    let message = refused.unwrap_err().to_string();
    assert!(message.to_lowercase().contains("marker"), "{message}");
    // Another node's marker.
    std::fs::copy(cluster.node_dir("amsterdam").join("marker.json"), &marker).unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(20), run(&cluster)).await.unwrap().is_err());
    std::fs::write(&marker, kept).unwrap();
    cluster.start_node("toronto");
    cluster.wait_for_nodes(2).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_outside_the_networks_gets_no_byte() {
    let cluster = Cluster::with(small()).await;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let mut config =
        cluster.node_config("singapore", cluster.scratch("outside"), listener.local_addr().unwrap());
    config.internal_address = Some("169.254.169.254".parse().unwrap());
    let stop = CancellationToken::new();
    let node = tokio::spawn(Node::with_listener(config, listener).run(stop.clone()));
    let appeared = tokio::time::timeout(Duration::from_secs(3), async {
        poll("a third node", || async { (nodes(&cluster).await.len() > 2).then_some(()) }).await;
    })
    .await;
    assert!(appeared.is_err(), "it was admitted");
    stop.cancel();
    let _ = node.await;
    cluster.stop().await;
}
