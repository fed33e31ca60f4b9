//! The pages, as a browser without scripts gets them.

use reqwest::StatusCode;

use crate::support::{Cluster, Options};

async fn page(cluster: &Cluster, path: &str) -> (StatusCode, String) {
    let answer = cluster.get(path).header("accept", "text/html,application/xhtml+xml").send().await.unwrap();
    let status = answer.status();
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8", "{path}");
    let policy = answer.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("default-src 'none'"), "{policy}");
    assert!(!policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"), "{policy}");
    assert!(!answer.headers().contains_key("set-cookie"));
    (status, answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_there_and_safe() {
    let cluster = Cluster::with(Options { places: vec!["toronto", "amsterdam"], ..Options::default() }).await;
    let object = cluster.store("<b>bold & \"name\".txt", "a page").await;
    let sha1 = object["sha1"].as_str().unwrap();
    for (path, status, shows) in [
        ("/".to_owned(), 200, "type=\"file\""),
        ("/files".to_owned(), 200, "&lt;b&gt;bold"),
        ("/files?query=bold".to_owned(), 200, "&lt;b&gt;bold"),
        ("/files?query=%3Cscript%3E".to_owned(), 200, "&lt;script&gt;"),
        (format!("/files/{sha1}"), 200, "Toronto"),
        (format!("/files/{}", sha1.to_uppercase()), 200, "Amsterdam"),
        ("/servers".to_owned(), 200, "Amsterdam"),
        ("/help".to_owned(), 200, "curl -T"),
        ("/help/api".to_owned(), 200, "Repr-Digest"),
        ("/nothing".to_owned(), 404, "404"),
        ("/files/xyz".to_owned(), 400, "400"),
        (format!("/files/{}", "0".repeat(40)), 404, "404"),
        (format!("/d/{}", "0".repeat(40)), 404, "404"),
        ("/uploaded?k=nonsense".to_owned(), 400, "400"),
        ("/uploaded?k=".to_owned(), 200, "<html"),
    ] {
        let (got, html) = page(&cluster, &path).await;
        assert_eq!(got, status, "{path}");
        let shows = shows.replace("&lt;", "&#60;").replace("&gt;", "&#62;");
        assert!(html.contains(&shows), "{path} shows {shows}: {html}");
        assert!(
            html.starts_with("<!DOCTYPE html>")
                && html.contains("<html lang=\"en\"")
                && html.contains("<title>")
        );
        for never in ["<b>bold", "<script>", "style=\"", " onclick", "javascript:"] {
            assert!(!html.contains(never), "{path} has {never}");
        }
    }
    let (_, html) = page(&cluster, "/").await;
    assert_eq!(html.matches("type=\"file\"").count(), 1);
    assert!(html.contains("db-ip.com"));
    for (name, media_type) in [("closeby.css", "text/css"), ("copy.js", "text/javascript")] {
        let of_name = |part: &&str| part.starts_with("/static/") && part.ends_with(name);
        let address = html.split('"').find(of_name).unwrap();
        let asset = cluster.get(address).send().await.unwrap();
        assert_eq!(asset.headers()["cache-control"], "public, max-age=31536000, immutable");
        assert!(asset.headers()["content-type"].to_str().unwrap().starts_with(media_type));
        // A page from before an update still gets its files, and asks again the next time.
        for other in [format!("/static/{name}"), format!("/static/0123456789ab/{name}")] {
            let asset = cluster.get(&other).send().await.unwrap();
            assert_eq!(
                (asset.status().as_u16(), asset.headers()["cache-control"].to_str().unwrap()),
                (200, "no-cache")
            );
        }
    }
    let policy = async |path: &str| {
        let answer = cluster.get(path).header("accept", "text/html").send().await.unwrap();
        answer.headers()["content-security-policy"].to_str().unwrap().to_owned()
    };
    let nodes: serde_json::Value = cluster.get("/api/v1/nodes").send().await.unwrap().json().await.unwrap();
    let of_file = policy(&format!("/files/{sha1}")).await;
    for node in nodes["nodes"].as_array().unwrap() {
        let origin = node["public_url"].as_str().unwrap().trim_end_matches('/');
        assert_eq!(of_file.matches(origin).count(), 4, "{origin} in {of_file}");
        assert!(!policy("/").await.contains(origin) && !policy("/files").await.contains(origin));
    }
    assert_eq!(of_file.matches("http").count(), 8, "{of_file}");
    assert_eq!(cluster.get("/static/..%2fCargo.toml").send().await.unwrap().status(), StatusCode::NOT_FOUND);
    cluster.stop().await;
}
