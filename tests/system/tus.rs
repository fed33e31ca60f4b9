//! Resumable uploads over tus 1.0.0.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use closeby::config::Limits;
use futures_util::{StreamExt as _, stream};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;
use sha1::Digest as _;

use crate::support::{Cluster, DEADLINE, Options, content, places, poll};

const PART: &str = "application/offset+octet-stream";

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

async fn problem(answer: Response, status: u16, kind: &str) -> Value {
    assert_eq!(answer.headers()["tus-resumable"], "1.0.0");
    assert_eq!(answer.status(), status);
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["type"], format!("/problems/{kind}"), "{problem}");
    problem
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// A body that breaks after so many bytes.
fn broken(bytes: &[u8]) -> reqwest::Body {
    let chunks: Vec<_> = bytes.chunks(16 << 10).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    let end = stream::iter([Err(std::io::Error::other("cut"))]);
    reqwest::Body::wrap_stream(stream::iter(chunks).chain(end))
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
async fn what_ends_leaves_nothing() {
    let cluster = Cluster::start().await;
    let text = content(2, 200_000);
    // Cancelled.
    let url = begin(&cluster, "a", text.len()).await;
    patch(&cluster, &url, 0, text[..100_000].to_vec()).send().await.unwrap().error_for_status().unwrap();
    assert_eq!(tus(&cluster, Method::DELETE, &url).send().await.unwrap().status(), 204);
    cluster.wait_until_empty(DEADLINE).await;
    problem(tus(&cluster, Method::DELETE, &url).send().await.unwrap(), 410, "ended").await;
    problem(patch(&cluster, &url, 100_000, "x").send().await.unwrap(), 410, "ended").await;
    assert_eq!(tus(&cluster, Method::HEAD, &url).send().await.unwrap().status(), 410);
    assert_eq!(object(&cluster, &url).await["status"], "error");
    // Another content than was announced at the beginning, or at the end.
    let wrong = STANDARD.encode(hex(&sha1(b"other")));
    let url = tus(&cluster, Method::POST, "/api/v1/uploads")
        .header("upload-length", text.len())
        .header("upload-metadata", format!("filename YQ==,sha1 {wrong}"));
    let url = url.send().await.unwrap().headers()["location"].to_str().unwrap().to_owned();
    problem(patch(&cluster, &url, 0, text.clone()).send().await.unwrap(), 422, "wrong-digest").await;
    assert_eq!(object(&cluster, &url).await["problem"]["type"], "/problems/wrong-digest");
    let url = begin(&cluster, "a", text.len()).await;
    let digest = format!("sha-256=:{}:", STANDARD.encode([7; 32]));
    let last = patch(&cluster, &url, 0, text.clone()).header("repr-digest", digest).send().await.unwrap();
    problem(last, 422, "wrong-digest").await;
    cluster.wait_until_empty(DEADLINE).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_finished_expires() {
    let limits = Limits { upload_life: std::time::Duration::from_secs(1), ..Limits::default() };
    let cluster = Cluster::with(Options { limits, ..Options::default() }).await;
    let url = begin(&cluster, "a", 1000).await;
    patch(&cluster, &url, 0, vec![1; 500]).send().await.unwrap();
    poll("its end", || async {
        let answer = cluster.get(&url).send().await.ok()?;
        let object: Value = answer.json().await.ok()?;
        (object["problem"]["type"] == "/problems/ended").then_some(())
    })
    .await;
    cluster.wait_until_empty(DEADLINE).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_goes_on_after_every_cut() {
    let mut cluster = Cluster::start().await;
    let text = content(3, 12 << 20);
    let url = begin(&cluster, "cuts", text.len()).await;
    let mut at = 0;
    let mut cuts = 0;
    let mut random = content(4, 60 * 8).chunks(8).map(number).collect::<Vec<_>>().into_iter();
    while cuts < 52 {
        let length = usize::try_from(random.next().unwrap() % 450_000).unwrap();
        let end = (at + length).min(text.len() - 1);
        let sent = patch(&cluster, &url, at, broken(&text[at..end])).send().await;
        assert!(sent.is_err() || !sent.unwrap().status().is_success());
        cuts += 1;
        if cuts == 15 {
            cluster.stop_central().await;
            cluster.start_central().await;
            cluster.wait_for_nodes(4).await;
        }
        if cuts == 30 {
            let place = *cluster.places().iter().find(|place| !cluster.files_on(place).is_empty()).unwrap();
            cluster.stop_node(place).await;
            if let Ok(answer) = patch(&cluster, &url, stands(&cluster, &url).await, "").send().await {
                assert!([204, 409, 503].contains(&answer.status().as_u16()), "{answer:?}");
            }
            cluster.start_node(place);
            cluster.wait_for_nodes(4).await;
        }
        let now = stands(&cluster, &url).await;
        assert!(now <= end, "{now} of {end}");
        at = now;
    }
    // How much of a part arrives before its connection breaks is the kernel's affair.
    assert!(at > 0, "nothing was kept");
    let last = patch(&cluster, &url, at, text[at..].to_vec());
    let digest = format!("sha=:{}:", STANDARD.encode(sha1(&text)));
    let last = last.header("repr-digest", digest).send().await.unwrap();
    assert_eq!(last.status(), 204, "{}", last.text().await.unwrap());
    assert_eq!(object(&cluster, &url).await["status"], "stored");
    assert_eq!(cluster.holders(&hex(&sha1(&text)), &text).len(), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_lost_is_replaced() {
    let mut cluster = Cluster::start().await;
    let text = content(5, 3 << 20);
    let url = begin(&cluster, "lost", text.len()).await;
    patch(&cluster, &url, 0, text[..1 << 20].to_vec()).send().await.unwrap().error_for_status().unwrap();
    for step in 1..3 {
        let holders: Vec<_> =
            cluster.places().iter().copied().filter(|p| !cluster.files_on(p).is_empty()).collect();
        cluster.stop_node(holders[0]).await;
        let _ = std::fs::remove_dir_all(cluster.node_dir(holders[0]));
        let from = step << 20;
        poll("the next part", || async {
            let answer =
                patch(&cluster, &url, from, text[from..from + (1 << 20)].to_vec()).send().await.ok()?;
            (answer.status() == 204).then_some(())
        })
        .await;
    }
    assert_eq!(object(&cluster, &url).await["status"], "stored");
    assert_eq!(cluster.holders(&hex(&sha1(&text)), &text).len(), 2);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_replaced_while_it_was_away_keeps_nothing() {
    let mut cluster = Cluster::start().await;
    let text = content(8, 3 << 20);
    for is_finished in [true, false] {
        let url = begin(&cluster, "away", text.len()).await;
        let send = |from: usize| patch(&cluster, &url, from, text[from..from + (1 << 20)].to_vec()).send();
        assert_eq!(send(0).await.unwrap().status(), 204);
        let has_session = |place: &&'static str| {
            cluster.files_on(place).iter().any(|path| path.to_string_lossy().contains("sessions"))
        };
        let away = cluster.places().iter().copied().find(has_session).unwrap();
        cluster.stop_node(away).await;
        poll("the next part", || async {
            let from = 1 << 20;
            let part = patch(&cluster, &url, from, text[from..from + (1 << 20)].to_vec());
            (part.send().await.ok()?.status() == 204).then_some(())
        })
        .await;
        cluster.start_node(away);
        cluster.wait_for_nodes(4).await;
        let last = if is_finished {
            patch(&cluster, &url, 2 << 20, text[2 << 20..].to_vec())
        } else {
            tus(&cluster, Method::DELETE, &url)
        };
        assert_eq!(last.send().await.unwrap().status(), 204);
        poll("every session's end", || async {
            let has_session = |place: &&&'static str| {
                cluster.files_on(place).iter().any(|path| path.to_string_lossy().contains("sessions"))
            };
            cluster.places().iter().find(has_session).is_none().then_some(())
        })
        .await;
    }
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
    poll("the older one", || async {
        let metrics = cluster.get("/metrics").send().await.ok()?.text().await.ok()?;
        metrics.contains("closeby_uploads_running 1").then_some(())
    })
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
