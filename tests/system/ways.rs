//! The ways to use the server from elsewhere, taken off its own pages and tried.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Cluster, content, poll};

/// A page's text, as a browser shows it.
fn unescape(text: &str) -> String {
    let mut plain = text.replace("&amp;", "&");
    for (escaped, letter) in
        [("&#60;", "<"), ("&#62;", ">"), ("&#38;", "&"), ("&#34;", "\""), ("&#39;", "'"), ("&lt;", "<")]
    {
        plain = plain.replace(escaped, letter);
    }
    plain
}

/// What stands to be copied below an anchor of the page.
pub fn snippet(html: &str, id: &str) -> String {
    let from = html.split_once(&format!("id=\"{id}\"")).unwrap_or_else(|| panic!("{id} is not there")).1;
    let code = from.split_once("<code>").unwrap().1.split_once("</code>").unwrap().0;
    unescape(code)
}

/// Runs a line as somebody who pasted it.
fn bash(folder: &Path, line: &str) -> Output {
    let programs = Path::new(env!("CARGO_BIN_EXE_closeby")).parent().unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-c", line])
        .current_dir(folder)
        .env("PATH", path)
        .env_remove("CLOSEBY_SERVER")
        .env("no_proxy", "*")
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}\n{output:?}");
    output
}

/// A form with one file, as boundary `XX` parts it.
fn form(field: &str, name: &str, bytes: &[u8]) -> Vec<u8> {
    let head = format!(
        "--XX\r\nContent-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    );
    [head.as_bytes(), bytes, b"\r\n--XX--\r\n"].concat()
}

async fn text(cluster: &Cluster, path: &str) -> String {
    let answer = cluster.get(path).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_line_of_the_help_page_works_as_it_stands() {
    let cluster = Cluster::start().await;
    let html = text(&cluster, "/help").await;
    assert!(snippet(&html, "curl-get").contains("/d/SHA1"), "an empty store has no example");
    for (seed, id) in [(8101, "curl-put"), (8102, "curl-form"), (8103, "curl-digest"), (8104, "closeby-put")]
    {
        let folder = cluster.scratch(id);
        let bytes = content(seed, 100_000);
        std::fs::write(folder.join("photo.jpg"), &bytes).unwrap();
        let line = snippet(&html, id);
        assert!(line.contains(&cluster.base), "{line}");
        let out = String::from_utf8(bash(&folder, &line).stdout).unwrap();
        let link = if let Ok(object) = serde_json::from_str::<Value>(&out) {
            let object = object.get("files").map_or(&object, |files| &files[0]);
            assert_eq!(object["status"], "stored", "{id}");
            object["url"].as_str().unwrap().to_owned()
        } else {
            out.trim().to_owned()
        };
        assert!(link.ends_with("/photo.jpg"), "{id}: {link}");
        assert_eq!(cluster.download(&link).await, bytes, "{id}");
    }
    // A digest that is not the content's is refused: the line does check.
    let folder = cluster.scratch("wrong");
    std::fs::write(folder.join("photo.jpg"), content(8105, 1000)).unwrap();
    let line = snippet(&html, "curl-digest").replace("-binary photo.jpg", "-binary /dev/null");
    let refused = Command::new("bash").args(["-c", &line]).current_dir(&folder).output().unwrap();
    assert!(!refused.status.success() && String::from_utf8_lossy(&refused.stdout).contains("wrong-digest"));

    // The newest file is the example, and its name is a stranger's. (An ampersand in a Metalink comes out
    // of aria2 as `&#38;`.)
    let bytes = content(8106, 5_000_000);
    let name = "it's $(touch owned) `x`; photo.jpg";
    cluster.store(name, bytes.clone()).await;
    let html = text(&cluster, "/help").await;
    for id in ["curl-get", "wget-get", "aria2-get", "closeby-get"] {
        let folder = cluster.scratch(id);
        bash(&folder, &snippet(&html, id));
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{id}: {files:?}");
        assert_eq!(std::fs::read(&files[0]).unwrap(), bytes, "{id}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_uploader_for_sharex_says_what_the_server_takes() {
    let cluster = Cluster::start().await;
    let answer = cluster.get("/help/closeby.sxcu").send().await.unwrap();
    assert_eq!(answer.headers()["content-disposition"], "attachment; filename=\"closeby.sxcu\"");
    let downloaded = answer.text().await.unwrap();
    let shown = snippet(&text(&cluster, "/help").await, "sxcu");
    assert_eq!(shown.trim(), downloaded.trim());
    let uploader: Value = serde_json::from_str(&downloaded).unwrap();
    assert_eq!(
        (&uploader["RequestMethod"], &uploader["Body"]),
        (&"POST".into(), &"MultipartFormData".into())
    );
    let send = |name: &str, bytes: &[u8]| {
        let field = uploader["FileFormName"].as_str().unwrap();
        cluster
            .http
            .post(uploader["RequestURL"].as_str().unwrap())
            .header("content-type", "multipart/form-data; boundary=XX")
            .body(form(field, name, bytes))
            .send()
    };
    // `{json:files[0].url}` is a path into the answer.
    let read = |answer: &Value, key: &str| {
        let path = uploader[key].as_str().unwrap().strip_prefix("{json:").unwrap().strip_suffix('}').unwrap();
        let pointer = format!("/{}", path.replace(['[', '.'], "/").replace(']', ""));
        answer.pointer(&pointer).and_then(Value::as_str).map(ToOwned::to_owned)
    };
    let bytes = content(8120, 3000);
    for status in [201, 200] {
        let answer = send("screen.png", &bytes).await.unwrap();
        assert_eq!(answer.status(), status);
        let link = read(&answer.json().await.unwrap(), "URL").unwrap();
        assert_eq!(cluster.download(&link).await, bytes);
    }
    // What is refused is told.
    let answer = send("..", &content(8121, 10)).await.unwrap();
    assert_eq!(answer.status(), 400);
    assert!(read(&answer.json().await.unwrap(), "ErrorMessage").is_some());
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_the_api_shows_all_that_the_document_has() {
    let cluster = Cluster::start().await;
    let document: Value = cluster.get("/api/openapi.json").send().await.unwrap().json().await.unwrap();
    let html = text(&cluster, "/help/api").await;
    let plain = unescape(&html);
    let mut calls = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let heading = format!(
                "<span class=\"method\">{}</span> <code>{path}</code></a></h3>",
                method.to_uppercase()
            );
            assert_eq!(plain.matches(&heading).count(), 1, "{heading}");
            let from = plain.split_once(&heading).unwrap().1.split_once("</article>").unwrap().0;
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().unwrap();
                assert!(from.contains(&format!("<dt><code>{name}</code>")), "{method} {path}: {name}");
            }
            for (status, answer) in operation["responses"].as_object().unwrap() {
                let status = if status == "default" { "otherwise" } else { status };
                assert!(from.contains(&format!("<dt>{status}</dt>")), "{method} {path}: {status}");
                for media_type in answer["content"].as_object().into_iter().flat_map(|content| content.keys())
                {
                    assert!(from.contains(media_type), "{method} {path}: {media_type}");
                }
            }
            calls += 1;
        }
    }
    assert!(calls > 20, "{calls}");
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let from =
            plain.split_once(&format!("<article class=\"card call\" id=\"schema-{name}\">")).unwrap().1;
        let from = from.split_once("</article>").unwrap().0;
        for field in schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys()) {
            assert!(from.contains(&format!("<dt><code>{field}</code>")), "{name}.{field}");
        }
    }
    // Every anchor is there once, and every link within the page leads to one.
    let ids: Vec<&str> = html.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), ids.len());
    for target in html.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(ids.contains(&target), "{target}");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_what_it_is_doing() {
    let cluster = Cluster::start().await;
    let bytes = content(8140, 3_000_000);
    let nodes =
        async || -> Value { cluster.get("/api/v1/nodes").send().await.unwrap().json().await.unwrap() };
    let any = |nodes: &Value, key: &str| {
        nodes["nodes"].as_array().unwrap().iter().any(|node| node["activity"][key].as_u64().unwrap() > 0)
    };
    assert!(!any(&nodes().await, "received_bytes_per_second"));
    let object = cluster.store("moved.bin", bytes.clone()).await;
    poll("what was received", || async { any(&nodes().await, "received_bytes_per_second").then_some(()) })
        .await;
    assert_eq!(cluster.download(object["url"].as_str().unwrap()).await, bytes);
    poll("what was sent", || async { any(&nodes().await, "sent_bytes_per_second").then_some(()) }).await;
    // A resumable upload that rests.
    let begun =
        cluster.post("/api/v1/uploads").header("tus-resumable", "1.0.0").header("upload-length", "10");
    assert_eq!(begun.header("upload-metadata", "filename YQ==").send().await.unwrap().status(), 201);
    poll("what rests", || async { any(&nodes().await, "unfinished").then_some(()) }).await;
    poll("what the page says", || async {
        let html = text(&cluster, "/servers").await;
        (html.contains("holding 1 unfinished upload") && html.contains(">idle<")).then_some(())
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_site_can_be_installed_and_shared_to() {
    let cluster = Cluster::start().await;
    let answer = cluster.get("/manifest.webmanifest").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "application/manifest+json");
    let manifest: Value = answer.json().await.unwrap();
    assert_eq!((&manifest["start_url"], &manifest["display"]), (&"/".into(), &"standalone".into()));
    let mut purposes = Vec::new();
    for icon in manifest["icons"].as_array().unwrap() {
        let answer = cluster.get(icon["src"].as_str().unwrap()).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{icon}");
        assert_eq!(answer.headers()["content-type"], icon["type"].as_str().unwrap());
        let bytes = answer.bytes().await.unwrap();
        if icon["type"] == "image/png" {
            let side = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
            assert_eq!(format!("{}x{}", side(16), side(20)), icon["sizes"].as_str().unwrap());
            purposes.push((side(16), icon["purpose"].as_str().unwrap_or("any").to_owned()));
        }
    }
    for wanted in [(192, "any"), (512, "any"), (512, "maskable")] {
        assert!(purposes.contains(&(wanted.0, wanted.1.to_owned())), "{wanted:?}");
    }
    let answer = cluster.get("/").send().await.unwrap();
    assert!(answer.headers()["content-security-policy"].to_str().unwrap().contains("manifest-src 'self'"));
    let html = answer.text().await.unwrap();
    assert!(html.contains("<link rel=\"manifest\" href=\"/manifest.webmanifest\">"));
    let touch = html.split_once("rel=\"apple-touch-icon\" href=\"").unwrap().1.split('"').next().unwrap();
    assert_eq!(cluster.get(touch).send().await.unwrap().headers()["content-type"], "image/png");

    // As Chromium sends what another app shares: no page began it, so its origin is `null`.
    let target = &manifest["share_target"];
    let field = target["params"]["files"][0]["name"].as_str().unwrap();
    assert_eq!((&target["method"], &target["enctype"]), (&"POST".into(), &"multipart/form-data".into()));
    let share = |bytes: Vec<u8>, site: &'static str, origin: &'static str| {
        cluster
            .post(target["action"].as_str().unwrap())
            .header("content-type", "multipart/form-data; boundary=XX")
            .header("accept", "text/html,application/xhtml+xml,*/*;q=0.8")
            .header("sec-fetch-site", site)
            .header("origin", origin)
            .body(form(field, "shared.jpg", &bytes))
            .send()
    };
    let bytes = content(8150, 4000);
    let answer = share(bytes.clone(), "none", "null").await.unwrap();
    assert_eq!(answer.status(), 303);
    let page = text(&cluster, answer.headers()["location"].to_str().unwrap()).await;
    assert!(page.contains("Your file is stored") && page.contains("shared.jpg"), "{page}");
    for (site, origin) in
        [("cross-site", "null"), ("same-origin", "null"), ("none", "http://elsewhere.example")]
    {
        let refused = share(bytes.clone(), site, origin).await.unwrap();
        assert_eq!(refused.status(), 403, "{site} {origin}");
    }
    cluster.stop().await;
}
