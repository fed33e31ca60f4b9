//! The start page of a store that takes a token for uploads.

use closeby::domain::{Access, Entry, Token};
use serde_json::json;

use super::file_page::bitmap;
use super::{ALL_OVER, STATES, end, file, sha1_of};
use crate::access::new_token;
use crate::support::browser::Browser;
use crate::support::{Cluster, Options, content, poll};

/// The Enter key (WebDriver §17.4.2).
const ENTER: char = '\u{e007}';

async fn cluster(access: Access) -> Cluster {
    Cluster::with(Options { access, ..Options::default() }).await
}

async fn wait_for(browser: &Browser, trouble: &str) {
    let script = format!(
        "const trouble = document.getElementById('token-trouble'); \
         return !trouble.hidden && trouble.textContent.includes('{trouble}')"
    );
    browser.wait(trouble, &script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_wait_for_a_token_and_go_on_with_it() {
    let cluster = cluster(Access::default()).await;
    let browser = Browser::start(true).await;
    let (good, _) = new_token(&cluster.central_data(), "upload");
    // In one request, and in parts.
    let (small, large) = (content(7901, 5000), content(7902, 9_000_000));
    let paths = [file(&cluster, "small.bin", &small), file(&cluster, "large.bin", &large)];
    browser.open(&cluster.base).await;
    browser.choose("#file", &[&paths[0], &paths[1]]).await;
    wait_for(&browser, "Enter a token").await;
    browser
        .wait("rows that wait", &format!("return (() => {{ {STATES} }})().join() === 'Waiting,Waiting'"))
        .await;
    let focus = browser.run("return document.activeElement.id", json!([])).await;
    assert_eq!(focus, "token", "the person is where it is asked for");

    browser.type_into("#token", &format!("{}{ENTER}", Token::random().reveal())).await;
    wait_for(&browser, "does not count").await;
    let focus = browser.run("return document.activeElement.id", json!([])).await;
    assert_eq!(focus, "token", "no other field asks for attention");
    browser.run("document.getElementById('token').value = ''", json!([])).await;
    browser.type_into("#token", &format!("{good}{ENTER}")).await;
    browser.wait("the uploads", ALL_OVER).await;
    assert_eq!(browser.run(STATES, json!([])).await, json!(["Stored", "Stored"]));
    for (bytes, name) in [(&small, "small.bin"), (&large, "large.bin")] {
        let link = format!("{}/d/{}/{name}", cluster.base, sha1_of(bytes));
        assert!(cluster.download(&link).await == **bytes);
    }
    let told =
        "return location.href + document.documentElement.outerHTML + JSON.stringify({...localStorage})";
    let told = browser.run(told, json!([])).await;
    assert!(!told.as_str().unwrap().contains(&good[8..]), "it is in this tab's memory alone");

    // A reload keeps it, another tab does not have it.
    browser.reload().await;
    let value = "return document.getElementById('token').value";
    browser.wait("the token", &format!("{value} !== ''")).await;
    browser.choose("#file", &[&paths[0]]).await;
    browser.wait("the answer", ALL_OVER).await;
    assert_eq!(browser.run(STATES, json!([])).await, json!(["Already here"]));
    let other = browser.open_window().await;
    browser.switch_to(&other).await;
    browser.open(&cluster.base).await;
    assert_eq!(browser.run(value, json!([])).await, "");
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_form_takes_a_token_without_scripts() {
    let cluster = cluster(Access::default()).await;
    let browser = Browser::start(false).await;
    let (good, _) = new_token(&cluster.central_data(), "upload");
    let bytes = content(7903, 5000);
    browser.open(&cluster.base).await;
    browser.type_into("#token", &good).await;
    browser.choose("#file", &[&file(&cluster, "plain.bin", &bytes)]).await;
    browser.click("form.upload button").await;
    // Nothing runs in the page, so the test looks where the file must be.
    let sha1 = sha1_of(&bytes);
    poll("two copies", || async { (cluster.holders(&sha1, &bytes).len() == 2).then_some(()) }).await;
    poll("the result", || async { browser.address().await.contains("/uploaded?").then_some(()) }).await;
    assert!(!browser.address().await.contains(&good[8..]));
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_files_page_and_what_it_loads_are_read_with_the_token_as_the_password() {
    let access = Access { upload: Entry::Anyone, read: Entry::Token, ..Access::default() };
    let cluster = cluster(access).await;
    let browser = Browser::start(true).await;
    let (good, _) = new_token(&cluster.central_data(), "read");
    let text = cluster.store("notes.txt", "kept for those who may read it").await;
    let picture = cluster.store("squares.bmp", bitmap()).await;
    let page = |object: &serde_json::Value| format!("/files/{}", object["sha1"].as_str().unwrap());
    // As if it was entered where the browser asks. The page is then opened without it in the address.
    let host = cluster.base.trim_start_matches("http://");
    browser.open(&format!("http://anybody:{good}@{host}{}", page(&text))).await;
    for (object, shown) in [
        (&text, "return document.querySelector('.preview pre')?.textContent.startsWith('kept for those')"),
        (&picture, "return document.querySelector('.preview img')?.naturalWidth === 8"),
    ] {
        browser.open(&cluster.url(&page(object))).await;
        browser.wait("the preview", shown).await;
    }
    end(browser, cluster).await;
}
