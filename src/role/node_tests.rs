#![allow(clippy::unwrap_used)]

use std::path::Path;

use rustix::fs::FlockOperation;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::*;
use crate::cluster::http::http_client;
use crate::cluster::testing::{FakeCentral, join_secret};
use crate::config::{NodeLimits, Secret, Stop};
use crate::domain::Place;
use crate::wire::node::NodeStatus;

fn config(central: &FakeCentral, data: &Path) -> NodeConfig {
    let place = Place::city("toronto").unwrap();
    NodeConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        public_url: "http://127.0.0.1:1".parse().unwrap(),
        data: data.to_owned(),
        central_url: central.url.clone(),
        ca_file: None,
        cluster_tls: true,
        join_secret: Secret { value: join_secret().into(), file: None },
        failure_domain: place.name.clone(),
        place,
        tls: None,
        stop: Stop { unready: Duration::ZERO, drain: Duration::from_secs(3) },
        internal_address: None,
        reserve_bytes: 0,
        limits: NodeLimits::default(),
    }
}

const PATIENCE: Duration = Duration::from_mins(1);

async fn until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "it did not come about");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn status(address: SocketAddr) -> Option<NodeStatus> {
    reqwest::Client::builder()
        .no_proxy()
        .build()
        .ok()?
        .get(format!("http://{address}/n/v1/status"))
        .send()
        .await
        .ok()?
        .json()
        .await
        .ok()
}

/// Ends a node. A worker of its server can let go of the folder a moment after it has ended.
async fn end(dir: &Path, stop: &CancellationToken, running: JoinHandle<Result<(), NodeError>>) {
    stop.cancel();
    running.await.unwrap().unwrap();
    let lock = std::fs::File::open(dir.join("lock")).unwrap();
    until(|| rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok()).await;
}

#[tokio::test]
async fn a_node_joins_beats_and_says_goodbye() {
    let (central, dir) = (FakeCentral::start(), tempfile::tempdir().unwrap());
    http_client().unwrap();
    let (mut ids, mut ends) = (vec![], vec![]);
    for starts in 1..=2 {
        let node = Node::bind(config(&central, dir.path())).unwrap();
        let address = node.address().unwrap();
        let stop = CancellationToken::new();
        let running = tokio::spawn(node.run(stop.clone()));
        let before = central.script().beats.len();
        until(|| central.script().beats.len() > before).await;
        let beat = central.script().beats[before].clone();
        assert_eq!(beat.internal_port, address.port());
        // Central has the beat before the node has its answer.
        let joined = async {
            loop {
                if let Some(status) = status(address).await.filter(|status| status.joined) {
                    break status;
                }
            }
        };
        assert_eq!(tokio::time::timeout(PATIENCE, joined).await.unwrap().node, beat.node);
        ids.push(beat.node);
        let begin = Instant::now();
        end(dir.path(), &stop, running).await;
        ends.push(begin.elapsed());
        assert!(central.script().beats.last().unwrap().goodbye);
        assert_eq!(central.script().joins.len(), 1, "after start {starts}");
        assert!(status(address).await.is_none());
    }
    assert_eq!(ids[0], ids[1]);
    // A busy machine may have stopped for a moment in one of them.
    assert!(ends.iter().any(|end| *end < Duration::from_secs(5)), "{ends:?}");
}

#[tokio::test]
async fn a_known_node_serves_without_central_and_a_new_one_waits() {
    let (central, dir) = (FakeCentral::start(), tempfile::tempdir().unwrap());
    http_client().unwrap();
    let known = config(&central, dir.path());
    let stop = CancellationToken::new();
    let running = tokio::spawn(Node::bind(known.clone()).unwrap().run(stop.clone()));
    until(|| !central.script().beats.is_empty()).await;
    end(dir.path(), &stop, running).await;
    central.stop().await;

    let stop = CancellationToken::new();
    let node = Node::bind(known).unwrap();
    let address = node.address().unwrap();
    let running = tokio::spawn(node.run(stop.clone()));
    let found = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(status) = status(address).await {
                break status;
            }
        }
    });
    assert!(!found.await.unwrap().joined);
    stop.cancel();
    running.await.unwrap().unwrap();

    let other = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let running = tokio::spawn(Node::bind(config(&central, other.path())).unwrap().run(stop.clone()));
    stop.cancel();
    running.await.unwrap().unwrap();
    assert!(!other.path().join("identity.json").exists());
}

#[tokio::test]
async fn a_folder_that_lost_its_marker_is_refused() {
    let (central, dir) = (FakeCentral::start(), tempfile::tempdir().unwrap());
    let stop = CancellationToken::new();
    let running = tokio::spawn(Node::bind(config(&central, dir.path())).unwrap().run(stop.clone()));
    until(|| !central.script().beats.is_empty()).await;
    stop.cancel();
    running.await.unwrap().unwrap();
    std::fs::remove_file(dir.path().join("marker.json")).unwrap();
    let result = Node::bind(config(&central, dir.path())).unwrap().run(CancellationToken::new()).await;
    assert!(matches!(result, Err(NodeError::Store(OpenError::Unmarked))), "{result:?}");
}
