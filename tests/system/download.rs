//! Links: which replica, which ticket, which bytes.

use std::process::Command;

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::{Cluster, Options, content, location, poll};

fn two_places() -> Options {
    Options { places: vec!["toronto", "amsterdam"], ..Options::default() }
}

/// Which place's node a link leads to, from the health list.
async fn place_of(cluster: &Cluster, node_url: &str) -> String {
    let nodes: Value = cluster.get("/api/v1/nodes").send().await.unwrap().json().await.unwrap();
    let found = nodes["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|node| node_url.starts_with(&format!("{}/", node["public_url"].as_str().unwrap())))
        .unwrap_or_else(|| panic!("{node_url} is no node's of {nodes}"));
    found["place"]["name"].as_str().unwrap().to_lowercase()
}

async fn place_for(cluster: &Cluster, link: &str, header: &str, value: &str) -> String {
    let answer = cluster.get(link).header(header, value).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::FOUND);
    place_of(cluster, &location(&answer)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_sends_each_person_to_the_nearest_copy() {
    let cluster = Cluster::with(two_places()).await;
    let object = cluster.store("near.txt", "near and far").await;
    let link = object["url"].as_str().unwrap();
    for (address, place) in [
        ("99.240.1.1", "toronto"),
        ("128.101.101.101", "toronto"),
        ("200.144.248.41", "toronto"),
        ("133.11.0.1", "amsterdam"),
        ("81.2.69.142", "amsterdam"),
        ("194.109.6.66", "amsterdam"),
        ("2a02:8109::1", "amsterdam"),
        ("41.203.18.1", "amsterdam"),
    ] {
        assert_eq!(place_for(&cluster, link, "x-forwarded-for", address).await, place, "{address}");
    }
    assert_eq!(place_for(&cluster, link, "forwarded", "for=\"[2a02:8109::1]:4711\"").await, "amsterdam");
    // What stands left of a hop that cannot be believed is not believed: central's own place counts.
    for header in ["194.109.6.66, 10.1.2.3", "194.109.6.66, unknown", "194.109.6.66, nonsense"] {
        assert_eq!(place_for(&cluster, link, "x-forwarded-for", header).await, "toronto", "{header}");
    }
    assert_eq!(place_for(&cluster, &format!("{link}?from=52.5,13.4"), "accept", "*/*").await, "amsterdam");
    assert_eq!(place_for(&cluster, &format!("{link}?from=99.240.1.1"), "accept", "*/*").await, "toronto");
    assert_eq!(place_for(&cluster, &format!("{link}?node=amsterdam"), "accept", "*/*").await, "amsterdam");
    for (query, status) in [("?from=nowhere", 400), ("?from=99,0", 400), ("?node=atlantis", 404)] {
        assert_eq!(cluster.get(&format!("{link}{query}")).send().await.unwrap().status(), status, "{query}");
    }
    let choice: Value = cluster
        .get(&format!("/api/v1/blobs/{}/replicas?from=194.109.6.66", object["sha1"].as_str().unwrap()))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(choice["client"]["known_by"], "geoip", "{choice}");
    assert_eq!(choice["replicas"][0]["place"]["name"], "Amsterdam");
    assert!(choice["replicas"][0]["distance_km"].as_f64().unwrap() < 100.0);
    assert!((5900.0..6100.0).contains(&choice["replicas"][1]["distance_km"].as_f64().unwrap()), "{choice}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_carries_what_better_clients_use() {
    let cluster = Cluster::with(two_places()).await;
    let object = cluster.store("näme 1.txt", "redirected").await;
    let (sha1, link) = (object["sha1"].as_str().unwrap(), object["url"].as_str().unwrap());
    let answer = cluster.redirect(link).await;
    assert_eq!(answer.headers()["cache-control"], "private, no-store");
    assert!(answer.headers()["digest"].to_str().unwrap().starts_with("SHA-256="));
    assert!(answer.headers()["repr-digest"].to_str().unwrap().contains("sha-256=:"));
    let links: Vec<&str> =
        answer.headers().get_all("link").iter().map(|link| link.to_str().unwrap()).collect();
    assert_eq!(links.len(), 2, "{links:?}");
    assert!(
        links[0].contains("; rel=duplicate; pri=2; geo=") && links[0].starts_with("<http://"),
        "{links:?}"
    );
    assert!(links[1].contains(".meta4>; rel=describedby"), "{links:?}");
    let other = links[0].trim_start_matches('<').split('>').next().unwrap();
    assert_eq!(cluster.download(other).await, b"redirected");
    // The same link repeats, so that caches work.
    assert_eq!(location(&cluster.redirect(link).await), location(&answer));
    let head = cluster.http.head(cluster.url(link)).send().await.unwrap();
    assert_eq!((head.status(), location(&head)), (StatusCode::FOUND, location(&answer)));
    for path in
        [format!("/d/{sha1}"), format!("/d/{}/forged.exe", sha1.to_uppercase()), format!("/d/{sha1}/%FF")]
    {
        let node = location(&cluster.redirect(&path).await);
        assert!(node.contains("/n%C3%A4me%201.txt?"), "{path} → {node}");
    }
    for (path, status) in [
        ("/d/xyz".to_owned(), 400),
        (format!("/d/{}", "0".repeat(40)), 404),
        (format!("/d/{}.meta4", "0".repeat(40)), 404),
        ("/d/xyz.meta4".to_owned(), 400),
    ] {
        assert_eq!(cluster.get(&path).send().await.unwrap().status(), status, "{path}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_nodes_copy_is_not_linked_and_none_is_unavailable() {
    let mut cluster = Cluster::with(two_places()).await;
    let object = cluster.store("both.txt", "on both").await;
    let link = object["url"].as_str().unwrap().to_owned();
    cluster.stop_node("amsterdam").await;
    cluster.wait_for_nodes(1).await;
    assert_eq!(place_for(&cluster, &link, "x-forwarded-for", "194.109.6.66").await, "toronto");
    cluster.stop_node("toronto").await;
    cluster.wait_for_nodes(0).await;
    let answer = cluster.get(&link).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.headers().contains_key("retry-after"));
    let page = cluster.get(&link).header("accept", "text/html").send().await.unwrap();
    assert!(page.text().await.unwrap().contains("<html"));
    cluster.start_node("amsterdam");
    cluster.wait_for_nodes(1).await;
    assert_eq!(cluster.download(&link).await, b"on both");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ranges_are_the_bytes_that_were_asked_for() {
    let cluster = Cluster::with(two_places()).await;
    let bytes = content(21, 5_000_000);
    let object = cluster.store("ranges.bin", bytes.clone()).await;
    let node = location(&cluster.redirect(object["url"].as_str().unwrap()).await);
    let size = bytes.len();
    for (range, start, end) in [
        ("bytes=0-0".to_owned(), 0, 1),
        ("bytes=4194303-4194305".to_owned(), 4_194_303, 4_194_306),
        ("bytes=4999999-".to_owned(), size - 1, size),
        ("bytes=-10".to_owned(), size - 10, size),
        (format!("bytes=100-{}", size * 2), 100, size),
        (format!("bytes=-{}", size * 2), 0, size),
    ] {
        let answer = cluster.http.get(&node).header("range", &range).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(answer.headers()["content-range"], format!("bytes {start}-{}/{size}", end - 1));
        assert!(answer.bytes().await.unwrap() == bytes[start..end], "{range}");
    }
    let beyond = cluster.http.get(&node).header("range", format!("bytes={size}-")).send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.headers()["content-range"], format!("bytes */{size}"));
    let several = cluster.http.get(&node).header("range", "bytes=0-9,1000-1009").send().await.unwrap();
    assert_eq!(several.status(), StatusCode::PARTIAL_CONTENT);
    assert!(several.headers()["content-type"].to_str().unwrap().starts_with("multipart/byteranges"));
    let body = several.bytes().await.unwrap();
    for part in [&bytes[0..10], &bytes[1000..1010]] {
        assert!(body.windows(10).any(|window| window == part));
    }
    let whole = cluster.http.head(&node).send().await.unwrap();
    let etag = whole.headers()["etag"].clone();
    assert_eq!(whole.headers()["content-length"], size.to_string());
    let known = cluster.http.get(&node).header("if-none-match", &etag).send().await.unwrap();
    assert_eq!(known.status(), StatusCode::NOT_MODIFIED);
    let stale = cluster
        .http
        .get(&node)
        .header("if-range", "\"x\"")
        .header("range", "bytes=0-0")
        .send()
        .await
        .unwrap();
    assert_eq!(stale.status(), StatusCode::OK);
    let same =
        cluster.http.get(&node).header("if-range", &etag).header("range", "bytes=0-0").send().await.unwrap();
    assert_eq!(same.status(), StatusCode::PARTIAL_CONTENT);
    for (name, value) in [
        ("cache-control", "public, max-age=31536000, immutable"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "sandbox"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("referrer-policy", "no-referrer"),
        ("accept-ranges", "bytes"),
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(same.headers()[name], value, "{name}");
    }
    assert!(same.headers().contains_key("repr-digest") && same.headers().contains_key("digest"));
    assert!(!same.headers().contains_key("set-cookie"));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_altered_ticket_opens_nothing() {
    let cluster = Cluster::with(two_places()).await;
    let object = cluster.store("ticket.txt", "for ticket holders").await;
    let links: Vec<String> = ["toronto", "amsterdam"]
        .map(|place| format!("{}?node={place}", object["url"].as_str().unwrap()))
        .to_vec();
    let node = location(&cluster.redirect(&links[0]).await);
    let other = location(&cluster.redirect(&links[1]).await);
    let mut forbidden = Vec::new();
    let (path, query) = node.split_once('?').unwrap();
    let pairs: Vec<&str> = query.split('&').collect();
    for (index, pair) in pairs.iter().enumerate() {
        let (key, value) = pair.split_once('=').unwrap();
        let mut with = |replacement: Vec<String>| {
            let mut altered: Vec<String> = pairs.iter().map(ToString::to_string).collect();
            altered.splice(index..=index, replacement);
            forbidden.push(format!("{path}?{}", altered.join("&")));
        };
        let last = value.chars().last().unwrap();
        let changed = format!("{}{}", &value[..value.len() - 1], if last == '1' { '2' } else { '1' });
        with(vec![format!("{key}={changed}")]);
        with(vec![]);
        with(vec![(*pair).to_owned(), (*pair).to_owned()]);
        with(vec![format!("{key}=")]);
        with(vec![(*pair).to_owned(), "x=1".to_owned()]);
    }
    forbidden.push(node.replace("ticket.txt", "other.txt"));
    forbidden.push(node.replace(object["sha1"].as_str().unwrap(), &"0".repeat(40)));
    forbidden.push(path.to_owned());
    let host = |url: &str| url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
    forbidden.push(node.replace(&host(&node), &host(&other)));
    let mut bodies = std::collections::BTreeSet::new();
    for url in forbidden {
        let answer = cluster.http.get(&url).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{url}");
        let mut problem: Value = answer.json().await.unwrap();
        // Drawn anew for each request.
        assert!(problem.as_object_mut().unwrap().remove("request_id").is_some(), "{problem}");
        bodies.insert(problem.to_string());
    }
    assert_eq!(bodies.len(), 1, "every refusal is the same: {bodies:?}");
    for url in [&node, &node, &other] {
        assert_eq!(
            cluster.http.get(url).send().await.unwrap().status(),
            StatusCode::OK,
            "a ticket can be used again"
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn aria2_downloads_from_both_nodes_with_the_metalink() {
    let cluster = Cluster::with(two_places()).await;
    let bytes = content(22, 40 << 20);
    let object = cluster.store("metal <&> \"ink\".bin", bytes.clone()).await;
    let document = format!("/d/{}.meta4", object["sha1"].as_str().unwrap());
    let text = cluster.get(&document).send().await.unwrap().text().await.unwrap();
    assert_eq!(text.matches("<url ").count(), 2, "{text}");
    assert!(text.contains("location=\"ca\"") && text.contains("location=\"nl\""), "{text}");
    assert_eq!(text.matches("<hash>").count(), 10, "a digest for each piece");
    let folder = cluster.scratch("aria2");
    let url = cluster.url(&document);
    let output = tokio::task::spawn_blocking({
        let folder = folder.clone();
        move || {
            Command::new("aria2c")
                .args([
                    "--no-conf",
                    "--follow-metalink=mem",
                    "--split=4",
                    "--min-split-size=4M",
                    "--allow-overwrite=false",
                ])
                .args([
                    "--check-integrity=true",
                    "--max-connection-per-server=2",
                    "--console-log-level=info",
                    "--dir",
                ])
                .arg(&folder)
                .arg(&url)
                .env_clear()
                .env("PATH", std::env::var_os("PATH").unwrap_or_default())
                .output()
                .expect("aria2c runs: scripts/test installs it")
        }
    })
    .await
    .unwrap();
    let log = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{log}");
    let saved: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(saved.len(), 1, "{saved:?}");
    assert!(std::fs::read(&saved[0]).unwrap() == bytes);
    let nodes: Value = cluster.get("/api/v1/nodes").send().await.unwrap().json().await.unwrap();
    for node in nodes["nodes"].as_array().unwrap() {
        let url = node["public_url"].as_str().unwrap().trim_start_matches("http://");
        let port = url.rsplit(':').next().unwrap();
        assert!(log.contains(port), "bytes came from {url}, too: {log}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_who_is_ready() {
    let mut cluster = Cluster::with(two_places()).await;
    assert_eq!(cluster.get("/healthz").send().await.unwrap().text().await.unwrap(), "ok\n");
    assert!(cluster.get("/readyz").send().await.unwrap().text().await.unwrap().starts_with("ready\n"));
    cluster.stop_node("toronto").await;
    poll("not ready", || async {
        let answer = cluster.get("/readyz").send().await.unwrap();
        (answer.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    cluster.stop().await;
}
