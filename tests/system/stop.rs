//! How a server stops: it says so first, and ends what it had begun.

use std::time::Duration;

use closeby::config::Stop;
use futures_util::StreamExt as _;
use reqwest::StatusCode;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::support::{Cluster, DEADLINE, Options, content, location, poll};

fn patient() -> Options {
    let stop = Stop { unready: Duration::from_secs(5), drain: DEADLINE };
    Options { places: vec!["toronto", "amsterdam"], stop, ..Options::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn central_says_that_it_stops_and_ends_the_uploads_that_it_took() {
    let mut cluster = Cluster::with(patient()).await;
    let bytes = content(9201, 2_000_000);
    let (parts, waiting) = mpsc::channel::<std::io::Result<Vec<u8>>>(1);
    let body = futures_util::stream::unfold(waiting, |mut waiting| async {
        waiting.recv().await.map(|part| (part, waiting))
    });
    let upload =
        cluster.post("/api/v1/files?name=going-on.bin").body(reqwest::Body::wrap_stream(body.boxed()));
    let upload = tokio::spawn(upload.send());
    parts.send(Ok(bytes[..1_000_000].to_vec())).await.unwrap();
    parts.send(Ok(Vec::new())).await.unwrap();

    cluster.begin_to_stop_central();
    poll("the word", || async {
        let answer = cluster.get("/readyz").send().await.ok()?;
        let is_unready = answer.status() == StatusCode::SERVICE_UNAVAILABLE;
        (is_unready && answer.text().await.ok()?.starts_with("stopping")).then_some(())
    })
    .await;
    // Who was sent here a moment ago is still served.
    assert_eq!(cluster.get("/").send().await.unwrap().status(), StatusCode::OK);
    poll("the end of its listener", || async { cluster.get("/healthz").send().await.err() }).await;
    parts.send(Ok(bytes[1_000_000..].to_vec())).await.unwrap();
    drop(parts);
    let answer = upload.await.unwrap().unwrap();
    let (status, object): (StatusCode, Value) = (answer.status(), answer.json().await.unwrap());
    assert_eq!(status, StatusCode::CREATED, "{object}");
    assert_eq!(cluster.holders(object["sha1"].as_str().unwrap(), &bytes).len(), 2);
    cluster.stop_central().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_serves_those_who_were_sent_to_it_before_it_said_goodbye() {
    let mut cluster = Cluster::with(patient()).await;
    let bytes = content(9202, 30_000_000);
    let object = cluster.store("going-on.bin", bytes.clone()).await;
    let link = object["url"].as_str().unwrap();
    let node = |place: &str| format!("/d/{}?node={place}", object["sha1"].as_str().unwrap());
    let sent_there = location(&cluster.redirect(&node("toronto")).await);
    let mut going_on = cluster.http.get(&sent_there).send().await.unwrap();
    let mut received = going_on.chunk().await.unwrap().unwrap().to_vec();

    let stopping = cluster.begin_to_stop_node("toronto");
    poll("the goodbye", || async {
        (cluster.get(&node("toronto")).send().await.ok()?.status() != StatusCode::FOUND).then_some(())
    })
    .await;
    let late = cluster.http.get(&sent_there).header("range", "bytes=0-9").send().await.unwrap();
    assert_eq!(late.bytes().await.unwrap(), bytes[..10]);
    assert_eq!(cluster.download(link).await, bytes, "by the other copy");
    while let Some(chunk) = going_on.chunk().await.unwrap() {
        received.extend_from_slice(&chunk);
    }
    assert!(received == bytes, "the download that it was busy with");
    stopping.await.unwrap();
    cluster.stop().await;
}
