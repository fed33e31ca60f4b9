//! Central and nodes of neighbouring releases understand each other: `tests/wire/v1` has the messages
//! of 0.1 as it writes them, and a node that speaks nothing else is heard.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use closeby::domain::{ClusterId, KeyId, NodeId};
use closeby::tickets::{self, JoinSecret, NodeKey};
use closeby::wire::cluster::{
    Activity, ChallengeAnswer, ChallengeRequest, ConfirmRequest, Heartbeat, HeartbeatAnswer, JoinAnswer,
    JoinRequest, OutcomeAnswer, OutcomeRequest, ProveAnswer, ProveRequest,
};
use closeby::wire::node::{
    CopyRequest, FillRequest, FinishRequest, Inventory, NodeStatus, OffsetAnswer, PrepareAnswer,
    PrepareRequest,
};
use closeby::wire::{self, Unread};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::support::{Cluster, Options, poll};

/// The messages of 0.1, as files.
fn recorded(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/v1").join(format!("{name}.json"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A field that nobody knows, in every object.
fn with_more(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: serde_json::Map<_, _> =
                fields.iter().map(|(key, value)| (key.clone(), with_more(value))).collect();
            fields.insert("of_a_later_release".to_owned(), json!({ "x": [1] }));
            Value::Object(fields)
        }
        Value::Array(values) => Value::Array(values.iter().map(with_more).collect()),
        other => other.clone(),
    }
}

/// It is read, written as it was, and read with fields that are not known.
fn check<T: DeserializeOwned + Serialize>(name: &'static str) -> &'static str {
    let former = recorded(name);
    let read = |value: &Value| -> Result<T, Unread> { wire::read(&serde_json::to_vec(value).unwrap()) };
    let written = |message: Result<T, Unread>| match message {
        Ok(message) => serde_json::to_value(&message).unwrap(),
        Err(error) => panic!("{name}: {error}"),
    };
    assert_eq!(written(read(&former)), former, "{name}: 0.1 knows no more than this");
    assert_eq!(written(read(&with_more(&former))), former, "{name}: with unknown fields");
    if former.get("protocol").is_some() {
        let mut later = former;
        later["protocol"] = 2.into();
        let Err(error @ Unread::Version(_)) = read(&later) else { panic!("{name}: version 2 was read") };
        let error = error.to_string();
        assert!(error.contains("version 2") && error.contains("version 1"), "{error}");
        assert!(error.contains("update this side"), "{error}");
        // Also where nothing else is as it was.
        assert!(matches!(read(&json!({ "protocol": 0 })), Err(Unread::Version(_))), "{name}");
    }
    name
}

#[test]
fn the_messages_of_the_former_release_are_understood_and_may_have_more_fields() {
    let mut checked = vec![
        check::<ChallengeRequest>("challenge-request"),
        check::<ChallengeAnswer>("challenge-answer"),
        check::<JoinRequest>("join-request"),
        check::<JoinAnswer>("join-answer"),
        check::<Heartbeat>("heartbeat"),
        check::<HeartbeatAnswer>("heartbeat-answer"),
        check::<OutcomeRequest>("outcome-request"),
        check::<OutcomeAnswer>("outcome-answer"),
        check::<ConfirmRequest>("confirm-request"),
        check::<ProveRequest>("prove-request"),
        check::<ProveAnswer>("prove-answer"),
        check::<PrepareAnswer>("prepare-answer"),
        check::<CopyRequest>("copy-request"),
        check::<FillRequest>("fill-request"),
        check::<OffsetAnswer>("offset-answer"),
        check::<PrepareRequest>("prepare-request"),
        check::<FinishRequest>("finish-request"),
        check::<Inventory>("inventory"),
        check::<NodeStatus>("node-status"),
    ];
    checked.sort_unstable();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire/v1");
    let mut files: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort_unstable();
    assert_eq!(files, checked, "every file is checked");
}

#[test]
fn what_a_beat_may_leave_out_has_a_default() {
    let mut beat = recorded("heartbeat");
    beat.as_object_mut()
        .unwrap()
        .retain(|field, _| !matches!(field.as_str(), "activity" | "goodbye" | "heard" | "internal_address"));
    let beat: Heartbeat = wire::read(&serde_json::to_vec(&beat).unwrap()).unwrap();
    assert!(!beat.goodbye && beat.heard.is_none() && beat.internal_address.is_none());
    assert_eq!((beat.activity, beat.tls_port, beat.reads_more), (Activity::default(), None, false));
}

#[test]
fn a_receipt_of_the_former_release_is_right_with_what_a_later_one_adds() {
    let key = NodeKey::from_bytes(KeyId(1), [7; 32]);
    let receipt = |value: Value| serde_json::from_value::<PrepareAnswer>(value).unwrap();
    let former = recorded("prepare-answer");
    assert!(tickets::verify_receipt(&key, &receipt(with_more(&former))));
    let mut changed = former;
    changed["size"] = 5_000_001.into();
    assert!(!tickets::verify_receipt(&key, &receipt(changed)));
}

/// Answers `POST /n/v1/prove` as a node of 0.1 does, until the listener's end.
fn prove_for_ever(listener: TcpListener, node: NodeId, key: NodeKey) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let mut request = Vec::new();
        let nonce = loop {
            let mut chunk = [0; 4096];
            let Ok(length @ 1..) = stream.read(&mut chunk) else { return };
            request.extend_from_slice(&chunk[..length]);
            let text = String::from_utf8_lossy(&request);
            let body = text.split_once("\r\n\r\n").map_or("", |(_, body)| body);
            if let Ok(body) = serde_json::from_str::<Value>(body) {
                // It knows these fields, and refuses every other.
                let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
                assert_eq!(fields, ["node", "nonce", "protocol"]);
                break body["nonce"].as_str().unwrap().to_owned();
            }
        };
        let body = json!({ "proof": key.prove_address(node, &nonce) }).to_string();
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: ";
        let _ = write!(stream, "{head}{}\r\n\r\n{body}", body.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_the_former_release_joins_and_is_heard() {
    let cluster =
        Cluster::with(Options { places: vec!["amsterdam", "singapore"], ..Options::default() }).await;
    let call = async |name: &str, body: &Value| {
        let answer = cluster.post(&format!("/cluster/v1/{name}")).json(body).send().await.unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        answer.json::<Value>().await.unwrap()
    };
    let secret: JoinSecret = "join-secret-for-tests-join-secret-for-tests".parse().unwrap();
    let node = NodeId::random();
    let challenge = {
        let mut request = recorded("challenge-request");
        request["node"] = json!(node);
        call("challenge", &request).await
    };
    assert_eq!(challenge["protocol"], 1);
    let id: ClusterId = challenge["cluster"].as_str().unwrap().parse().unwrap();
    let mut join = recorded("join-request");
    let (ours, theirs) =
        (join["node_nonce"].as_str().unwrap().to_owned(), challenge["central_nonce"].as_str().unwrap());
    join["node"] = json!(node);
    join["central_nonce"] = json!(theirs);
    join["proof"] = json!(secret.prove(id, node, &ours, theirs));
    join.as_object_mut().unwrap().retain(|field, _| !field.starts_with("key_"));
    let joined = call("join", &join).await;
    let key_id = KeyId(u32::try_from(joined["key_id"].as_u64().unwrap()).unwrap());
    let sealed = joined["sealed_key"].as_str().unwrap();
    let key = tickets::open_key(&secret, id, node, &ours, theirs, key_id, sealed).unwrap();

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let proving = key.clone();
    std::thread::spawn(move || prove_for_ever(listener, node, proving));
    let mut heard = Value::Null;
    for sequence in 1..=2 {
        let mut beat = recorded("heartbeat");
        for (field, value) in [
            ("node", json!(node)),
            ("cluster", json!(id)),
            ("sequence", json!(sequence)),
            ("heard", heard.clone()),
            ("internal_port", json!(port)),
            ("internal_address", json!("127.0.0.1")),
        ] {
            beat[field] = value;
        }
        let body = serde_json::to_vec(&beat).unwrap();
        let signature = tickets::sign_call(&key, "heartbeat", node, &body);
        let answer = cluster
            .post("/cluster/v1/heartbeat")
            .header("closeby-node", node.to_string())
            .header("closeby-key", key_id.to_string())
            .header("closeby-signature", &signature)
            .body(body)
            .send()
            .await
            .unwrap();
        assert!(answer.status().is_success(), "{}", answer.text().await.unwrap());
        let signed = answer.headers()["closeby-signature"].to_str().unwrap().to_owned();
        let body = answer.bytes().await.unwrap();
        assert!(tickets::verify_answer(&key, "heartbeat", &signature, &body, &signed));
        let answer: Value = serde_json::from_slice(&body).unwrap();
        // What 0.1 reads of it.
        assert_eq!((&answer["protocol"], &answer["counted"]), (&json!(1), &json!(sequence == 2)));
        assert!(answer["epoch"].is_u64());
        heard = answer["ledger_time"].clone();
    }
    poll("the node of 0.1", || async {
        let nodes: Value = cluster.get("/api/v1/nodes").send().await.ok()?.json().await.ok()?;
        let found = nodes["nodes"].as_array()?.iter().find(|known| known["id"] == node.to_string())?.clone();
        (found["healthy"] == true && found["version"] == "0.1.0").then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_version_is_told_both_and_what_to_update() {
    let cluster = Cluster::with(Options { places: vec!["amsterdam"], ..Options::default() }).await;
    for (version, who) in [(2, "update this side"), (0, "update the other side")] {
        // Nothing but the version is as it is now.
        let call = cluster.post("/cluster/v1/challenge").json(&json!({ "protocol": version })).send();
        let answer = call.await.unwrap();
        assert_eq!(answer.status(), 400);
        let detail: Value = answer.json().await.unwrap();
        let detail = detail["detail"].as_str().unwrap();
        assert!(detail.contains(&format!("version {version}")) && detail.contains("version 1"), "{detail}");
        assert!(detail.contains(who), "{detail}");
    }
    cluster.stop().await;
}
