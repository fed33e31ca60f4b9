//! What is hard to see over HTTP: bounds, drops, and sessions that central settles.

#![allow(clippy::unwrap_used)]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use super::testing::{GENERATION, TestNode, content};
use super::{NodeError, ServiceLimits};
use crate::blobs::BlobError;
use crate::cluster::agent::{Agent, AgentOptions};
use crate::cluster::clock::LedgerClock;
use crate::cluster::http::http_client;
use crate::cluster::identity::IdentityFile;
use crate::cluster::keys::{SharedKeys, SharedSecret};
use crate::cluster::testing::{FakeCentral, join_secret};
use crate::domain::{Label, Place, UploadId};
use crate::tickets::{CallTicket, Operation};
use crate::wire::PROTOCOL;
use crate::wire::cluster::OutcomeAnswer;
use crate::wire::node::FinishRequest;

const LEFT_AT_MOST: Duration = Duration::from_secs(30);

fn ok(bytes: &[u8]) -> Result<Bytes, Infallible> {
    Ok(Bytes::copy_from_slice(bytes))
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_nothing() {
    let node = TestNode::new().await;
    let upload = UploadId::random();
    let ticket = node.ticket(Operation::Write, Some(upload)).sign(&node.key);
    let bytes = stream::iter([ok(b"some")]).chain(stream::pending());
    let mut call = Box::pin(node.service.write(Some(&ticket), upload, Box::pin(bytes)));
    let begun = async {
        while node.sessions().await == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = &mut call => panic!("it has no end"),
        begun = tokio::time::timeout(LEFT_AT_MOST, begun) => begun.unwrap(),
    }
    drop(call);
    assert!(node.is_clean_within(LEFT_AT_MOST).await);
    node.service.close().await;
}

#[tokio::test]
async fn an_error_in_the_middle_leaves_nothing_and_is_no_end() {
    let node = TestNode::new().await;
    let upload = UploadId::random();
    let ticket = node.ticket(Operation::Write, Some(upload)).sign(&node.key);
    for before in [0, 1, 600 << 10, 2 << 20] {
        let chunks = [Ok(Bytes::from(content(before))), Err("gone")];
        let result = node.service.write(Some(&ticket), upload, stream::iter(chunks)).await;
        assert!(matches!(result, Err(NodeError::Interrupted)), "{before}");
        assert_eq!(node.sessions().await, 0);
    }
}

/// The sender gives as fast as it is asked; what it gave and is not on the disk yet is in
/// memory.
#[tokio::test]
async fn chunks_of_any_size_come_to_the_same() {
    let node = TestNode::new().await;
    let bytes = content(1_300_003);
    let expected = node.store(&bytes).await;
    for size in [1000, 65_536, 524_288, 1_300_003] {
        let upload = UploadId::random();
        let ticket = node.ticket(Operation::Write, Some(upload)).sign(&node.key);
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&asked);
        let chunks = stream::iter(bytes.chunks(size)).map(move |chunk| {
            counter.fetch_add(chunk.len(), Ordering::Relaxed);
            ok(chunk)
        });
        let receipt = node.service.write(Some(&ticket), upload, chunks).await.unwrap();
        assert_eq!(receipt.digests, expected);
        assert_eq!(asked.load(Ordering::Relaxed), bytes.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_sender_that_gives_nothing_is_cut() {
    let limits = ServiceLimits { sender_stalled_after: Duration::from_secs(30), ..ServiceLimits::default() };
    let node = TestNode::with(limits, |store| store).await;
    let upload = UploadId::random();
    let ticket = node.ticket(Operation::Write, Some(upload)).sign(&node.key);
    let begin = tokio::time::Instant::now();
    let bytes = stream::iter([ok(b"some")]).chain(stream::pending());
    let result = node.service.write(Some(&ticket), upload, Box::pin(bytes)).await;
    assert!(matches!(result, Err(NodeError::Stalled)));
    assert!(begin.elapsed() >= Duration::from_secs(30) && begin.elapsed() < Duration::from_secs(40));
}

#[tokio::test(start_paused = true)]
async fn a_slow_sender_keeps_its_session() {
    let node = TestNode::new().await;
    let upload = UploadId::random();
    let ticket =
        CallTicket { idle: Duration::from_millis(200), ..node.ticket(Operation::Write, Some(upload)) };
    let (is_slow, ticket) = (4 * ticket.idle, ticket.sign(&node.key));
    let rest = stream::once(async move {
        tokio::time::sleep(is_slow).await;
        ok(b"ness")
    });
    let bytes = Box::pin(stream::iter([ok(b"slow")]).chain(rest));
    let looking = async {
        loop {
            assert_eq!(node.service.expire_sessions().await.unwrap(), 0);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! {
        taken = node.service.write(Some(&ticket), upload, bytes) => {
            assert_eq!(taken.unwrap().digests.size, 8);
        }
        () = looking => {}
    }
}

/// A node with an agent that has joined a fake central.
async fn joined(node: &TestNode, central: &FakeCentral) -> Agent {
    let options = AgentOptions {
        central_url: central.url.clone(),
        join_secret: SharedSecret::new(join_secret().into()),
        place: Place::city("toronto").unwrap(),
        failure_domain: Label::parse("one").unwrap(),
        public_url: "http://node.example:81".parse().unwrap(),
        internal_port: 81,
        internal_address: None,
        tls_port: None,
        version: Label::parse("1").unwrap(),
    };
    let file = IdentityFile::new(node.dir.path());
    let agent =
        Agent::new(options, http_client().unwrap(), file, SharedKeys::new(), LedgerClock::new()).unwrap();
    agent.join().await.unwrap();
    agent
}

#[tokio::test]
async fn central_settles_prepared_sessions() {
    let (node, central) = (TestNode::new().await, FakeCentral::start());
    let agent = joined(&node, &central).await;
    let (upload, prepared) = node.prepare(b"content").await;
    let sha1 = prepared.digests.sha1;

    // Not quiet for long enough: not asked.
    assert_eq!(node.service.settle(&agent, Duration::from_hours(1)).await.unwrap(), 0);
    assert!(central.script().outcomes.is_empty());

    // Keep: kept.
    assert_eq!(node.service.settle(&agent, Duration::ZERO).await.unwrap(), 0);
    assert_eq!(node.sessions().await, 1);
    {
        let script = central.script();
        let [asked] = &script.outcomes[..] else { panic!() };
        assert_eq!((asked.upload, asked.sha1, asked.decide_before), (upload, sha1, prepared.decide_before));
    }

    // A decision on other content is not ours.
    let finish = FinishRequest { protocol: PROTOCOL, sha1, generation: GENERATION, files: vec![] };
    let other = FinishRequest { sha1: crate::domain::Sha1::new([0; 20]), ..finish.clone() };
    central.script().outcome = OutcomeAnswer::Finish(other);
    assert_eq!(node.service.settle(&agent, Duration::ZERO).await.unwrap(), 0);
    assert_eq!(node.sessions().await, 1);

    // Finished; central hears of it as soon as it listens.
    central.script().outcome = OutcomeAnswer::Finish(finish);
    central.script().refuses_confirms = true;
    assert_eq!(node.service.settle(&agent, Duration::ZERO).await.unwrap(), 1);
    assert!(node.store.open_blob(sha1).await.is_ok());
    assert!(central.script().confirms.is_empty());
    central.script().refuses_confirms = false;
    for _ in 0..2 {
        assert_eq!(node.service.settle(&agent, Duration::ZERO).await.unwrap(), 0);
        let script = central.script();
        let [confirmed] = &script.confirms[..] else { panic!() };
        assert_eq!((confirmed.sha1, confirmed.generation), (sha1, GENERATION));
    }

    // Aborted.
    let (_, other) = node.prepare(b"other").await;
    central.script().outcome = OutcomeAnswer::Abort;
    assert_eq!(node.service.settle(&agent, Duration::ZERO).await.unwrap(), 1);
    assert!(node.is_clean_within(LEFT_AT_MOST).await);
    assert!(matches!(node.store.open_blob(other.digests.sha1).await, Err(BlobError::NoBlob)));
}

#[tokio::test]
async fn without_centrals_word_a_prepared_session_is_kept() {
    let (node, central) = (TestNode::new().await, FakeCentral::start());
    let agent = joined(&node, &central).await;
    node.prepare(b"content").await;
    central.script().outcome = OutcomeAnswer::Abort;
    central.script().forges = true;
    assert_eq!(node.service.settle(&agent, Duration::ZERO).await.unwrap(), 0);
    assert_eq!(central.script().outcomes.len(), 1);
    central.stop().await;
    assert_eq!(node.service.settle(&agent, Duration::ZERO).await.unwrap(), 0);
    assert_eq!(node.sessions().await, 1);
}
