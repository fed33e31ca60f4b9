//! A file's page: previews from a node, copies, the link.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{end, metric};
use crate::support::browser::Browser;
use crate::support::{Cluster, location, poll};

/// A red square of 16 pixels, a fifth of a second long.
const FILM: &str = "GkXfo59ChoEBQveBAULygQRC84EIQoKEd2VibUKHgQJChYECGFOAZwEAAAAAAAH9EU2bdLpNu4tTq4QVSalmU6yBoU27i1OrhBZUrmtTrIHYTbuMU6uEElTDZ1OsggEeTbuMU6uEHFO7a1OsggHn7AEAAAAAAABZAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAVSalmsirXsYMPQkBNgI1MYXZmNTkuMjcuMTAwV0GNTGF2ZjU5LjI3LjEwMESJiEBpAAAAAAAAFlSua8GuAQAAAAAAADjXgQFzxYiyptNc11IS/ZyBACK1nIN1bmSIgQCGhVZfVlA4g4EBI+ODhAvrwgDgibCBELqBEJqBAhJUw2f9c3OgY8CAZ8iaRaOHRU5DT0RFUkSHjUxhdmY1OS4yNy4xMDBzc9djwItjxYiyptNc11IS/WfIoUWjh0VOQ09ERVJEh5RMYXZjNTkuMzcuMTAwIGxpYnZweGfIokWjiERVUkFUSU9ORIeUMDA6MDA6MDAuMjAwMDAwMDAwAAAfQ7Z1wueBAKO9gQAAgPACAJ0BKhAAEAAARwiFhYiFhIgCAgJ1qgP4A/oCDU0YAP79bvP/45k3MMT/jm3/8WE8DijI//FRABxTu2uRu4+zgQC3iveBAfGCAaDwgQM=";

/// How many links were answered so far.
const REDIRECTS: &str = "closeby_redirect_kilometres_count";

/// A greyscale image of 8 by 8 pixels.
pub(super) fn bitmap() -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    for number in [14 + 40 + 8 + 64_u32, 0, 14 + 40 + 8, 40, 8, 8] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([1, 0, 8, 0]);
    for number in [0, 64, 0, 0, 2_u32, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([0, 0, 0, 0, 255, 255, 255, 0]);
    bytes.extend((0..64).map(|at: u8| at % 2));
    bytes
}

/// A tenth of a second of silence.
fn recording() -> Vec<u8> {
    let data = vec![128_u8; 800];
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend(8000_u32.to_le_bytes());
    bytes.extend(8000_u32.to_le_bytes());
    bytes.extend(b"\x01\0\x08\0data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

async fn store(cluster: &Cluster, name: &str, media_type: &str, body: impl Into<reqwest::Body>) -> String {
    let answer = cluster
        .post("/api/v1/files")
        .query(&[("name", name)])
        .header("content-type", media_type)
        .body(body)
        .send()
        .await
        .unwrap();
    let object: Value = answer.json().await.unwrap();
    assert_eq!(object["status"], "stored", "{object}");
    cluster.url(&format!("/files/{}", object["sha1"].as_str().unwrap()))
}

#[tokio::test(flavor = "multi_thread")]
async fn images_films_and_recordings_come_from_a_node() {
    let cluster = Cluster::start().await;
    let film = STANDARD.decode(FILM).unwrap();
    let pages = [
        (
            store(&cluster, "squares.bmp", "image/bmp", bitmap()).await,
            "return document.querySelector('.preview img')?.naturalWidth === 8",
        ),
        (
            store(&cluster, "red.webm", "video/webm", film).await,
            "return document.querySelector('.preview video')?.videoWidth === 16",
        ),
        (
            store(&cluster, "calm.wav", "audio/x-wav", recording()).await,
            "return Math.abs(document.querySelector('.preview audio')?.duration - 0.1) < 0.05",
        ),
    ];
    let browser = Browser::start(true).await;
    for (page, shown) in &pages {
        browser.open(page).await;
        browser.wait("the preview", shown).await;
        assert_eq!(browser.run("return document.querySelector('.not-shown')", json!([])).await, Value::Null);
        // The lasting link is this site's, and what it leads to a node's.
        let source = browser.run("return document.querySelector('.preview [src]').src", json!([])).await;
        let path = source.as_str().unwrap().strip_prefix(&cluster.base).unwrap().to_owned();
        let node = location(&cluster.redirect(&path).await);
        assert!(!node.starts_with(&cluster.base) && node.contains("&d=inline&"), "{node}");
    }
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.stop().await;
    // Without scripts the same elements ask for the same links.
    let browser = Browser::start(false).await;
    for (page, _) in &pages {
        let before = metric(&cluster, REDIRECTS).await;
        browser.open(page).await;
        poll("the preview is asked for", || async {
            (metric(&cluster, REDIRECTS).await > before).then_some(())
        })
        .await;
    }
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_texts_beginning_is_shown_as_text() {
    let cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    let hostile = "<img src=x onerror=\"document.title = 'run'\">\n\u{202e}reversed";
    browser.open(&store(&cluster, "notes.md", "text/markdown", hostile).await).await;
    browser.wait("the text", "return document.querySelector('.preview pre')?.textContent.length > 0").await;
    let shown = browser.run("return document.querySelector('.preview pre').textContent", json!([])).await;
    assert_eq!(shown, hostile);
    assert!(browser.run("return document.title", json!([])).await.as_str().unwrap().starts_with("notes.md"));

    // Of one that is longer, 64 KiB, and a character on the boundary is left out instead of broken.
    let long = format!("{}é{}", "a".repeat(65_535), "b".repeat(70_000));
    browser.open(&store(&cluster, "long.log", "application/octet-stream", long).await).await;
    browser.wait("the text", "return document.querySelector('.preview pre')?.textContent.length > 0").await;
    let length = browser.run("const text = document.querySelector('.preview pre').textContent; return [text.length, text.at(-1)]", json!([])).await;
    assert_eq!(length, json!([65_535, "a"]));
    assert_eq!(browser.text(".preview .foot .scripted").await, "The first 64 KiB of 136 kB");

    browser.open(&store(&cluster, "not.txt", "text/plain", "text\0no text").await).await;
    let line = "return document.querySelector('.not-shown')?.textContent";
    assert_eq!(
        browser.wait("a quiet line", line).await,
        "This does not look like text. It can still be downloaded."
    );
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_run_is_never_shown_and_what_lies_does_not_run() {
    let cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    let svg = "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"9\" height=\"9\"><script>document.title = 'run'</script></svg>";
    let html = "<!DOCTYPE html><title>page</title><script>document.title = 'run'</script>";
    for (name, media_type, body) in [
        ("drawing.svg", "image/svg+xml", svg.to_owned()),
        ("drawing.png", "image/svg+xml", format!("{svg}<!-- 2 -->")),
        ("page.html", "text/html", html.to_owned()),
        ("page.png", "text/html", format!("{html}2")),
        ("page.html", "text/plain", format!("{html}3")),
    ] {
        browser.open(&store(&cluster, name, media_type, body).await).await;
        let previews = browser.run("return document.querySelectorAll('.preview').length", json!([])).await;
        assert_eq!(previews, 0, "{name} {media_type}");
    }
    // Content that is not what it is said to be is shown as that, which it is not; opened on its own it
    // runs nothing.
    for (name, media_type, body) in [
        ("lie.png", "image/png", format!("{html}4")),
        ("lie.gif", "image/gif", format!("{svg}<!-- 5 -->")),
        ("lie.webm", "video/webm", format!("{html}6")),
    ] {
        let page = store(&cluster, name, media_type, body).await;
        browser.open(&page).await;
        let line =
            browser.wait("a quiet line", "return document.querySelector('.not-shown')?.textContent").await;
        assert!(line.as_str().unwrap().ends_with("It can still be downloaded."), "{line}");
        let path = page.strip_prefix(&cluster.base).unwrap().replace("/files/", "/d/");
        let node = location(&cluster.redirect(&format!("{path}?inline=1")).await);
        browser.open(&node).await;
        let title = browser.run("return document.title", json!([])).await;
        assert!(!title.as_str().unwrap().contains("run"), "{name}: {title}");
        assert_eq!(browser.run("return document.contentType", json!([])).await, media_type);
        assert_eq!(browser.run("return document.scripts.length", json!([])).await, 0, "{name}");
        // What the browser says of a file that it cannot read is no complaint of ours.
        let blocked = browser.complaints().await;
        assert!(blocked.iter().all(|line| !line.contains(&cluster.base)), "{blocked:?}");
    }
    browser.stop().await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_counts_from_another_place_and_offers_each_copy() {
    let cluster = Cluster::start().await;
    let page = store(&cluster, "near.txt", "text/plain", "near and far").await;
    let browser = Browser::start(true).await;
    browser.open(&page).await;
    let copies = browser
        .run("return [...document.querySelectorAll('.replicas .here')].map((e) => e.href)", json!([]))
        .await;
    let copies = copies.as_array().unwrap().clone();
    assert_eq!(copies.len(), 2);
    for copy in copies {
        let path = copy.as_str().unwrap().strip_prefix(&cluster.base).unwrap().to_owned();
        assert_eq!(cluster.download(&path).await, b"near and far");
    }
    assert_eq!(
        browser.run("return document.querySelectorAll('.map .way.chosen').length", json!([])).await,
        1
    );
    browser.click(".elsewhere summary").await;
    browser.type_into("#from", "nowhere").await;
    browser.click(".elsewhere button").await;
    browser.wait("the error", "return document.querySelector('#from-error')?.textContent").await;
    assert_eq!(browser.run("return document.getElementById('from').value", json!([])).await, "nowhere");
    browser.run("document.getElementById('from').value = '-33.87, 151.21'", json!([])).await;
    browser.click(".elsewhere button").await;
    browser
        .wait(
            "the place",
            "return document.querySelector('#where + p')?.textContent.includes('33.87° S, 151.21° E')",
        )
        .await;
    let button = browser.run("return document.querySelector('.get .button').search", json!([])).await;
    assert_eq!(button, "?from=%2D33%2E87%2C%20151%2E21");

    // Both digests, and everything else that is to be copied, have a button.
    let buttons = browser
        .run("return [...document.querySelectorAll('.copy-button')].map((e) => e.title)", json!([]))
        .await;
    let buttons: Vec<String> = serde_json::from_value(buttons).unwrap();
    for title in ["Copy: SHA-1", "Copy: SHA-256", "Copy: curl", "Copy: wget", "Copy: Link to share"] {
        assert!(buttons.iter().any(|button| button == title), "{title} in {buttons:?}");
    }
    browser.click(".qr summary").await;
    assert_eq!(
        browser
            .run("return document.querySelector('.qr svg').getBoundingClientRect().width >= 200", json!([]))
            .await,
        true
    );
    end(browser, cluster).await;
}
