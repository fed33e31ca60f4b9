//! Central's and other nodes' calls.

use std::net::SocketAddr;

use reqwest::Method;

use super::{Served, code, serve, serve_node, session};
use crate::domain::{BlobDigests, FileId, FileName, MediaType, Sha1, Sha256, UploadId};
use crate::service::node::ServiceLimits;
use crate::service::node::testing::{GENERATION, START, TestNode, content};
use crate::tickets::{CallTicket, Operation, verify_receipt};
use crate::wire::PROTOCOL;
use crate::wire::cluster::{ProveAnswer, ProveRequest};
use crate::wire::node::{CopyRequest, FileOnBlob, FinishRequest, Inventory, NodeStatus, PrepareAnswer};

fn finish_request(sha1: Sha1) -> FinishRequest {
    let file = FileOnBlob {
        id: FileId::random(),
        revision: 1,
        name: FileName::parse("a.txt").unwrap(),
        media_type: MediaType::parse("text/plain"),
        at: START,
    };
    FinishRequest { protocol: PROTOCOL, sha1, generation: GENERATION, files: vec![file] }
}

async fn finish(node: &Served, upload: UploadId, sha1: Sha1) -> reqwest::Response {
    let body = serde_json::to_vec(&finish_request(sha1)).unwrap();
    let ticket = node.ticket(Operation::Finish, Some(upload)).with_body(&body);
    node.call(Method::POST, &format!("{}/finish", session(upload)), &ticket).body(body).send().await.unwrap()
}

async fn copy(to: &Served, from: &Served, upload: UploadId, digests: BlobDigests) -> reqwest::Response {
    copy_from(to, from, from.address, upload, digests).await
}

async fn copy_from(
    to: &Served,
    from: &Served,
    address: SocketAddr,
    upload: UploadId,
    digests: BlobDigests,
) -> reqwest::Response {
    let request = CopyRequest {
        protocol: PROTOCOL,
        source: format!("http://{address}"),
        source_tls: None,
        source_ticket: from.ticket(Operation::ReadSession, Some(upload)).sign(&from.key),
        digests,
    };
    let body = serde_json::to_vec(&request).unwrap();
    let ticket = to.ticket(Operation::Write, Some(upload)).with_body(&body);
    to.call(Method::POST, &format!("{}/copy", session(upload)), &ticket).body(body).send().await.unwrap()
}

#[tokio::test]
async fn what_is_written_and_finished_is_read() {
    let node = serve().await;
    for length in [0, 1, (256 << 10) - 1, 256 << 10, (512 << 10) + 1, (4 << 20) - 1, 4 << 20, (4 << 20) + 1] {
        let (upload, bytes) = (UploadId::random(), content(length));
        let answer = node.write(upload, bytes.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{length}");
        let receipt: PrepareAnswer = answer.json().await.unwrap();
        assert!(verify_receipt(&node.key, &receipt));
        assert_eq!(
            (receipt.node, receipt.upload, receipt.digests.size),
            (node.node.node, upload, length as u64)
        );
        // And a second for each 2 MiB that another node may have to copy.
        let within = 600 + length as u64 / (2 << 20);
        assert_eq!(receipt.decide_before.since(receipt.verified_at).as_secs(), within);

        let ticket = node.ticket(Operation::ReadSession, Some(upload));
        let read = node.call(Method::GET, &session(upload), &ticket).send().await.unwrap();
        assert_eq!(read.bytes().await.unwrap(), bytes, "{length}");

        let sha1 = receipt.digests.sha1;
        for _ in 0..2 {
            assert_eq!(finish(&node, upload, sha1).await.status(), 204);
        }
        let read = node.get(&node.link_to(&receipt.digests, "a.txt")).send().await.unwrap();
        assert_eq!(read.status(), 200);
        assert_eq!(read.bytes().await.unwrap(), bytes, "{length}");
        assert_eq!(node.sessions().await, 0);
    }
}

#[tokio::test]
async fn a_node_fills_a_session_from_another_ones() {
    let (from, to) = (serve().await, serve().await);
    let bytes = content((3 << 20) + 17);
    let upload = UploadId::random();
    let receipt: PrepareAnswer =
        from.write(upload, bytes.clone()).send().await.unwrap().json().await.unwrap();
    let copied: PrepareAnswer = copy(&to, &from, upload, receipt.digests).await.json().await.unwrap();
    assert!(verify_receipt(&to.key, &copied));
    assert_eq!((copied.digests, &copied.pieces), (receipt.digests, &receipt.pieces));
    assert_eq!(finish(&to, upload, receipt.digests.sha1).await.status(), 204);
    let read = to.get(&to.link_to(&receipt.digests, "x")).send().await.unwrap();
    assert_eq!(read.bytes().await.unwrap(), bytes);
}

#[tokio::test]
async fn a_copy_that_fails_leaves_nothing() {
    let (from, to) = (serve().await, serve().await);
    let (upload, prepared) = from.prepare(b"content").await;
    // The source has other content than was announced, of the same size or of another.
    for digests in [
        BlobDigests { sha1: Sha1::new([0; 20]), ..prepared.digests },
        BlobDigests { sha256: Sha256::new([0; 32]), ..prepared.digests },
        BlobDigests { size: 6, ..prepared.digests },
        BlobDigests { size: 8, ..prepared.digests },
    ] {
        assert_eq!(code(copy(&to, &from, upload, digests).await).await, (502, "bad-gateway".into()));
        assert_eq!(to.sessions().await, 0);
    }
    // The source has no such session.
    let other = UploadId::random();
    assert_eq!(copy(&to, &from, other, prepared.digests).await.status(), 502);
    // Nobody is there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert_eq!(copy_from(&to, &from, nobody, upload, prepared.digests).await.status(), 502);
    assert_eq!(to.sessions().await, 0);
}

#[tokio::test]
async fn a_second_upload_of_one_id_is_refused_and_the_first_one_stays() {
    let node = serve().await;
    let upload = UploadId::random();
    assert_eq!(node.write(upload, "one").send().await.unwrap().status(), 200);
    let again = node.write(upload, "two").send().await.unwrap();
    assert_eq!(code(again).await, (409, "conflict".into()));
    let ticket = node.ticket(Operation::ReadSession, Some(upload));
    let read = node.call(Method::GET, &session(upload), &ticket).send().await.unwrap();
    assert_eq!(read.text().await.unwrap(), "one");
}

#[tokio::test]
async fn an_upload_of_another_size_than_permitted_leaves_nothing() {
    let node = serve().await;
    let upload = UploadId::random();
    for (limit_bytes, declared_bytes, expected) in [
        (9, None, (413, "too-large")),
        (9, Some(10), (413, "too-large")),
        (100, Some(9), (413, "too-large")),
        (100, Some(11), (400, "incomplete")),
    ] {
        let ticket =
            CallTicket { limit_bytes, declared_bytes, ..node.ticket(Operation::Write, Some(upload)) };
        let answer =
            node.call(Method::PUT, &session(upload), &ticket).body("0123456789").send().await.unwrap();
        assert_eq!(code(answer).await, (expected.0, expected.1.to_owned()));
        assert!(node.is_clean_within(std::time::Duration::from_secs(5)).await);
    }
    let ticket = CallTicket { declared_bytes: Some(10), ..node.ticket(Operation::Write, Some(upload)) };
    let answer = node.call(Method::PUT, &session(upload), &ticket).body("0123456789").send().await.unwrap();
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn an_abort_ends_a_session_and_can_be_repeated() {
    let node = serve().await;
    let upload = UploadId::random();
    node.write(upload, "bytes").send().await.unwrap();
    let ticket = node.ticket(Operation::Abort, Some(upload));
    for _ in 0..2 {
        let answer = node.call(Method::DELETE, &session(upload), &ticket).send().await.unwrap();
        assert_eq!(answer.status(), 204);
        assert_eq!(node.sessions().await, 0);
    }
    let read = node.ticket(Operation::ReadSession, Some(upload));
    let answer = node.call(Method::GET, &session(upload), &read).send().await.unwrap();
    assert_eq!(code(answer).await, (404, "no-session".into()));
    assert_eq!(code(finish(&node, upload, Sha1::new([1; 20])).await).await, (404, "no-session".into()));
}

#[tokio::test]
async fn the_inventory_comes_in_pages() {
    let node = serve().await;
    let mut expected = vec![];
    for n in 0..5_u8 {
        expected.push(node.store(&[n]).await.sha1);
    }
    expected.sort_unstable();
    let ticket = node.ticket(Operation::Inventory, None);
    let (mut found, mut after) = (vec![], String::new());
    loop {
        let path = format!("/n/v1/inventory?limit=2{after}");
        let page: Inventory =
            node.call(Method::GET, &path, &ticket).send().await.unwrap().json().await.unwrap();
        assert!(page.blobs.len() <= 2 && page.node == node.node.node);
        found.extend(page.blobs.into_iter().map(|blob| blob.digests.sha1));
        let Some(next) = page.next else { break };
        after = format!("&after={next}");
    }
    assert_eq!(found, expected);
    for query in ["limit=x", "after=x", "before=1"] {
        let answer =
            node.call(Method::GET, &format!("/n/v1/inventory?{query}"), &ticket).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{query}");
    }
}

#[tokio::test]
async fn a_node_says_how_it_is_and_proves_its_key() {
    let node = serve().await;
    let status: NodeStatus = node.get("/n/v1/status").send().await.unwrap().json().await.unwrap();
    assert!(status.joined && status.node == node.node.node && status.free_bytes > 0);
    let prove = async |of, nonce: &str| {
        let request = ProveRequest { protocol: PROTOCOL, node: of, nonce: nonce.to_owned() };
        node.http.post(node.url("/n/v1/prove")).json(&request).send().await.unwrap()
    };
    let nonce = "ab".repeat(32);
    let answer: ProveAnswer = prove(node.node.node, &nonce).await.json().await.unwrap();
    assert!(node.key.is_address_proof(node.node.node, &nonce, &answer.proof));
    assert_eq!(prove(crate::domain::NodeId::random(), &nonce).await.status(), 403);
    assert_eq!(prove(node.node.node, "short").await.status(), 403);
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let node = serve().await;
    assert_eq!(code(node.get("/").send().await.unwrap()).await, (404, "not-found".into()));
    for path in ["/n/v1/status", "/b/x/y", "/n/v1/inventory"] {
        let answer = node.http.patch(node.url(path)).send().await.unwrap();
        assert_eq!(code(answer).await, (405, "method-not-allowed".into()), "{path}");
    }
}

#[tokio::test]
async fn no_more_uploads_go_on_than_the_node_takes() {
    let limits = ServiceLimits { sessions: 0, downloads: 0, ..ServiceLimits::default() };
    let node = serve_node(TestNode::with(limits, |store| store).await);
    let answer = node.write(UploadId::random(), "bytes").send().await.unwrap();
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(code(answer).await, (503, "busy".into()));
    let blob = node.store(b"x").await;
    let answer = node.get(&node.link_to(&blob, "x")).send().await.unwrap();
    assert_eq!(code(answer).await, (503, "busy".into()));
}
