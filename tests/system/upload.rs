//! Uploads in every way, and what is on the disks after them.

use std::collections::BTreeSet;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use closeby::config::Limits;
use futures_util::stream;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Cluster, DEADLINE, Options, content, places, poll};

const PIECE: usize = 4 << 20;

fn sha1_hex(bytes: &[u8]) -> String {
    hex::encode(Sha1::digest(bytes))
}

/// Two copies on two nodes, where the answer says they are.
fn assert_kept(cluster: &Cluster, object: &Value, bytes: &[u8]) {
    let mut holders: Vec<String> =
        cluster.holders(&sha1_hex(bytes), bytes).into_iter().map(ToOwned::to_owned).collect();
    holders.sort();
    assert_eq!(holders.len(), 2, "{object}");
    assert_eq!(holders, places(object));
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_size_are_kept_twice_and_come_back() {
    let cluster = Cluster::start().await;
    for (seed, size) in [0, 1, PIECE - 1, PIECE, PIECE + 1, 100 << 20].into_iter().enumerate() {
        let bytes = content(seed as u64, size);
        let object = cluster.store(&format!("{size}.bin"), bytes.clone()).await;
        assert_eq!(object["size"], size);
        assert_eq!(object["sha1"], sha1_hex(&bytes));
        assert_eq!(object["sha256"], hex::encode(sha2::Sha256::digest(&bytes)));
        assert_kept(&cluster, &object, &bytes);
        assert!(cluster.download(object["url"].as_str().unwrap()).await == bytes, "{size} bytes come back");
        let pieces: Value = cluster
            .get(&format!("/api/v1/blobs/{}/pieces", object["sha1"].as_str().unwrap()))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap();
        let expected: Vec<String> =
            bytes.chunks(PIECE).map(|piece| hex::encode(sha2::Sha256::digest(piece))).collect();
        assert_eq!(pieces["sha256"], json!(expected));
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_content_under_any_name_is_a_duplicate_with_the_link_that_exists() {
    let cluster = Cluster::start().await;
    let first = cluster.store("first.txt", "the same").await;
    let (status, again) = cluster.upload("second.txt", "the same").await;
    assert_eq!(
        (status, &again["status"], &again["name"]),
        (StatusCode::OK, &json!("duplicate"), &json!("second.txt"))
    );
    assert_eq!(again["url"], first["url"]);
    assert_eq!(again["replicas"], first["replicas"]);
    let list: Value = cluster.get("/api/v1/files").send().await.unwrap().json().await.unwrap();
    assert_eq!(list["files"].as_array().unwrap().len(), 1);
    assert_kept(&cluster, &again, b"the same");
    let (_, other) = cluster.upload("first.txt", "other content of the same name").await;
    assert_eq!(other["status"], "stored");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_clients_with_one_content_store_it_once() {
    let cluster = Cluster::start().await;
    let bytes = content(16, 300_000);
    let uploads = (0..16).map(|index| {
        let (cluster, bytes) = (&cluster, bytes.clone());
        async move { cluster.upload(&format!("{index}.bin"), bytes).await }
    });
    let answers = futures_util::future::join_all(uploads).await;
    let stored = answers.iter().filter(|(status, _)| *status == StatusCode::CREATED).count();
    assert_eq!(stored, 1, "{answers:?}");
    assert!(answers.iter().all(|(status, _)| status.is_success()), "{answers:?}");
    assert_kept(&cluster, &answers[0].1, &bytes);
    let totals: BTreeSet<String> = answers.iter().map(|(_, object)| object["url"].to_string()).collect();
    assert_eq!(totals.len(), 1);
    // The losers' sessions are gone, too.
    for place in ["toronto", "amsterdam", "bangalore", "singapore"] {
        poll("sessions to end", || async {
            cluster
                .files_on(place)
                .iter()
                .all(|path| !path.to_string_lossy().contains("sessions"))
                .then_some(())
        })
        .await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_digest_that_lies_is_refused_and_leaves_nothing() {
    let cluster = Cluster::start().await;
    let wrong = STANDARD.encode(Sha1::digest(b"something else"));
    let send = |digest: String| {
        cluster.post("/api/v1/files?name=lie.txt").header("repr-digest", digest).body("the truth").send()
    };
    let answer = send(format!("sha=:{wrong}:")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["type"], "/problems/wrong-digest");
    cluster.wait_until_empty(DEADLINE).await;
    assert_eq!(send("sha=:nonsense:".to_owned()).await.unwrap().status(), StatusCode::BAD_REQUEST);
    let right = STANDARD.encode(Sha1::digest(b"the truth"));
    let right256 = STANDARD.encode(sha2::Sha256::digest(b"the truth"));
    let answer = send(format!("sha=:{right}:, sha-256=:{right256}:")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn known_collisions_are_refused_and_leave_nothing() {
    let cluster = Cluster::start().await;
    for file in ["shattered-1.bin", "shattered-2.bin", "sha-mbles-1.bin", "sha-mbles-2.bin"] {
        let bytes =
            std::fs::read(format!("{}/crates/hash/tests/data/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        let (status, problem) = cluster.upload(file, bytes).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert_eq!(problem["type"], "/problems/collision-attack");
    }
    cluster.wait_until_empty(DEADLINE).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn put_answers_the_link_and_a_newline_for_any_name() {
    let cluster = Cluster::start().await;
    for (index, name) in
        ["hello.txt", "upload", "metrics", "healthz", "d", "%E5%90%8D%20.txt"].into_iter().enumerate()
    {
        let answer = cluster
            .http
            .put(cluster.url(&format!("/{name}")))
            .body(format!("put {index}"))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED, "{name}");
        assert!(answer.headers()["content-type"].to_str().unwrap().starts_with("text/plain"));
        let link = answer.text().await.unwrap();
        assert!(link.ends_with(&format!("/{name}\n")), "{link}");
        assert_eq!(cluster.download(link.trim()).await, format!("put {index}").as_bytes());
    }
    let again = cluster.http.put(cluster.url("/other.txt")).body("put 0").send().await.unwrap();
    assert_eq!(again.status(), StatusCode::OK);
    assert!(again.text().await.unwrap().ends_with("/hello.txt\n"));
    cluster.stop().await;
}

fn form(files: &[(&str, &str)]) -> (String, String) {
    let mut body = String::new();
    for (name, content) in files {
        body.push_str(&format!(
            "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"{name}\"\r\nContent-Type: text/plain\r\n\r\n{content}\r\n"
        ));
    }
    body.push_str("--XX--\r\n");
    ("multipart/form-data; boundary=XX".to_owned(), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_answered_file_by_file_in_its_order() {
    let cluster = Cluster::start().await;
    let send = |files: &[(&str, &str)], accept: &'static str| {
        let (kind, body) = form(files);
        cluster.post("/upload").header("content-type", kind).header("accept", accept).body(body).send()
    };
    let files = [("a.txt", "one"), ("folder\\b.txt", "one"), ("bad\t.txt", "two"), ("c.txt", "three")];
    let answer = send(&files, "*/*").await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    let body: Value = answer.json().await.unwrap();
    let states: Vec<&str> =
        body["files"].as_array().unwrap().iter().map(|file| file["status"].as_str().unwrap()).collect();
    assert_eq!(states, ["stored", "duplicate", "error", "stored"], "{body}");
    assert_eq!(body["files"][1]["url"], body["files"][0]["url"]);
    assert_eq!(body["files"][2]["problem"]["type"], "/problems/invalid-name");
    assert_kept(&cluster, &body["files"][3], b"three");

    let known = send(&[("a.txt", "one"), ("c.txt", "three")], "application/json").await.unwrap();
    assert_eq!(known.status(), StatusCode::OK);
    let page = send(&[("a.txt", "one"), ("c.txt", "three")], "text/html").await.unwrap();
    assert_eq!(page.status(), StatusCode::CONFLICT);
    assert!(page.text().await.unwrap().contains(body["files"][0]["url"].as_str().unwrap()));
    let stored =
        send(&[("new.txt", "four"), ("a.txt", "one"), ("bad\t.txt", "x")], "text/html,*/*").await.unwrap();
    assert_eq!(stored.status(), StatusCode::SEE_OTHER);
    let result = cluster.get(stored.headers()["location"].to_str().unwrap()).send().await.unwrap();
    assert_eq!(result.status(), StatusCode::OK);
    let result = result.text().await.unwrap();
    assert!(
        result.contains("new.txt") && result.contains("Already here") && result.contains("Not stored"),
        "{result}"
    );
    // As browsers write a name with quotes.
    let quoted: Value = send(&[("%22q%22.txt", "quoted")], "*/*").await.unwrap().json().await.unwrap();
    assert_eq!(quoted["files"][0]["name"], "\"q\".txt");
    let refused = send(&[("bad\t.txt", "x")], "text/html").await.unwrap();
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert!(refused.text().await.unwrap().contains("<html"));
    // A part's header that is no HTTP: what came before it is kept, and the rest is told of.
    let broken = send(&[("five.txt", "five"), ("bad\u{7}.txt", "x"), ("c.txt", "c")], "*/*").await.unwrap();
    assert_eq!(broken.status(), StatusCode::CREATED);
    let broken: Value = broken.json().await.unwrap();
    assert_eq!(broken["files"][1]["problem"]["type"], "/problems/bad-request", "{broken}");
    assert_eq!(broken["files"].as_array().unwrap().len(), 2);
    // What a browser sends when no file was chosen.
    let nothing = send(&[("", "")], "*/*").await.unwrap();
    assert_eq!(nothing.status(), StatusCode::BAD_REQUEST);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_attack_are_refused_or_tamed() {
    let cluster = Cluster::start().await;
    let too_long = "x".repeat(256);
    for name in ["", "a/", "..", "a\nb", "a\0b", too_long.as_str()] {
        let (status, problem) = cluster.upload(name, "never stored").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{name:?}");
        assert_eq!(problem["type"], "/problems/invalid-name");
    }
    cluster.wait_until_empty(DEADLINE).await;
    for (index, (given, kept)) in [
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\\"quo;te\".txt", "\"quo;te\".txt"),
        ("<script>\u{202e}.html", "<script>\u{202e}.html"),
    ]
    .into_iter()
    .enumerate()
    {
        let object = cluster.store(given, format!("attack {index}")).await;
        assert_eq!(object["name"], given);
        let node = crate::support::location(&cluster.redirect(object["url"].as_str().unwrap()).await);
        let answer = cluster.http.get(node).send().await.unwrap();
        let disposition = answer.headers()["content-disposition"].to_str().unwrap().to_owned();
        assert!(disposition.starts_with("attachment; filename="), "{disposition}");
        let list: Value = cluster.get("/api/v1/files?limit=1").send().await.unwrap().json().await.unwrap();
        assert_eq!(list["files"][0]["name"], kept);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_vanishes_leaves_nothing_within_five_seconds() {
    let cluster = Cluster::start().await;
    for framing in ["content-length: 10000000", "transfer-encoding: chunked"] {
        let mut socket = TcpStream::connect(cluster.base.trim_start_matches("http://")).await.unwrap();
        let host = cluster.base.trim_start_matches("http://");
        let head = format!("POST /api/v1/files?name=gone.bin HTTP/1.1\r\nhost: {host}\r\n{framing}\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let part = content(5, 1 << 20);
        if framing.starts_with("transfer") {
            socket.write_all(format!("{:x}\r\n", part.len()).as_bytes()).await.unwrap();
        }
        socket.write_all(&part).await.unwrap();
        poll("sessions on two nodes", || async {
            let with_data = ["toronto", "amsterdam", "bangalore", "singapore"]
                .iter()
                .filter(|place| !cluster.files_on(place).is_empty())
                .count();
            (with_data == 2).then_some(())
        })
        .await;
        drop(socket);
        cluster.wait_until_empty(Duration::from_secs(5)).await;
    }
    let list: Value = cluster.get("/api/v1/files").send().await.unwrap().json().await.unwrap();
    assert_eq!(list["files"], json!([]));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_in_the_middle_is_replaced() {
    let mut cluster = Cluster::start().await;
    let bytes = content(6, 8 << 20);
    let (first, rest) = bytes.split_at(1 << 20);
    let (feed, body) = tokio::sync::mpsc::channel::<Result<Bytes, std::io::Error>>(1);
    feed.send(Ok(Bytes::copy_from_slice(first))).await.unwrap();
    let body = reqwest::Body::wrap_stream(stream::unfold(body, |mut body| async {
        Some((body.recv().await?, body))
    }));
    let request = cluster.post("/api/v1/files?name=half.bin").body(body).send();
    let upload = tokio::spawn(request);
    let chosen = poll("sessions on two nodes", || async {
        let with_data: Vec<&str> = ["toronto", "amsterdam", "bangalore", "singapore"]
            .into_iter()
            .filter(|place| {
                cluster.files_on(place).iter().any(|path| path.metadata().is_ok_and(|data| data.len() > 0))
            })
            .collect();
        (with_data.len() == 2).then_some(with_data)
    })
    .await;
    cluster.stop_node(chosen[0]).await;
    for part in rest.chunks(1 << 20) {
        feed.send(Ok(Bytes::copy_from_slice(part))).await.unwrap();
    }
    drop(feed);
    let answer = upload.await.unwrap().unwrap();
    let status = answer.status();
    let object: Value = answer.json().await.unwrap();
    assert_eq!(status, StatusCode::CREATED, "{object}");
    assert_kept(&cluster, &object, &bytes);
    assert!(!places(&object).contains(&chosen[0].to_owned()));
    assert!(cluster.download(object["url"].as_str().unwrap()).await == bytes);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fewer_than_two_nodes_is_unavailable_and_records_nothing() {
    let mut cluster =
        Cluster::with(Options { places: vec!["toronto", "amsterdam"], ..Options::default() }).await;
    cluster.stop_node("toronto").await;
    cluster.wait_for_nodes(1).await;
    let answer = cluster.post("/api/v1/files?name=a.txt").body("abc").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    assert_eq!(cluster.get("/readyz").send().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    cluster.start_node("toronto");
    cluster.wait_for_nodes(2).await;
    assert_eq!(cluster.get("/readyz").send().await.unwrap().status(), StatusCode::OK);
    cluster.store("a.txt", "abc").await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_as_soon_as_it_is_known() {
    let limits = Limits { file_bytes: 1000, ..Limits::default() };
    let cluster = Cluster::with(Options { limits, ..Options::default() }).await;
    let (status, problem) = cluster.upload("large.bin", vec![0; 1001]).await;
    assert_eq!((status, &problem["type"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("/problems/too-large")));
    // Known from the header alone: the body never comes.
    let mut socket = TcpStream::connect(cluster.base.trim_start_matches("http://")).await.unwrap();
    let host = cluster.base.trim_start_matches("http://");
    socket
        .write_all(
            format!("POST /api/v1/files?name=large HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1001\r\n\r\n")
                .as_bytes(),
        )
        .await
        .unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 413");
    // Not known from a header.
    let body = stream::iter((0..3).map(|_| Ok::<_, std::io::Error>(Bytes::from(vec![0; 400]))));
    let (status, _) = cluster.upload("large.bin", reqwest::Body::wrap_stream(body)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    cluster.wait_until_empty(DEADLINE).await;
    cluster.store("fits.bin", vec![0; 1000]).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_sender_is_cut_and_leaves_nothing() {
    let limits = Limits { stalled_after: Duration::from_secs(1), ..Limits::default() };
    let cluster = Cluster::with(Options { limits, ..Options::default() }).await;
    let host = cluster.base.trim_start_matches("http://");
    let mut socket = TcpStream::connect(host).await.unwrap();
    let head =
        format!("POST /api/v1/files?name=slow HTTP/1.1\r\nhost: {host}\r\ncontent-length: 1000\r\n\r\nabc");
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 408");
    cluster.wait_until_empty(DEADLINE).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_cannot_take_every_upload() {
    let limits = Limits { uploads: 4, uploads_per_address: 2, ..Limits::default() };
    let cluster = Cluster::with(Options { limits, ..Options::default() }).await;
    let host = cluster.base.trim_start_matches("http://");
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut socket = TcpStream::connect(host).await.unwrap();
        let head =
            format!("POST /api/v1/files?name=held HTTP/1.1\r\nhost: {host}\r\ncontent-length: 10\r\n\r\nabc");
        socket.write_all(head.as_bytes()).await.unwrap();
        held.push(socket);
    }
    poll("both uploads to begin", || async {
        let metrics = cluster.get("/metrics").send().await.unwrap().text().await.unwrap();
        metrics.contains("\ncloseby_uploads_running 2\n").then_some(())
    })
    .await;
    let (status, problem) = cluster.upload("third", "third").await;
    assert_eq!((status, &problem["type"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("/problems/busy")));
    let other =
        cluster.post("/api/v1/files?name=other").header("x-forwarded-for", "203.5.76.1").body("other").send();
    assert_eq!(other.await.unwrap().status(), StatusCode::CREATED);
    drop(held);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_there_after_a_restart() {
    let mut cluster = Cluster::start().await;
    let bytes = content(9, 5 << 20);
    let object = cluster.store("kept.bin", bytes.clone()).await;
    for place in ["toronto", "amsterdam", "bangalore", "singapore"] {
        cluster.stop_node(place).await;
    }
    cluster.stop_central().await;
    cluster.start_central().await;
    for place in ["toronto", "amsterdam", "bangalore", "singapore"] {
        cluster.start_node(place);
    }
    cluster.wait_for_nodes(4).await;
    assert!(cluster.download(object["url"].as_str().unwrap()).await == bytes);
    let (status, again) = cluster.upload("again.bin", bytes.clone()).await;
    assert_eq!((status, &again["url"]), (StatusCode::OK, &object["url"]));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_cannot_upload() {
    let cluster = Cluster::start().await;
    let send = |name: &'static str, value: &str| {
        cluster.post("/api/v1/files?name=x").header(name, value).body("forged").send()
    };
    for (name, value) in
        [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example"), ("origin", "null")]
    {
        let answer = send(name, value).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{name}: {value}");
    }
    assert_eq!(send("origin", &cluster.base).await.unwrap().status(), StatusCode::CREATED);
    let other_host = cluster.get("/files").header("host", "evil.example").send().await.unwrap();
    assert_eq!(other_host.status(), StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(
        cluster.get("/healthz").header("host", "10.0.0.1").send().await.unwrap().status(),
        StatusCode::OK
    );
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn precheck_asks_for_sizes_first_then_digests() {
    let cluster = Cluster::start().await;
    let object = cluster.store("known.bin", "known content").await;
    let ask = |files: Value| cluster.post("/api/v1/precheck").json(&json!({ "files": files })).send();
    let answer: Value = ask(json!([
        { "size": 13 },
        { "size": 14 },
        { "size": 13, "sha1": object["sha1"] },
        { "size": 99, "sha1": object["sha1"].as_str().unwrap().to_uppercase() },
        { "size": 13, "sha1": "0000000000000000000000000000000000000000" },
    ]))
    .await
    .unwrap()
    .json()
    .await
    .unwrap();
    let states: Vec<&str> =
        answer["files"].as_array().unwrap().iter().map(|file| file["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["hash", "send", "exists", "exists", "send"]);
    assert_eq!(answer["files"][2]["url"], object["url"]);
    assert_eq!(ask(json!([{ "size": 1, "sha1": "xyz" }])).await.unwrap().status(), StatusCode::BAD_REQUEST);
    let many: Vec<Value> = (0..1001).map(|size| json!({ "size": size })).collect();
    assert_eq!(ask(json!(many)).await.unwrap().status(), StatusCode::BAD_REQUEST);
    assert_eq!(ask(json!(many[..1000])).await.unwrap().status(), StatusCode::OK);
    for (kind, status) in
        [("application/json", StatusCode::BAD_REQUEST), ("text/plain", StatusCode::UNSUPPORTED_MEDIA_TYPE)]
    {
        let nonsense = cluster.post("/api/v1/precheck").header("content-type", kind).body("nonsense");
        assert_eq!(nonsense.send().await.unwrap().status(), status);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_blob_with_too_few_copies_is_healed_by_an_upload() {
    let options = Options {
        // Longer than the pause between two beats.
        node_out_after: Duration::from_secs(10),
        ..Options::default()
    };
    let mut cluster = Cluster::with(options).await;
    let bytes = content(11, 100_000);
    let object = cluster.store("hurt.bin", bytes.clone()).await;
    let lost: &'static str = ["toronto", "amsterdam", "bangalore", "singapore"]
        .into_iter()
        .find(|place| places(&object).contains(&(*place).to_owned()))
        .unwrap();
    cluster.stop_node(lost).await;
    // A short absence is no loss.
    let ask = || async {
        let question = json!({ "files": [{ "size": bytes.len(), "sha1": object["sha1"] }] });
        let answer: Value =
            cluster.post("/api/v1/precheck").json(&question).send().await.unwrap().json().await.unwrap();
        answer["files"][0]["state"].as_str().unwrap().to_owned()
    };
    poll("the node to be out", || async { (ask().await == "send").then_some(()) }).await;
    let (status, healed) = cluster.upload("again.bin", bytes.clone()).await;
    assert_eq!(
        (status, &healed["status"], &healed["healed"]),
        (StatusCode::OK, &json!("duplicate"), &json!(true)),
        "{healed}"
    );
    assert_eq!(places(&healed).len(), 2);
    assert!(!places(&healed).contains(&lost.to_owned()));
    assert_eq!(ask().await, "exists");
    let holders = cluster.holders(object["sha1"].as_str().unwrap(), &bytes);
    assert!(places(&healed).iter().all(|place| holders.contains(&place.as_str())), "{holders:?}");
    cluster.stop().await;
}
