//! What is refused, and that it does not show why.

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::Method;

use super::{code, serve, session};
use crate::cluster::clock::LedgerClock;
use crate::domain::{KeyId, NodeId, Sha1, UploadId};
use crate::service::node::testing::START;
use crate::tickets::{CallTicket, NodeKey, Operation};
use crate::wire::TICKET_HEADER;

/// All that an asker can tell answers apart by.
async fn seen(answer: reqwest::Response) -> (u16, BTreeMap<String, String>, String) {
    let status = answer.status().as_u16();
    let headers = answer
        .headers()
        .iter()
        // A connection whose request was not read to its end closes, whatever the answer.
        .filter(|(name, _)| *name != "date" && *name != "connection")
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    (status, headers, answer.text().await.unwrap())
}

#[tokio::test]
async fn every_wrong_link_has_the_same_answer() {
    let node = serve().await;
    let blob = node.store(b"content").await;
    let link = node.link_to(&blob, "a b.txt");
    assert_eq!(node.get(&link).send().await.unwrap().status(), 200);
    let other_node =
        { crate::tickets::LinkTicket { node: NodeId::random(), ..node.link(blob.sha1, "a b.txt") } };
    let other_key = NodeKey::from_bytes(KeyId(1), [8; 32]);
    let unknown_key = NodeKey::from_bytes(KeyId(2), [7; 32]);
    let sha1 = blob.sha1.to_string();
    let (path, query) = link.split_once('?').unwrap();
    let mut wrong = vec![
        "/b/".to_owned(),
        format!("/b/?{query}"),
        format!("/b/{sha1}?{query}"),
        path.to_owned(),
        format!("{path}?"),
        format!("{path}/x?{query}"),
        format!("/b/{sha1}/other.txt?{query}"),
        format!("/b/{sha1}/x%2Fa%20b.txt?{query}"),
        format!("/b/{sha1}/?{query}"),
        link.replace(&sha1, &Sha1::new([0; 20]).to_string()),
        link.replace(&sha1, &sha1.to_uppercase()),
        format!("{link}&x=1"),
        format!("{link}&v=1"),
        format!("{link}&"),
        other_node.sign(&node.key),
        node.link(blob.sha1, "a b.txt").sign(&other_key),
        node.link(blob.sha1, "a b.txt").sign(&unknown_key),
        // Expired, and not right: that it expired is not said.
        crate::tickets::LinkTicket {
            expires: START.saturating_sub(Duration::from_secs(1)),
            ..node.link(blob.sha1, "a b.txt")
        }
        .sign(&other_key),
        // A blob that is not here, by a wrong link.
        node.link(Sha1::new([9; 20]), "a").sign(&other_key),
    ];
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap();
        wrong.push(link.replace(pair, &format!("{name}={value}0")));
        wrong.push(link.replace(pair, &format!("{name}=")));
        wrong.push(link.replace(&format!("{name}={value}"), &format!("{name}x={value}")));
    }
    let expected = seen(node.get("/b/nothing").send().await.unwrap()).await;
    assert_eq!((expected.0, &*expected.1["cache-control"]), (403, "no-store"));
    assert_eq!(expected.1["x-content-type-options"], "nosniff");
    for link in wrong {
        assert_eq!(seen(node.get(&link).send().await.unwrap()).await, expected, "{link}");
    }
}

#[tokio::test]
async fn a_right_link_that_expired_is_gone_and_a_missing_blob_is_not_found() {
    let node = serve().await;
    let blob = node.store(b"content").await;
    let link = node.link_to(&blob, "a");
    let missing = node.link(Sha1::new([9; 20]), "a").sign(&node.key);
    assert_eq!(code(node.get(&missing).send().await.unwrap()).await, (404, "not-found".into()));
    node.clock.learn(START.saturating_add(Duration::from_hours(12)));
    node.clock.learn(START.saturating_add(Duration::from_hours(13)));
    assert_eq!(code(node.get(&link).send().await.unwrap()).await, (410, "expired".into()));
    assert_eq!(code(node.get(&missing).send().await.unwrap()).await, (410, "expired".into()));
}

#[tokio::test]
async fn a_call_needs_its_own_ticket() {
    let node = serve().await;
    let (upload, other) = (UploadId::random(), UploadId::random());
    let fits = node.ticket(Operation::Write, Some(upload));
    let mut headers = vec![
        None,
        Some(String::new()),
        Some("1.1.x.y".to_owned()),
        Some(fits.sign(&NodeKey::from_bytes(KeyId(1), [8; 32]))),
        Some(fits.sign(&NodeKey::from_bytes(KeyId(2), [7; 32]))),
        Some(node.ticket(Operation::Write, Some(other)).sign(&node.key)),
        Some(node.ticket(Operation::Write, None).sign(&node.key)),
        Some(CallTicket { node: NodeId::random(), ..fits.clone() }.sign(&node.key)),
        // For a copy, whose body it names.
        Some(fits.clone().with_body(b"bytes").sign(&node.key)),
    ];
    for operation in [Operation::ReadSession, Operation::Finish, Operation::Abort, Operation::Inventory] {
        headers.push(Some(node.ticket(operation, Some(upload)).sign(&node.key)));
    }
    let calls = [(Method::PUT, session(upload)), (Method::POST, format!("{}/copy", session(upload)))];
    let expected = seen(node.get("/n/v1/inventory").send().await.unwrap()).await;
    assert_eq!(expected.0, 403);
    for (method, path) in &calls {
        for header in &headers {
            if path.ends_with("copy") && header == headers.get(8).unwrap() {
                continue;
            }
            let mut request = node.http.request(method.clone(), node.url(path)).body("bytes");
            if let Some(header) = header {
                request = request.header(TICKET_HEADER, header);
            }
            assert_eq!(seen(request.send().await.unwrap()).await, expected, "{path} {header:?}");
        }
    }
    // Two tickets are none.
    let ticket = fits.sign(&node.key);
    let twice = node.write(upload, "bytes").header(TICKET_HEADER, ticket).send().await.unwrap();
    assert_eq!(twice.status(), 403);
    assert_eq!(node.sessions().await, 0);

    let ticket = CallTicket { expires: START.saturating_sub(Duration::from_secs(1)), ..fits };
    let answer = node.call(Method::PUT, &session(upload), &ticket).body("bytes").send().await.unwrap();
    assert_eq!(code(answer).await, (410, "expired".into()));
    assert_eq!(node.sessions().await, 0);
}

#[tokio::test]
async fn a_finish_takes_the_body_of_its_ticket_alone() {
    let node = serve().await;
    let (upload, prepared) = node.prepare(b"content").await;
    let body = format!(
        r#"{{"protocol":1,"sha1":"{}","generation":{{"epoch":1,"number":1}},"files":[]}}"#,
        prepared.digests.sha1
    );
    let path = format!("{}/finish", session(upload));
    let other = body.replace("\"number\":1", "\"number\":2");
    for ticket in [
        node.ticket(Operation::Finish, Some(upload)),
        node.ticket(Operation::Finish, Some(upload)).with_body(other.as_bytes()),
        node.ticket(Operation::Abort, Some(upload)).with_body(body.as_bytes()),
    ] {
        let answer = node.call(Method::POST, &path, &ticket).body(body.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 403);
    }
    let ticket = node.ticket(Operation::Finish, Some(upload)).with_body(body.as_bytes());
    assert_eq!(node.call(Method::POST, &path, &ticket).body(body).send().await.unwrap().status(), 204);
    let ticket = node.ticket(Operation::Finish, Some(upload)).with_body(b"{}");
    let answer = node.call(Method::POST, &path, &ticket).body("{}").send().await.unwrap();
    assert_eq!(code(answer).await, (400, "bad-request".into()));
}

#[tokio::test]
async fn before_the_first_heartbeat_no_ticket_can_be_judged() {
    let mut node = crate::service::node::testing::TestNode::new().await;
    let blob = node.store(b"content").await;
    // A twin that has learnt nothing.
    let twin = crate::service::node::testing::without_clock(&node);
    node.service = twin;
    node.clock = LedgerClock::new();
    let node = super::serve_node(node);
    for answer in [
        node.get(&node.link_to(&blob, "a")).send().await.unwrap(),
        node.write(UploadId::random(), "bytes").send().await.unwrap(),
    ] {
        assert!(answer.headers().contains_key("retry-after"));
        assert_eq!(code(answer).await, (503, "unavailable".into()));
    }
    let status: crate::wire::node::NodeStatus =
        node.get("/n/v1/status").send().await.unwrap().json().await.unwrap();
    assert!(!status.joined);
}
