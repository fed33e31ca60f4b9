//! What Prometheus reads of central and of nodes, while files come and go.

use std::collections::BTreeSet;

use reqwest::StatusCode;
use serde_json::json;

use crate::support::{Cluster, Options, content, location, poll};

/// The families of a scrape.
pub fn families(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .filter_map(|line| line.split(' ').next())
        .map(ToOwned::to_owned)
        .collect()
}

/// The sum of a family's samples whose line has all of these words.
pub fn sum(text: &str, family: &str, words: &[&str]) -> f64 {
    text.lines()
        .filter(|line| line.split(['{', ' ']).next() == Some(family))
        .filter(|line| words.iter().all(|word| line.contains(word)))
        .map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap())
        .sum()
}

async fn scrape(cluster: &Cluster, url: &str) -> String {
    let answer = cluster.http.get(url).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{url}");
    answer.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_counted_on_central_and_on_nodes() {
    let mut cluster =
        Cluster::with(Options { places: vec!["toronto", "amsterdam"], ..Options::default() }).await;
    let central = format!("{}/metrics", cluster.base);
    let first = scrape(&cluster, &central).await;
    let bytes = content(1, 300_000);
    let object = cluster.store("one.bin", bytes.clone()).await;
    let (status, again) = cluster.upload("again.bin", bytes.clone()).await;
    assert_eq!((status, &again["status"]), (StatusCode::OK, &json!("duplicate")));
    let question = json!({ "files": [{ "size": bytes.len(), "sha1": object["sha1"] }] });
    let asked = cluster.post("/api/v1/precheck").json(&question).send().await.unwrap();
    assert_eq!(asked.status(), StatusCode::OK);
    let link = location(&cluster.redirect(object["url"].as_str().unwrap()).await);
    assert_eq!(cluster.http.get(&link).send().await.unwrap().bytes().await.unwrap(), bytes);
    let text = scrape(&cluster, &central).await;
    assert_eq!(families(&text), families(&first), "every family from the first scrape on");
    for (family, words, count) in [
        ("closeby_uploads_total", vec!["outcome=\"stored\""], 1.0),
        ("closeby_duplicates_total", vec!["found=\"decide\""], 1.0),
        ("closeby_duplicates_total", vec!["found=\"precheck\""], 1.0),
        ("closeby_saved_bytes_total", vec![], 600_000.0),
        ("closeby_upload_received_bytes_total", vec![], 600_000.0),
        ("closeby_upload_sent_bytes_total", vec![], 1_200_000.0),
        ("closeby_placements_total", vec!["place=\"Toronto\""], 2.0),
        ("closeby_placements_total", vec!["place=\"Amsterdam\""], 2.0),
        ("closeby_node_up", vec![], 2.0),
        ("closeby_node_replicas", vec!["place=\"Toronto\""], 1.0),
        ("closeby_replicas", vec!["state=\"stored\""], 2.0),
        ("closeby_copies_missing", vec![], 0.0),
        ("closeby_http_requests_total", vec!["route=\"upload\"", "status=\"2xx\""], 2.0),
        ("closeby_http_requests_total", vec!["route=\"download\"", "status=\"3xx\""], 1.0),
        ("closeby_upload_slots", vec![], 64.0),
    ] {
        assert_eq!(sum(&text, family, &words), count, "{family} {words:?} in {text}");
    }
    for family in ["closeby_ledger_file_bytes", "closeby_ledger_disk_free_bytes", "process_open_fds"] {
        assert!(sum(&text, family, &[]) > 0.0, "{family} in {text}");
    }
    for call in ["call=\"read\"", "call=\"write\"", "call=\"decide_upload\""] {
        assert!(sum(&text, "closeby_ledger_seconds_count", &[call]) > 0.0, "{call} in {text}");
    }

    let node = format!("{}/metrics", link.split("/b/").next().unwrap());
    let text = scrape(&cluster, &node).await;
    for (family, words, count) in [
        ("closeby_storage_received_bytes_total", vec![], 600_000.0),
        ("closeby_storage_sent_bytes_total", vec![], 300_000.0),
        ("closeby_storage_digests_total", vec!["outcome=\"verified\""], 2.0),
        ("closeby_storage_disk_errors_total", vec![], 0.0),
        ("closeby_http_requests_total", vec!["route=\"download\"", "status=\"2xx\""], 1.0),
        ("closeby_http_requests_total", vec!["route=\"upload\"", "status=\"2xx\""], 2.0),
    ] {
        assert_eq!(sum(&text, family, &words), count, "{family} {words:?} in {text}");
    }
    assert!(sum(&text, "closeby_storage_heartbeats_total", &["outcome=\"accepted\""]) > 0.0, "{text}");
    assert!(sum(&text, "closeby_storage_last_beat_age_seconds", &[]) < 30.0, "{text}");

    // One of two is away: it is silent, and an upload finds too few.
    cluster.stop_node("toronto").await;
    let refused = poll("a refused upload", || async {
        let (status, _) = cluster.upload("two.bin", content(2, 10)).await;
        (status == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    });
    refused.await;
    let text = scrape(&cluster, &central).await;
    assert_eq!(sum(&text, "closeby_node_up", &["place=\"Toronto\""]), 0.0, "{text}");
    assert!(sum(&text, "closeby_placements_refused_total", &["reason=\"too_few_nodes\""]) >= 1.0, "{text}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_on_a_node_that_is_out_are_missing() {
    let options = Options {
        places: vec!["toronto", "amsterdam"],
        // Longer than from one heartbeat to the next.
        node_out_after: std::time::Duration::from_secs(7),
        ..Options::default()
    };
    let mut cluster = Cluster::with(options).await;
    cluster.store("three.bin", content(3, 1000)).await;
    cluster.stop_node("amsterdam").await;
    let central = format!("{}/metrics", cluster.base);
    poll("the node is out", || async {
        let text = scrape(&cluster, &central).await;
        (sum(&text, "closeby_node_out", &["place=\"Amsterdam\""]) == 1.0
            && sum(&text, "closeby_copies_missing", &[]) == 1.0
            && sum(&text, "closeby_replicas", &["state=\"out\""]) == 1.0)
            .then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_is_gone_is_told_beside_what_was_counted() {
    let cluster = Cluster::with(Options { places: vec!["toronto", "amsterdam"], ..Options::default() }).await;
    let object = cluster.store("one.bin", content(4, 1000)).await;
    let link = location(&cluster.redirect(object["url"].as_str().unwrap()).await);
    let central = format!("{}/metrics", cluster.base);
    let nodes = format!("{}/metrics", link.split("/b/").next().unwrap());
    for (url, up, counted, gauge, folders) in [
        (
            central,
            "closeby_ledger_up",
            "closeby_stored_bytes_total",
            "closeby_blobs",
            vec![cluster.central_data()],
        ),
        (
            nodes,
            "closeby_storage_up",
            "closeby_storage_received_bytes_total",
            "closeby_storage_total_bytes",
            vec![cluster.node_dir("toronto"), cluster.node_dir("amsterdam")],
        ),
    ] {
        let before = scrape(&cluster, &url).await;
        assert_eq!(sum(&before, up, &[]), 1.0, "{before}");
        let aside = |folder: &std::path::Path| folder.with_extension("aside");
        for folder in &folders {
            std::fs::rename(folder, aside(folder)).unwrap();
        }
        let gone = scrape(&cluster, &url).await;
        for folder in &folders {
            std::fs::rename(aside(folder), folder).unwrap();
        }
        assert_eq!(sum(&gone, up, &[]), 0.0, "{gone}");
        assert_eq!(sum(&gone, counted, &[]), 1000.0, "{gone}");
        assert_eq!(sum(&gone, gauge, &[]), sum(&before, gauge, &[]), "{gone}");
        assert_eq!(families(&gone), families(&before));
        assert_eq!(sum(&scrape(&cluster, &url).await, up, &[]), 1.0);
    }
    cluster.stop().await;
}
