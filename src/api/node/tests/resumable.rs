//! Resumable sessions over HTTP, mostly through central's own client of them.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::Method;
use sha1::Digest as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Served, code, serve, serve_node, session};
use crate::cluster::membership::Member;
use crate::cluster::node_client::{Expected, NodeClient, NodeError, ResumeTerms, WriteLimits};
use crate::domain::{Sha1, UploadId};
use crate::service::node::ServiceLimits;
use crate::service::node::testing::{START, TestNode, content, member};
use crate::tickets::{CallTicket, Operation, verify_receipt};
use crate::wire::node::OffsetAnswer;

const PATIENCE: Duration = Duration::from_mins(1);

fn terms() -> ResumeTerms {
    let limits = WriteLimits { limit_bytes: 1 << 30, declared_bytes: None };
    ResumeTerms { limits, idle: Duration::from_hours(24) }
}

fn any(size: usize) -> Expected {
    Expected { size: size as u64, sha1: None, sha256: None }
}

impl Served {
    fn client(&self) -> NodeClient {
        NodeClient::new(self.http.clone(), PATIENCE)
    }

    fn member(&self) -> Member {
        member(&self.node, self.address)
    }

    async fn open(&self, upload: UploadId) -> Result<u64, NodeError> {
        self.client().open(&self.member(), upload, terms(), START).await
    }

    async fn append(&self, upload: UploadId, offset: usize, bytes: &[u8]) -> Result<u64, NodeError> {
        let chunks: Vec<Result<Bytes, std::io::Error>> =
            bytes.chunks(100_000).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let body = stream::iter(chunks);
        self.client().append(&self.member(), upload, terms(), (offset as u64, None), START, body).await
    }

    async fn offset(&self, upload: UploadId) -> Option<u64> {
        self.client().offset(&self.member(), upload, START).await.unwrap()
    }

    /// The session reaches this offset soon.
    async fn reaches(&self, upload: UploadId, offset: u64) {
        let deadline = Instant::now() + PATIENCE;
        while self.offset(upload).await != Some(offset) {
            assert!(Instant::now() < deadline, "it stands at {:?}", self.offset(upload).await);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// So many bytes are in the session's file soon; whether they are acknowledged is another
    /// thing.
    async fn writes(&self, upload: UploadId, length: u64) {
        let data = self.dir.path().join(format!("data/sessions/{upload}/data"));
        let deadline = Instant::now() + PATIENCE;
        while std::fs::metadata(&data).unwrap().len() != length {
            assert!(Instant::now() < deadline, "{} bytes are there", std::fs::metadata(&data).unwrap().len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Has the session prepared and compares what it holds.
    async fn holds(&self, upload: UploadId, bytes: &[u8]) {
        let receipt =
            self.client().prepare(&self.member(), upload, any(bytes.len()), START, PATIENCE).await.unwrap();
        assert!(verify_receipt(&self.key, &receipt));
        assert_eq!(receipt.digests.size, bytes.len() as u64);
        assert!(self.read(upload).await == bytes);
    }

    async fn read(&self, upload: UploadId) -> Bytes {
        let ticket = self.ticket(Operation::ReadSession, Some(upload));
        let read = self.call(Method::GET, &session(upload), &ticket).send().await.unwrap();
        assert_eq!(read.status(), 200);
        read.bytes().await.unwrap()
    }

    /// Begins an append by hand: the head, and the first bytes of its body.
    async fn begin_append(&self, upload: UploadId, offset: u64, body: &[u8]) -> TcpStream {
        let ticket = self.ticket(Operation::Write, Some(upload)).sign(&self.key);
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let path = session(upload);
        let head = format!(
            "PATCH {path}?offset={offset} HTTP/1.1\r\nhost: x\r\ncloseby-ticket: {ticket}\r\ncontent-length: 99000000\r\n\r\n",
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        stream
    }
}

#[tokio::test]
async fn an_upload_in_parts_comes_to_the_same() {
    let node = serve().await;
    let bytes = content((9 << 20) + 5);
    let upload = UploadId::random();
    assert_eq!(node.offset(upload).await, None);
    assert_eq!(node.open(upload).await.unwrap(), 0);
    let mut at = 0;
    for end in [0, 1, 1, 3_000_000, 4 << 20, 9 << 20, (9 << 20) + 5] {
        assert_eq!(node.append(upload, at, &bytes[at..end]).await.unwrap(), end as u64);
        assert_eq!(node.offset(upload).await, Some(end as u64));
        assert_eq!(node.open(upload).await.unwrap(), end as u64);
        at = end;
    }
    assert!(node.read(upload).await == bytes[..]);
    node.holds(upload, &bytes).await;
    node.holds(upload, &bytes).await;
    assert_eq!(node.offset(upload).await, Some(bytes.len() as u64));
    let again = node.append(upload, bytes.len(), b"").await.unwrap_err();
    assert!(again.is("conflict"), "{again}");
}

#[tokio::test]
async fn making_a_session_says_whether_it_was_there() {
    let node = serve().await;
    let upload = UploadId::random();
    let ticket = node.ticket(Operation::Write, Some(upload));
    for status in [201, 200] {
        let answer = node.call(Method::POST, &session(upload), &ticket).send().await.unwrap();
        assert_eq!(answer.status(), status);
        assert_eq!(answer.json::<OffsetAnswer>().await.unwrap().offset, 0);
    }
    // A one-request session is another thing, either way.
    let answer = node.write(upload, "bytes").send().await.unwrap();
    assert_eq!(code(answer).await, (409, "conflict".into()));
    assert_eq!(node.offset(upload).await, Some(0));
    let too_much = CallTicket { declared_bytes: Some(1 << 60), limit_bytes: u64::MAX, ..ticket };
    let too_much = CallTicket { upload: Some(UploadId::random()), ..too_much };
    let path = session(too_much.upload.unwrap());
    let answer = node.call(Method::POST, &path, &too_much).send().await.unwrap();
    assert_eq!(code(answer).await, (507, "no-space".into()));
}

#[tokio::test]
async fn another_offset_is_named_and_lower_ones_are_gone_back_to() {
    let node = serve().await;
    let bytes = content(6_000_000);
    let upload = UploadId::random();
    let missing = node.append(upload, 0, b"x").await.unwrap_err();
    assert!(missing.is("no-session"), "{missing}");
    node.open(upload).await.unwrap();
    node.append(upload, 0, &bytes[..5_000_000]).await.unwrap();
    for beyond in [5_000_001, usize::MAX] {
        let wrong = node.append(upload, beyond, &bytes[..10]).await.unwrap_err();
        assert!(wrong.is("wrong-offset"), "{wrong}");
        assert_eq!(wrong.right_offset(), Some(5_000_000));
    }
    // Other bytes, which do not stay.
    assert_eq!(node.append(upload, 4_999_999, &[9; 500_000]).await.unwrap(), 5_499_999);
    assert_eq!(node.append(upload, 1_000_000, &bytes[1_000_000..2_000_000]).await.unwrap(), 2_000_000);
    assert_eq!(node.append(upload, 2_000_000, &bytes[2_000_000..]).await.unwrap(), 6_000_000);
    for wrong in [5_999_999, 6_000_001] {
        let refused = node.client().prepare(&node.member(), upload, any(wrong), START, PATIENCE).await;
        let refused = refused.unwrap_err();
        assert!(refused.is("wrong-offset"), "{refused}");
        assert_eq!(refused.right_offset(), Some(6_000_000));
    }
    node.holds(upload, &bytes).await;
    for query in ["", "?offset=", "?offset=x", "?offset=-1", "?offset=1&more=2"] {
        let ticket = node.ticket(Operation::Write, Some(upload));
        let path = format!("{}{query}", session(upload));
        let answer = node.call(Method::PATCH, &path, &ticket).body("x").send().await.unwrap();
        assert_eq!(code(answer).await, (400, "bad-request".into()), "{query}");
    }
}

#[tokio::test]
async fn wrong_digests_are_said_again_until_the_session_is_aborted() {
    let node = serve().await;
    let upload = UploadId::random();
    node.open(upload).await.unwrap();
    node.append(upload, 0, b"bytes").await.unwrap();
    let expected = Expected { sha1: Some(Sha1::new([1; 20])), ..any(5) };
    for _ in 0..2 {
        let refused = node.client().prepare(&node.member(), upload, expected, START, PATIENCE).await;
        assert!(refused.unwrap_err().is("wrong-digest"));
        assert_eq!(node.offset(upload).await, Some(5));
    }
    node.client().abort(&node.member(), upload, START).await.unwrap();
    assert_eq!(node.sessions().await, 0);
}

#[tokio::test]
async fn a_part_with_a_checksum_is_kept_as_a_whole_or_not_at_all() {
    let node = serve().await;
    let bytes = content(10_000_000);
    let upload = UploadId::random();
    node.open(upload).await.unwrap();
    node.append(upload, 0, &bytes[..1000]).await.unwrap();
    let sum = |bytes: &[u8]| Some(Sha1::new(sha1::Sha1::digest(bytes).into()));
    let send = |part: &[u8], checksum| {
        // As of a central that dies: the connection breaks.
        let chunks: Vec<_> = part.chunks(1 << 16).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let is_whole = part.len() == bytes.len() - 1000;
        let end = (!is_whole).then(|| Err(std::io::Error::other("cut")));
        let body = stream::iter(chunks.into_iter().chain(end));
        let (client, member) = (node.client(), node.member());
        async move { client.append(&member, upload, terms(), (1000, checksum), START, body).await }
    };
    let rest = &bytes[1000..];
    assert!(send(rest, sum(b"other")).await.unwrap_err().is("checksum-mismatch"));
    assert_eq!(node.offset(upload).await, Some(1000));
    send(&rest[..9_000_000], sum(rest)).await.unwrap_err();
    // The node's own task may take a moment to end.
    node.append(upload, 1000, b"").await.unwrap();
    assert_eq!(node.offset(upload).await, Some(1000));
    assert_eq!(send(rest, sum(rest)).await.unwrap(), 10_000_000);
    node.holds(upload, &bytes).await;
}

#[tokio::test]
async fn more_than_permitted_is_refused_and_changes_nothing() {
    let node = serve().await;
    let upload = UploadId::random();
    let limits = WriteLimits { limit_bytes: 10, declared_bytes: Some(10) };
    let terms = ResumeTerms { limits, ..terms() };
    node.client().open(&node.member(), upload, terms, START).await.unwrap();
    node.append(upload, 0, b"01234").await.unwrap();
    let refused = node.append(upload, 5, b"567890").await.unwrap_err();
    assert!(refused.is("too-large"), "{refused}");
    assert_eq!(node.offset(upload).await, Some(5));
    assert_eq!(node.append(upload, 5, b"56789").await.unwrap(), 10);
    node.holds(upload, b"0123456789").await;
}

#[tokio::test]
async fn a_vanished_sender_leaves_what_it_sent() {
    let node = serve().await;
    let bytes = content(10_000_000);
    for resets in [false, true] {
        let upload = UploadId::random();
        node.open(upload).await.unwrap();
        let mut at = 0;
        for end in [0, 100, 5_000_000, 9_999_999] {
            let stream = node.begin_append(upload, at as u64, &bytes[at..end]).await;
            // What the server has not read yet goes with the connection.
            node.writes(upload, end as u64).await;
            if resets {
                // A reset instead of an end.
                stream.set_zero_linger().unwrap();
            }
            drop(stream);
            node.reaches(upload, end as u64).await;
            at = end;
        }
        node.append(upload, at, &bytes[at..]).await.unwrap();
        node.holds(upload, &bytes).await;
    }
}

#[tokio::test]
async fn bytes_are_acknowledged_while_the_sender_goes_on() {
    let node = serve().await;
    let upload = UploadId::random();
    node.open(upload).await.unwrap();
    let stream = node.begin_append(upload, 0, &content((8 << 20) + 10)).await;
    node.reaches(upload, 8 << 20).await;
    node.writes(upload, (8 << 20) + 10).await;
    assert_eq!(node.offset(upload).await, Some(8 << 20));
    drop(stream);
    node.reaches(upload, (8 << 20) + 10).await;
}

#[tokio::test]
async fn a_second_append_cuts_the_first() {
    let node = serve().await;
    let bytes = content(6_000_000);
    let upload = UploadId::random();
    node.open(upload).await.unwrap();
    let first = node.begin_append(upload, 0, &bytes[..5_000_000]).await;
    node.reaches(upload, 4 << 20).await;
    assert_eq!(node.append(upload, 4 << 20, &bytes[4 << 20..]).await.unwrap(), 6_000_000);
    drop(first);
    // A call that prepares cuts it, too.
    let first = node.begin_append(upload, 6_000_000, b"").await;
    node.holds(upload, &bytes).await;
    drop(first);
    assert_eq!(node.offset(upload).await, Some(6_000_000));
}

#[tokio::test]
async fn a_sender_that_stalls_is_cut_and_keeps_what_it_sent() {
    let limits =
        ServiceLimits { sender_stalled_after: Duration::from_millis(100), ..ServiceLimits::default() };
    let node = serve_node(TestNode::with(limits, |store| store).await);
    let upload = UploadId::random();
    node.open(upload).await.unwrap();
    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(b"some"))]).chain(stream::pending());
    let cut =
        node.client().append(&node.member(), upload, terms(), (0, None), START, body).await.unwrap_err();
    assert!(cut.is("too-slow"), "{cut}");
    assert_eq!(node.offset(upload).await, Some(4));
}

#[tokio::test]
async fn a_session_outlives_its_node() {
    let node = serve().await;
    let bytes = content(6_000_000);
    let upload = UploadId::random();
    node.open(upload).await.unwrap();
    node.append(upload, 0, &bytes[..5_000_000]).await.unwrap();
    let kept = node.kept();
    drop(node);
    let node = serve_node(TestNode::again(kept).await);
    assert_eq!(node.offset(upload).await, Some(5_000_000));
    assert_eq!(node.append(upload, 5_000_000, &bytes[5_000_000..]).await.unwrap(), 6_000_000);
    node.holds(upload, &bytes).await;
    assert_eq!(node.sessions().await, 1);
}

async fn fill(
    to: &Served,
    from: &Served,
    at: SocketAddr,
    upload: UploadId,
    bytes: usize,
) -> Result<u64, NodeError> {
    let source = member(&from.node, at);
    to.client().fill(&to.member(), upload, terms(), START, (&source, bytes as u64), PATIENCE).await
}

#[tokio::test]
async fn a_node_takes_the_first_bytes_of_anothers_session() {
    let (from, to) = (serve().await, serve().await);
    let bytes = content(6_000_000);
    let upload = UploadId::random();
    from.open(upload).await.unwrap();
    from.append(upload, 0, &bytes[..5_000_000]).await.unwrap();
    for count in [0, 1, 4 << 20, 4_999_999, 5_000_000] {
        assert_eq!(fill(&to, &from, from.address, upload, count).await.unwrap(), count as u64);
        assert_eq!(fill(&to, &from, from.address, upload, count).await.unwrap(), count as u64);
        let other = fill(&to, &from, from.address, upload, count + 1).await.unwrap_err();
        assert!(other.is("conflict"), "{other}");
        assert_eq!(to.offset(upload).await, Some(count as u64));
        if count < 5_000_000 {
            to.client().abort(&to.member(), upload, START).await.unwrap();
        }
    }
    to.append(upload, 5_000_000, &bytes[5_000_000..]).await.unwrap();
    to.holds(upload, &bytes).await;
    // From a prepared one, too.
    from.append(upload, 5_000_000, &bytes[5_000_000..]).await.unwrap();
    from.holds(upload, &bytes).await;
    to.client().abort(&to.member(), upload, START).await.unwrap();
    assert_eq!(fill(&to, &from, from.address, upload, 6_000_000).await.unwrap(), 6_000_000);
    to.holds(upload, &bytes).await;
}

#[tokio::test]
async fn a_source_that_fails_leaves_no_session() {
    let (from, to) = (serve().await, serve().await);
    let upload = UploadId::random();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [nobody, from.address] {
        let failed = fill(&to, &from, address, upload, 5).await.unwrap_err();
        assert!(failed.is("bad-gateway"), "{failed}");
        assert_eq!(to.sessions().await, 0);
    }
    from.open(upload).await.unwrap();
    from.append(upload, 0, b"four").await.unwrap();
    let failed = fill(&to, &from, from.address, upload, 5).await.unwrap_err();
    assert!(failed.is("bad-gateway"), "{failed}");
    assert_eq!(to.sessions().await, 0);
    assert_eq!(fill(&to, &from, from.address, upload, 4).await.unwrap(), 4);
}

#[tokio::test]
async fn every_call_needs_its_own_ticket() {
    let node = serve().await;
    let upload = UploadId::random();
    node.open(upload).await.unwrap();
    node.append(upload, 0, b"bytes").await.unwrap();
    let path = session(upload);
    let calls = [
        (Method::POST, path.clone()),
        (Method::PATCH, format!("{path}?offset=0")),
        (Method::GET, format!("{path}/offset")),
        (Method::POST, format!("{path}/prepare")),
        (Method::POST, format!("{path}/fill")),
    ];
    let write = |upload| node.ticket(Operation::Write, Some(upload));
    for (method, path) in calls {
        for ticket in [
            write(UploadId::random()),
            node.ticket(Operation::ReadSession, Some(upload)),
            node.ticket(Operation::Finish, Some(upload)),
            write(upload).with_body(b"another body"),
        ] {
            let answer = node.call(method.clone(), &path, &ticket).send().await.unwrap();
            assert_eq!(code(answer).await, (403, "forbidden".into()), "{method} {path}");
        }
        let expired = CallTicket { expires: START.saturating_sub(Duration::from_secs(1)), ..write(upload) };
        let answer = node.call(method.clone(), &path, &expired).send().await.unwrap();
        assert_eq!(code(answer).await, (410, "expired".into()), "{method} {path}");
        let answer = node.http.request(method.clone(), node.url(&path)).send().await.unwrap();
        assert_eq!(code(answer).await, (403, "forbidden".into()), "{method} {path}");
    }
    // The calls with a document need a ticket that covers it.
    for call in ["prepare", "fill"] {
        let answer = node
            .call(Method::POST, &format!("{path}/{call}"), &write(upload))
            .body("{}")
            .send()
            .await
            .unwrap();
        assert_eq!(code(answer).await, (403, "forbidden".into()), "{call}");
        let ticket = write(upload).with_body(b"{}");
        let answer =
            node.call(Method::POST, &format!("{path}/{call}"), &ticket).body("{}").send().await.unwrap();
        assert_eq!(code(answer).await, (400, "bad-request".into()), "{call}");
    }
    assert_eq!(node.offset(upload).await, Some(5));
}

#[tokio::test]
async fn appends_count_among_the_uploads_that_a_node_takes() {
    let limits = ServiceLimits { sessions: 1, ..ServiceLimits::default() };
    let node = serve_node(TestNode::with(limits, |store| store).await);
    let (one, two) = (UploadId::random(), UploadId::random());
    node.open(one).await.unwrap();
    node.open(two).await.unwrap();
    let first = node.begin_append(one, 0, &content(5_000_000)).await;
    node.reaches(one, 4 << 20).await;
    let busy = node.append(two, 0, b"x").await.unwrap_err();
    assert!(busy.is("busy"), "{busy}");
    drop(first);
}
