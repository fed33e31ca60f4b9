//! The list and the servers.

use serde_json::json;

use super::end;
use crate::support::browser::Browser;
use crate::support::{Cluster, content};

#[tokio::test(flavor = "multi_thread")]
async fn the_list_is_searched_as_one_types() {
    let cluster = Cluster::start().await;
    for (seed, name) in [(7201, "apple.txt"), (7202, "apricot.txt"), (7203, "plum.txt")] {
        cluster.store(name, content(seed, 20)).await;
    }
    let browser = Browser::start(true).await;
    browser.open(&cluster.url("/files")).await;
    browser.type_into("#query", "ap").await;
    browser.wait("two", "return document.querySelectorAll('#list .item').length === 2").await;
    browser.type_into("#query", "r").await;
    browser.wait("one", "return document.querySelectorAll('#list .item').length === 1").await;
    assert_eq!(browser.run("return location.search", json!([])).await, "?query=apr");
    assert_eq!(browser.run("return document.activeElement.id", json!([])).await, "query");
    browser.run("history.back()", json!([])).await;
    browser
        .wait("all", "return document.querySelectorAll('#list .item').length === 3 && location.search === ''")
        .await;
    assert_eq!(browser.run("return document.getElementById('query').value", json!([])).await, "");
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_page_learns_of_a_silent_server() {
    let mut cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    browser.open(&cluster.url("/servers")).await;
    let well = "return document.querySelectorAll('.servers .state.good').length";
    assert_eq!(browser.run(well, json!([])).await, 4);
    browser.run("window.sameDocument = true", json!([])).await;
    cluster.stop_node("bangalore").await;
    browser.wait("the news", &format!("return (() => {{ {well} }})() === 3 && window.sameDocument")).await;
    end(browser, cluster).await;
}
