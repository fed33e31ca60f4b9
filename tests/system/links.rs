//! Whom links are for, how long they live, and that the nearest copy is the nearest.

use std::collections::BTreeSet;
use std::time::Duration;

use closeby::config::Limits;
use closeby::role::central::Links;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::{Cluster, Options, content, location, poll};

fn two_places() -> Options {
    Options { places: vec!["toronto", "amsterdam"], ..Options::default() }
}

/// Scheme, host and port.
fn origin(url: &str) -> String {
    url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_another_host_is_misdirected_and_changes_nothing() {
    let cluster = Cluster::with(two_places()).await;
    let object = cluster.store("here.txt", "asked for here").await;
    let link = object["url"].as_str().unwrap();
    let port = cluster.base.rsplit(':').next().unwrap();
    for host in [format!("localhost:{port}"), "evil.example".to_owned(), "127.0.0.1:1".to_owned()] {
        for request in [
            cluster.get("/"),
            cluster.get(link),
            cluster.get("/api/v1/files"),
            cluster.post("/api/v1/files?name=x").body("for another host"),
            cluster.http.put(cluster.url("/x.txt")).body("for another host"),
        ] {
            let answer = request.header("host", &host).send().await.unwrap();
            assert_eq!(answer.status(), StatusCode::MISDIRECTED_REQUEST, "{host}");
            assert!(!answer.headers().contains_key("location"));
            let problem: Value = answer.json().await.unwrap();
            assert_eq!(problem["type"], "/problems/misdirected");
            // It says where to ask instead.
            assert!(problem["detail"].as_str().unwrap().contains(&cluster.base), "{problem}");
        }
    }
    let list: Value = cluster.get("/api/v1/files").send().await.unwrap().json().await.unwrap();
    assert_eq!(list["files"].as_array().unwrap().len(), 1);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demos_links_use_the_host_that_was_asked_for_if_it_is_this_machine() {
    let cluster = Cluster::with(Options { links: Links::Demo, ..two_places() }).await;
    let object = cluster.store("demo.txt", "in the demo").await;
    let path = object["url"].as_str().unwrap().strip_prefix(&cluster.base).unwrap();
    let port = cluster.base.rsplit(':').next().unwrap();
    let own = origin(&location(&cluster.redirect(path).await));
    for (host, expected) in [
        (format!("localhost:{port}"), "http://localhost"),
        (format!("[::1]:{port}"), "http://[::1]"),
        (format!("127.0.0.1:{port}"), "http://127.0.0.1"),
        ("evil.example".to_owned(), "http://127.0.0.1"),
        (format!("192.0.2.1:{port}"), "http://127.0.0.1"),
    ] {
        let query = format!("{path}?from=43.65,-79.38");
        let answer = cluster.get(&query).header("host", &host).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::FOUND);
        let node = origin(&location(&answer));
        assert_eq!(node.rsplit_once(':').unwrap().0, expected, "{host}");
        assert_eq!(node.rsplit_once(':').unwrap().1, own.rsplit_once(':').unwrap().1, "{host}");
        let others: Vec<&str> =
            answer.headers().get_all("link").iter().map(|link| link.to_str().unwrap()).collect();
        let base = if host.contains("evil") || host.contains("192") {
            cluster.base.clone()
        } else {
            format!("{expected}:{port}")
        };
        assert!(others.iter().all(|link| link.starts_with(&format!("<{base}/"))), "{host}: {others:?}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_link_is_gone_and_a_new_one_works() {
    let second = Duration::from_secs(1);
    let limits = Limits { link_life: second, link_step: second, ..Limits::default() };
    let cluster = Cluster::with(Options { limits, ..two_places() }).await;
    let object = cluster.store("soon.txt", "soon gone").await;
    let link = object["url"].as_str().unwrap();
    let old = location(&cluster.redirect(&format!("{link}?node=toronto")).await);
    let other = location(&cluster.redirect(&format!("{link}?node=amsterdam")).await);
    let elsewhere = old.replace(&origin(&old), &origin(&other));
    assert_eq!(cluster.http.get(&elsewhere).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let gone = poll("the link to expire", || async {
        let answer = cluster.http.get(&old).send().await.unwrap();
        (answer.status() != StatusCode::OK).then_some(answer)
    })
    .await;
    assert_eq!(gone.status(), StatusCode::GONE);
    let problem: Value = gone.json().await.unwrap();
    assert_eq!(problem["type"], "/problems/expired");
    // Only for who has it right: a wrong one that expired is as wrong as any.
    assert_eq!(cluster.http.get(&elsewhere).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let forged = old.replace("soon.txt", "other.txt");
    assert_eq!(cluster.http.get(&forged).send().await.unwrap().status(), StatusCode::FORBIDDEN);
    // On a busy machine a second may be over before the node is asked.
    let (fresh, bytes) = poll("a new link to work", || async {
        let fresh = location(&cluster.redirect(&format!("{link}?node=toronto")).await);
        let answer = cluster.http.get(&fresh).send().await.unwrap();
        (answer.status() == StatusCode::OK).then_some((fresh, answer.bytes().await.unwrap()))
    })
    .await;
    assert_ne!(fresh, old);
    assert_eq!(&bytes[..], b"soon gone");
    assert_eq!(cluster.http.get(&old).send().await.unwrap().status(), StatusCode::GONE, "it stays so");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_works_as_often_as_it_is_used_at_its_node_alone() {
    let cluster = Cluster::with(two_places()).await;
    let object = cluster.store("often.txt", "again and again").await;
    let link = object["url"].as_str().unwrap();
    let first = location(&cluster.redirect(&format!("{link}?node=toronto")).await);
    let other = location(&cluster.redirect(&format!("{link}?node=amsterdam")).await);
    for _ in 0..5 {
        let answer = cluster.http.get(&first).send().await.unwrap();
        assert_eq!(
            (answer.status(), answer.text().await.unwrap().as_str()),
            (StatusCode::OK, "again and again")
        );
    }
    let elsewhere = cluster.http.get(first.replace(&origin(&first), &origin(&other))).send().await.unwrap();
    assert_eq!(elsewhere.status(), StatusCode::FORBIDDEN);
    cluster.stop().await;
}

/// Great circles on a sphere (the haversine formula): within 0.6 % of the ellipsoid.
fn haversine_km(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (a, b) = (from.0.to_radians(), to.0.to_radians());
    let (dlat, dlon) = (b - a, (to.1 - from.1).to_radians());
    let h = (dlat / 2.0).sin().powi(2) + a.cos() * b.cos() * (dlon / 2.0).sin().powi(2);
    2.0 * 6371.0088 * h.sqrt().min(1.0).asin()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearest_copy_is_the_nearest_from_anywhere() {
    let cluster = Cluster::start().await;
    let mut objects = Vec::new();
    for seed in 0..4 {
        objects.push(cluster.store(&format!("{seed}.bin"), content(150 + seed, 1000)).await);
    }
    let (mut clear, mut near) = (0, 0);
    for index in 0..300_u32 {
        // Places that are spread evenly over the globe (a Fibonacci lattice).
        let lat = (2.0 * (f64::from(index) + 0.5) / 300.0 - 1.0).asin().to_degrees();
        let lon = (f64::from(index) * 222.492_235_949_962_1) % 360.0 - 180.0;
        let object = &objects[index as usize % objects.len()];
        let query = format!("/api/v1/blobs/{}/replicas?from={lat},{lon}", object["sha1"].as_str().unwrap());
        let choice: Value = cluster.get(&query).send().await.unwrap().json().await.unwrap();
        assert_eq!(choice["client"]["known_by"], "given", "{choice}");
        let replicas: Vec<(String, f64, f64)> = choice["replicas"]
            .as_array()
            .unwrap()
            .iter()
            .map(|replica| {
                assert_eq!(replica["healthy"], true);
                let place = &replica["place"];
                let at = (place["lat"].as_f64().unwrap(), place["lon"].as_f64().unwrap());
                let said_km = replica["distance_km"].as_f64().unwrap();
                (place["name"].as_str().unwrap().to_lowercase(), said_km, haversine_km((lat, lon), at))
            })
            .collect();
        let names: BTreeSet<&str> = replicas.iter().map(|(name, ..)| name.as_str()).collect();
        let holders: BTreeSet<&str> =
            object["replicas"].as_array().unwrap().iter().map(|place| place.as_str().unwrap()).collect();
        assert_eq!(names, holders, "the nodes that hold this very blob");
        for (name, said_km, km) in &replicas {
            assert!((said_km - km).abs() <= 0.1 + km * 0.006, "{name} from {lat},{lon}: {said_km} {km}");
        }
        let [first, second] = &replicas[..] else { panic!("{choice}") };
        let (nearest, farther) = (first.2.min(second.2), first.2.max(second.2));
        // Those that are about as near share the load; and a sphere is not quite the earth.
        if farther - nearest > (nearest * 0.05).max(50.0) + farther * 0.012 {
            clear += 1;
            assert!(first.2 < second.2, "from {lat},{lon}: {choice}");
            let link = format!("{}?from={lat},{lon}", object["url"].as_str().unwrap());
            let redirected = location(&cluster.redirect(&link).await);
            assert!(redirected.contains(&format!("n={}", choice["replicas"][0]["node"].as_str().unwrap())));
        } else {
            near += 1;
        }
    }
    assert!(clear > 200, "{clear} of 300 were clear, {near} were not");
    assert_eq!(objects.iter().map(|object| &object["status"]).collect::<Vec<_>>(), [&json!("stored"); 4]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_shown_is_shown_and_all_else_is_saved() {
    let cluster = Cluster::with(two_places()).await;
    for (name, media_type, shown) in [
        ("photo.png", "image/png", Some("image/png")),
        ("photo.jpg", "image/jpg", Some("image/jpeg")),
        ("notes.md", "text/markdown", Some("text/plain; charset=utf-8")),
        ("report.pdf", "application/pdf", Some("application/pdf")),
        ("song.flac", "application/octet-stream", Some("audio/flac")),
        ("page.html", "text/html", None),
        ("page.png", "text/html", None),
        ("page.html", "image/png", None),
        ("drawing.svg", "image/svg+xml", None),
        ("drawing.png", "image/svg+xml", None),
        ("data.xml", "text/plain", None),
        ("what.bin", "application/octet-stream", None),
    ] {
        let body = format!("{name} as {media_type}");
        let answer = cluster
            .post(&format!("/api/v1/files?name={name}"))
            .header("content-type", media_type)
            .body(body.clone())
            .send()
            .await
            .unwrap();
        let object: Value = answer.json().await.unwrap();
        let link = object["url"].as_str().unwrap();
        for (query, shown) in [("?inline=1", shown), ("?inline=0", None), ("", None)] {
            let node = location(&cluster.redirect(&format!("{link}{query}")).await);
            let answer = cluster.http.get(node).send().await.unwrap();
            let field = |name: &str| answer.headers()[name].to_str().unwrap().to_owned();
            let how = field("content-disposition").split(';').next().unwrap().to_owned();
            assert_eq!(
                how,
                if shown.is_some() { "inline" } else { "attachment" },
                "{name} {media_type} {query}"
            );
            assert_eq!(field("x-content-type-options"), "nosniff");
            if let Some(shown) = shown {
                assert_eq!(field("content-type"), shown);
            }
            assert_eq!(answer.text().await.unwrap(), body);
        }
        let status = cluster.get(&format!("{link}?inline=yes")).send().await.unwrap().status();
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
    cluster.stop().await;
}
