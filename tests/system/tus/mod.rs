//! Resumable uploads over tus 1.0.0: the protocol, and below what breaks it.

mod clients;
mod crashes;
mod cuts;
mod ends;
mod nodes;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use closeby::config::Limits;
use futures_util::stream;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use sha1::Digest as _;

use crate::support::tus::PART;
use crate::support::{Cluster, DEADLINE, Options, content, places, poll};

/// Nodes acknowledge at every multiple of it.
const PIECE: usize = 4 << 20;

fn sha1(bytes: &[u8]) -> [u8; 20] {
    sha1::Sha1::digest(bytes).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tus(cluster: &Cluster, method: Method, url: &str) -> RequestBuilder {
    cluster.http.request(method, cluster.url(url)).header("tus-resumable", "1.0.0")
}

fn create(cluster: &Cluster, name: &str, size: usize) -> RequestBuilder {
    let metadata = format!("filename {},filetype {}", STANDARD.encode(name), STANDARD.encode("text/x-tus"));
    tus(cluster, Method::POST, "/api/v1/uploads")
        .header("upload-length", size)
        .header("upload-metadata", metadata)
}

fn patch(cluster: &Cluster, url: &str, offset: usize, body: impl Into<reqwest::Body>) -> RequestBuilder {
    tus(cluster, Method::PATCH, url).header("upload-offset", offset).header("content-type", PART).body(body)
}

fn offset(answer: &Response) -> usize {
    answer.headers()["upload-offset"].to_str().unwrap().parse().unwrap()
}

async fn begin(cluster: &Cluster, name: &str, size: usize) -> String {
    let answer = create(cluster, name, size).send().await.unwrap();
    assert_eq!(answer.status(), 201);
    assert_eq!(answer.headers()["tus-resumable"], "1.0.0");
    assert!(answer.headers().contains_key("upload-expires"));
    answer.headers()["location"].to_str().unwrap().to_owned()
}

/// Where to go on, as soon as somebody can say so.
async fn stands(cluster: &Cluster, url: &str) -> usize {
    poll("an offset", || async {
        let answer = tus(cluster, Method::HEAD, url).send().await.ok()?;
        (answer.status() == 200).then(|| offset(&answer))
    })
    .await
}

async fn object(cluster: &Cluster, url: &str) -> Value {
    let answer = cluster.get(url).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json().await.unwrap()
}

/// A body whose length is not said before it.
fn streamed(bytes: &'static [u8]) -> reqwest::Body {
    reqwest::Body::wrap_stream(stream::iter([Ok::<_, std::io::Error>(bytes)]))
}

/// Two copies on two nodes, where the object says they are, and no session anywhere.
async fn assert_kept(cluster: &Cluster, object: &Value, bytes: &[u8]) {
    let mut holders = cluster.holders(&hex(&sha1(bytes)), bytes);
    holders.sort_unstable();
    assert_eq!(holders.len(), 2, "{object}");
    assert_eq!(holders, places(object));
    assert!(cluster.download(object["url"].as_str().unwrap()).await == bytes);
    poll("sessions to end", || async { cluster.sessions().is_empty().then_some(()) }).await;
}

async fn problem(answer: Response, status: u16, kind: &str) -> Value {
    assert_eq!(answer.headers()["tus-resumable"], "1.0.0");
    assert_eq!(answer.status(), status);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["type"], format!("/problems/{kind}"), "{problem}");
    problem
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_is_spoken() {
    let cluster = Cluster::start().await;
    let answer = cluster.http.request(Method::OPTIONS, cluster.url("/api/v1/uploads")).send().await.unwrap();
    assert_eq!(answer.status(), 204);
    assert_eq!(answer.headers()["tus-version"], "1.0.0");
    assert_eq!(answer.headers()["tus-checksum-algorithm"], "sha1");
    assert_eq!(answer.headers()["tus-max-size"], (1_u64 << 40).to_string());
    assert_eq!(
        answer.headers()["tus-extension"],
        "creation,creation-with-upload,checksum,termination,expiration"
    );
    let none = cluster.post("/api/v1/uploads").header("upload-length", 3).send().await.unwrap();
    assert_eq!(none.headers()["tus-version"], "1.0.0");
    problem(none, 412, "unsupported-version").await;
    let no_length = tus(&cluster, Method::POST, "/api/v1/uploads").send().await.unwrap();
    problem(no_length, 400, "bad-request").await;
    problem(create(&cluster, "a/..", 5).send().await.unwrap(), 400, "invalid-name").await;
    problem(create(&cluster, "a", (1 << 40) + 1).send().await.unwrap(), 413, "too-large").await;

    for request in [
        create(&cluster, "a", 1).header("content-type", "text/plain").body("x"),
        create(&cluster, "a", 1).body("x"),
        create(&cluster, "a", 1).body(streamed(b"x")),
    ] {
        problem(request.send().await.unwrap(), 415, "unsupported-media-type").await;
    }
    assert!(cluster.sessions().is_empty(), "nothing was begun");

    let text = content(1, 300_000);
    let url = begin(&cluster, "ü.txt", text.len()).await;
    let receiving = object(&cluster, &url).await;
    assert_eq!((&receiving["status"], &receiving["offset"]), (&"receiving".into(), &0.into()));
    let wrong_type = tus(&cluster, Method::PATCH, &url).header("upload-offset", 0).body(text.clone());
    problem(wrong_type.send().await.unwrap(), 415, "unsupported-media-type").await;
    let beyond = patch(&cluster, &url, 0, [text.clone(), vec![1]].concat()).send().await.unwrap();
    problem(beyond, 413, "too-large").await;
    let ahead = patch(&cluster, &url, 7, text[7..].to_vec()).send().await.unwrap();
    assert_eq!(problem(ahead, 409, "wrong-offset").await["offset"], 0);

    let first = patch(&cluster, &url, 0, text[..100_000].to_vec()).send().await.unwrap();
    assert_eq!((first.status().as_u16(), offset(&first)), (204, 100_000));
    assert!(first.headers().contains_key("upload-expires"));
    // A wrong checksum takes nothing, whoever has read it.
    let part = &text[100_000..200_000];
    let sum = |bytes: &[u8]| format!("sha1 {}", STANDARD.encode(sha1(bytes)));
    let wrong = patch(&cluster, &url, 100_000, part.to_vec()).header("upload-checksum", sum(b"x"));
    problem(wrong.send().await.unwrap(), 460, "checksum-mismatch").await;
    let head = tus(&cluster, Method::HEAD, &url).send().await.unwrap();
    assert_eq!(head.status(), 200);
    assert_eq!((offset(&head), head.headers()["upload-length"].to_str().unwrap()), (100_000, "300000"));
    assert_eq!(head.headers()["cache-control"], "no-store");
    let metadata = head.headers()["upload-metadata"].to_str().unwrap();
    assert!(metadata.starts_with(&format!("filename {}", STANDARD.encode("ü.txt"))), "{metadata}");
    let unread = patch(&cluster, &url, 100_000, part.to_vec()).header("upload-checksum", "md5 AAAA");
    problem(unread.send().await.unwrap(), 400, "bad-request").await;
    let right = patch(&cluster, &url, 100_000, part.to_vec()).header("upload-checksum", sum(part));
    assert_eq!(offset(&right.send().await.unwrap()), 200_000);
    // The method in a field.
    let last = tus(&cluster, Method::POST, &url)
        .header("x-http-method-override", "PATCH")
        .header("upload-offset", 200_000)
        .header("content-type", PART)
        .header("repr-digest", format!("sha=:{}:", STANDARD.encode(sha1(&text))))
        .body(text[200_000..].to_vec());
    let last = last.send().await.unwrap();
    assert_eq!((last.status().as_u16(), offset(&last)), (204, 300_000));
    let stored = object(&cluster, &url).await;
    assert_eq!((&stored["status"], &stored["name"]), (&"stored".into(), &"ü.txt".into()));
    assert_eq!(cluster.holders(&hex(&sha1(&text)), &text), {
        let mut on: Vec<_> = cluster.places().to_vec();
        let named = places(&stored);
        on.retain(|place| named.iter().any(|name| name == place));
        on
    });
    assert_eq!(cluster.download(stored["url"].as_str().unwrap()).await, text);
    // What was decided stands, however often it is asked.
    assert_eq!(stands(&cluster, &url).await, 300_000);
    let again = patch(&cluster, &url, 300_000, "").send().await.unwrap();
    assert_eq!((again.status().as_u16(), offset(&again)), (204, 300_000));
    assert_eq!(object(&cluster, &url).await["status"], "stored");
    problem(tus(&cluster, Method::DELETE, &url).send().await.unwrap(), 404, "not-found").await;
    let unknown = format!("/api/v1/uploads/{}", "0".repeat(32));
    problem(patch(&cluster, &unknown, 0, "").send().await.unwrap(), 404, "not-found").await;

    // The same content in one request: a duplicate.
    let body = create(&cluster, "b", text.len()).header("content-type", PART).body(text.clone());
    let answer = body.send().await.unwrap();
    assert_eq!((answer.status().as_u16(), offset(&answer)), (201, 300_000));
    let url = answer.headers()["location"].to_str().unwrap().to_owned();
    let object_of_it = object(&cluster, &url).await;
    assert_eq!((&object_of_it["status"], &object_of_it["url"]), (&"duplicate".into(), &stored["url"]));
    // An empty one is complete at once.
    let url = begin(&cluster, "empty", 0).await;
    assert_eq!(object(&cluster, &url).await["status"], "stored");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_part_cuts_the_older() {
    let cluster = Cluster::start().await;
    let text = content(6, 400_000);
    let url = begin(&cluster, "two", text.len()).await;
    // Sends a part of its body, and then nothing for ever.
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    let body = stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|bytes: Bytes| (Ok::<_, std::io::Error>(bytes), receiver))
    });
    let older = patch(&cluster, &url, 0, reqwest::Body::wrap_stream(body)).send();
    let older = tokio::spawn(older);
    sender.send(Bytes::copy_from_slice(&text[..100_000])).await.unwrap();
    let on = cluster.sessions();
    poll("the older one", || async { on.iter().all(|place| cluster.session_bytes(place) > 0).then_some(()) })
        .await;
    stands(&cluster, &url).await;
    problem(older.await.unwrap().unwrap(), 409, "conflict").await;
    let at = stands(&cluster, &url).await;
    let rest = patch(&cluster, &url, at, text[at..].to_vec()).send().await.unwrap();
    assert_eq!(rest.status(), 204);
    assert_eq!(cluster.holders(&hex(&sha1(&text)), &text).len(), 2);
    drop(sender);
    cluster.stop().await;
}
