//! The list's orders and places, the help pages, and what each server is doing.

use closeby::config::Limits;
use serde_json::json;

use super::end;
use crate::support::browser::Browser;
use crate::support::{Cluster, Options, content};

const NAMES: &str =
    "return [...document.querySelectorAll('#list .item bdi')].map((e) => e.textContent).join()";

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_sorted_and_paged_without_a_reload_and_keeps_its_place() {
    let limits = Limits { list_files: 30, ..Limits::default() };
    let cluster = Cluster::with(Options { limits, ..Options::default() }).await;
    for number in 0..70 {
        let bytes = content(8200 + number, 100 + usize::try_from(number * 37 % 70).unwrap());
        cluster.store(&format!("file-{number:02}.txt"), bytes).await;
    }
    let browser = Browser::start(true).await;
    browser.open(&cluster.url("/files")).await;
    browser.run("window.sameDocument = true", json!([])).await;
    let first = |name: &str| {
        format!("return document.querySelector('#list .item bdi')?.textContent === '{name}' && sameDocument")
    };
    browser.wait("the newest", &first("file-69.txt")).await;
    browser
        .run(
            "const order = document.getElementById('sort'); order.value = 'name'; \
             order.dispatchEvent(new Event('change', { bubbles: true }))",
            json!([]),
        )
        .await;
    browser.wait("names", &first("file-00.txt")).await;
    assert_eq!(browser.run("return location.search", json!([])).await, "?sort=name");
    browser.type_into("#query", "-").await;
    browser.wait("the search", "return location.search === '?query=-&sort=name'").await;
    browser
        .wait("it", "return document.querySelector('#list .pages a')?.href.includes('query=-&sort=name')")
        .await;
    // Down the page and on to the next one, which begins at its top.
    browser.run("document.querySelector('#list .pages').scrollIntoView()", json!([])).await;
    let left_at = browser.run("return scrollY", json!([])).await.as_f64().unwrap();
    assert!(left_at > 300.0, "{left_at}");
    browser.click("#list .pages a[rel=next]").await;
    browser.wait("the second page", &first("file-30.txt")).await;
    assert_eq!(browser.run("return scrollY", json!([])).await, 0);
    browser.run("history.back()", json!([])).await;
    browser.wait("the first page", &first("file-00.txt")).await;
    browser.wait("its place", &format!("return Math.abs(scrollY - {left_at}) < 2")).await;
    assert_eq!(browser.run("return document.getElementById('sort').value", json!([])).await, "name");
    browser.run("history.forward()", json!([])).await;
    browser.wait("the second page", &first("file-30.txt")).await;
    // A file's page and back: a load of its own, and the same place.
    browser.run("document.querySelector('#list .pages').scrollIntoView()", json!([])).await;
    let left_at = browser.run("return scrollY", json!([])).await.as_f64().unwrap();
    let names = browser.run(NAMES, json!([])).await;
    browser.run("document.querySelector('#list .item:last-child .name a').click()", json!([])).await;
    browser.wait("the file", "return location.pathname.startsWith('/files/')").await;
    browser.run("history.back()", json!([])).await;
    browser
        .wait("the list", "return location.search.includes('after=') && !!document.getElementById('list')")
        .await;
    browser.wait("its place", &format!("return Math.abs(scrollY - {left_at}) < 2")).await;
    assert_eq!(browser.run(NAMES, json!([])).await, names);
    assert_eq!(browser.run("return document.getElementById('query').value", json!([])).await, "-");
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_sorted_without_scripts() {
    let cluster = Cluster::start().await;
    cluster.store("b.txt", content(8301, 10)).await;
    cluster.store("a.txt", content(8302, 20)).await;
    let browser = Browser::start(false).await;
    browser.open(&cluster.url("/files?query=txt&sort=name")).await;
    browser.type_into("#sort", "Largest").await;
    browser.click("form.search button").await;
    let address = browser.address().await;
    assert!(address.ends_with("/files?query=txt&sort=largest"), "{address}");
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_pages_fit_and_have_their_buttons() {
    let cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    browser.open(&cluster.url("/")).await;
    browser.click("nav a[href='/help']").await;
    browser
        .wait("the buttons", "return document.querySelectorAll('.snippet .copy-button').length >= 13")
        .await;
    browser.click("#programs + p a").await;
    browser.wait("the calls", "return document.querySelectorAll('.call').length > 30").await;
    for path in ["/help", "/help/api", "/files", "/servers"] {
        browser.open(&cluster.url(path)).await;
        browser.resize(320).await;
        let wide = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.run(wide, json!([])).await, 0, "{path}");
    }
    end(browser, cluster).await;
}
