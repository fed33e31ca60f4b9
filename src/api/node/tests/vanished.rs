//! Senders that vanish, stall, or are refused before they are through.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{Served, serve, serve_node, session};
use crate::domain::UploadId;
use crate::service::node::ServiceLimits;
use crate::service::node::testing::{TestNode, content};
use crate::tickets::{CallTicket, Operation};

/// What is left of an upload whose sender is gone goes within 5 s; a busy machine has longer.
const LEFT_AT_MOST: Duration = Duration::from_secs(30);

/// Begins an upload by hand: the head, and the first bytes of its body.
async fn begin(node: &Served, ticket: &CallTicket, framing: &str, body: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(node.address).await.unwrap();
    let head = format!(
        "PUT {} HTTP/1.1\r\nhost: x\r\ncloseby-ticket: {}\r\n{framing}\r\n\r\n",
        session(ticket.upload.unwrap()),
        ticket.sign(&node.key),
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    stream
}

async fn has_session(node: &Served) -> bool {
    let deadline = Instant::now() + LEFT_AT_MOST;
    while node.sessions().await == 0 {
        if Instant::now() > deadline {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    true
}

#[tokio::test]
async fn a_vanished_sender_leaves_nothing() {
    let node = serve().await;
    for (framing, sent) in [
        ("content-length: 5000000", 0),
        ("content-length: 5000000", 100),
        ("content-length: 5000000", 4_999_999),
        ("transfer-encoding: chunked", 0),
    ] {
        for resets in [false, true] {
            let ticket = node.ticket(Operation::Write, Some(UploadId::random()));
            let stream = begin(&node, &ticket, framing, &content(sent)).await;
            assert!(has_session(&node).await, "{framing} {sent}");
            if resets {
                // A reset instead of an end.
                stream.set_zero_linger().unwrap();
            }
            drop(stream);
            assert!(node.is_clean_within(LEFT_AT_MOST).await, "{framing} {sent} {resets}");
        }
    }
}

#[tokio::test]
async fn a_sender_that_stops_sending_is_cut() {
    let limits =
        ServiceLimits { sender_stalled_after: Duration::from_millis(100), ..ServiceLimits::default() };
    let node = serve_node(TestNode::with(limits, |store| store).await);
    let ticket = node.ticket(Operation::Write, Some(UploadId::random()));
    let mut stream = begin(&node, &ticket, "content-length: 1000", b"some").await;
    assert!(node.is_clean_within(LEFT_AT_MOST).await);
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 408");
}

/// Sends on, as a slow sender would, until the whole answer is there.
async fn answer_while_sending(stream: TcpStream, chunk: usize, pause: Duration) -> String {
    let (mut read, mut write) = stream.into_split();
    let sending = tokio::spawn(async move {
        let bytes = content(chunk);
        while write.write_all(&bytes).await.is_ok() {
            tokio::time::sleep(pause).await;
        }
    });
    let mut answer = vec![];
    let reading = async {
        let mut buffer = [0; 4096];
        loop {
            let count = read.read(&mut buffer).await.unwrap();
            answer.extend_from_slice(&buffer[..count]);
            if count == 0 || answer.ends_with(b"}") {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), reading).await.unwrap();
    sending.abort();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn an_early_answer_reaches_a_sender_that_is_not_through() {
    let node = serve().await;
    let framing = "content-length: 2000000000000000";
    let upload = UploadId::random();
    // No room, before the first byte.
    let no_room = CallTicket {
        declared_bytes: Some(2_000_000_000_000_000),
        limit_bytes: u64::MAX,
        ..node.ticket(Operation::Write, Some(upload))
    };
    // Too long, in the middle.
    let too_long = CallTicket { limit_bytes: 1_000_000, ..node.ticket(Operation::Write, Some(upload)) };
    for (ticket, expected) in [(no_room, "HTTP/1.1 507"), (too_long, "HTTP/1.1 413")] {
        for (chunk, pause) in [(64 << 10, Duration::ZERO), (300_000, Duration::from_millis(30))] {
            let stream = begin(&node, &ticket, framing, b"x").await;
            let answer = answer_while_sending(stream, chunk, pause).await;
            assert!(answer.starts_with(expected) && answer.contains("/problems/"), "{answer}");
            assert!(node.is_clean_within(LEFT_AT_MOST).await);
        }
    }
}
