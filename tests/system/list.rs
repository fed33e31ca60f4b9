//! The list: search, paging, and one file.

use reqwest::StatusCode;
use serde_json::Value;

use crate::support::{Cluster, Options};

fn small() -> Options {
    Options { places: vec!["toronto", "amsterdam"], ..Options::default() }
}

async fn names(cluster: &Cluster, query: &[(&str, &str)]) -> Vec<String> {
    let list: Value = cluster.get("/api/v1/files").query(query).send().await.unwrap().json().await.unwrap();
    list["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn any_part_of_a_name_is_found_newest_first() {
    let cluster = Cluster::with(small()).await;
    for (index, name) in
        ["100% sure.txt", "snake_case.txt", "ÄRGER.pdf", "a.b", "\"quoted\" OR x.txt", "名前.txt"]
            .into_iter()
            .enumerate()
    {
        cluster.store(name, format!("list {index}")).await;
    }
    for (query, found) in [
        ("", 6),
        (".TXT", 4),
        ("%", 1),
        ("_", 1),
        ("ärg", 1),
        ("ä", 1),
        ("名", 1),
        ("A.B", 1),
        ("\" OR", 1),
        ("nothing like it", 0),
        ("*", 0),
    ] {
        assert_eq!(names(&cluster, &[("query", query)]).await.len(), found, "{query:?}");
    }
    assert_eq!(names(&cluster, &[("limit", "2")]).await, ["名前.txt", "\"quoted\" OR x.txt"]);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_keep_their_place_while_files_arrive() {
    let cluster = Cluster::with(small()).await;
    for index in 0..7 {
        cluster.store(&format!("file-{index}.txt"), format!("page {index}")).await;
    }
    let mut seen = Vec::new();
    let mut after: Option<String> = None;
    for round in 0..10 {
        let mut query = vec![("limit", "3".to_owned())];
        query.extend(after.clone().map(|after| ("after", after)));
        let list: Value =
            cluster.get("/api/v1/files").query(&query).send().await.unwrap().json().await.unwrap();
        seen.extend(
            list["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap().to_owned()),
        );
        cluster.store(&format!("late-{round}.txt"), format!("late {round}")).await;
        match list["next"].as_str() {
            Some(next) => after = Some(next.to_owned()),
            None => break,
        }
    }
    let expected: Vec<String> = (0..7).rev().map(|index| format!("file-{index}.txt")).collect();
    assert_eq!(seen, expected);
    for (query, status) in
        [("limit=0", 400), ("limit=x", 400), ("limit=1001", 400), ("after=x", 400), ("limit=1000", 200)]
    {
        assert_eq!(
            cluster.get(&format!("/api/v1/files?{query}")).send().await.unwrap().status(),
            status,
            "{query}"
        );
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_sorted_as_one_asks() {
    let cluster = Cluster::with(small()).await;
    for (name, bytes) in [("b.txt", 30), ("A.txt", 10), ("c.txt", 20)] {
        cluster.store(name, vec![b'x'; bytes]).await;
    }
    for (sort, expected) in [
        ("newest", ["c.txt", "A.txt", "b.txt"]),
        ("oldest", ["b.txt", "A.txt", "c.txt"]),
        ("name", ["A.txt", "b.txt", "c.txt"]),
        ("largest", ["b.txt", "c.txt", "A.txt"]),
        ("smallest", ["A.txt", "c.txt", "b.txt"]),
    ] {
        assert_eq!(names(&cluster, &[("sort", sort)]).await, expected, "{sort}");
        assert_eq!(names(&cluster, &[("sort", sort), ("query", "TXT")]).await, expected, "{sort}");
        let html = cluster.get(&format!("/files?sort={sort}")).send().await.unwrap().text().await.unwrap();
        let places: Vec<_> =
            expected.iter().map(|name| html.find(&format!("<bdi>{name}</bdi>")).unwrap()).collect();
        assert!(places.is_sorted(), "{sort}: {places:?}");
        assert!(html.contains(&format!("<option value=\"{sort}\" selected>")), "{sort}");
        let list = std::process::Command::new(env!("CARGO_BIN_EXE_closeby"))
            .args(["ls", "--sort", sort, "--server", &cluster.base])
            .output()
            .unwrap();
        let lines = String::from_utf8(list.stdout).unwrap();
        let listed: Vec<&str> = lines.lines().map(|line| line.rsplit(' ').next().unwrap()).collect();
        assert_eq!(listed, expected, "{sort}");
    }
    let first: Value =
        cluster.get("/api/v1/files?sort=name&limit=1").send().await.unwrap().json().await.unwrap();
    let next = first["next"].as_str().unwrap();
    assert_eq!(names(&cluster, &[("sort", "name"), ("after", next)]).await, ["b.txt", "c.txt"]);
    for (path, says) in [
        (format!("/api/v1/files?after={next}"), "sorted by `name`, not by `newest`"),
        ("/api/v1/files?sort=colour".to_owned(), "`smallest`"),
        (format!("/files?after={next}&sort=largest"), "sorted by `name`, not by `largest`"),
        ("/files?sort=colour".to_owned(), "`smallest`"),
    ] {
        let answer = cluster.get(&path).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{path}");
        let said = answer.text().await.unwrap();
        assert!(said.contains(says), "{path}: {said}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_file_and_one_blob_say_the_same() {
    let cluster = Cluster::with(small()).await;
    let object = cluster.store("one.png", "one").await;
    let list: Value = cluster.get("/api/v1/files").send().await.unwrap().json().await.unwrap();
    let listed = &list["files"][0];
    assert_eq!(listed["media_type"], "image/png");
    assert!(listed["created_at"].as_str().unwrap().ends_with('Z'));
    let id = listed["id"].as_str().unwrap();
    let file: Value = cluster.get(&format!("/api/v1/files/{id}")).send().await.unwrap().json().await.unwrap();
    assert_eq!(&file, listed);
    let sha1 = object["sha1"].as_str().unwrap();
    let blob: Value =
        cluster.get(&format!("/api/v1/blobs/{sha1}")).send().await.unwrap().json().await.unwrap();
    assert_eq!((&blob["url"], &blob["files"][0], &blob["size"]), (&object["url"], listed, &object["size"]));
    let replicas = blob["replicas"].as_array().unwrap();
    assert_eq!(replicas.len(), 2);
    assert!(
        replicas.iter().all(|replica| replica["state"] == "stored" && replica["healthy"] == true),
        "{blob}"
    );
    for (path, status) in [
        (format!("/api/v1/files/{}", "0".repeat(32)), StatusCode::NOT_FOUND),
        ("/api/v1/files/xyz".to_owned(), StatusCode::BAD_REQUEST),
        (format!("/api/v1/blobs/{}", "0".repeat(40)), StatusCode::NOT_FOUND),
        ("/api/v1/blobs/xyz".to_owned(), StatusCode::BAD_REQUEST),
        ("/api/v1/nothing".to_owned(), StatusCode::NOT_FOUND),
    ] {
        let answer = cluster.get(&path).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    let deleted = cluster.http.delete(cluster.url("/api/v1/files")).send().await.unwrap();
    assert_eq!(deleted.status(), StatusCode::METHOD_NOT_ALLOWED);
    cluster.stop().await;
}
