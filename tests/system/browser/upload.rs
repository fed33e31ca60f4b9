//! The start page: what is given to it, and what becomes of that.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{ALL_OVER, STATES, end, file, metric, sha1_of};
use crate::support::browser::Browser;
use crate::support::{Cluster, DEADLINE, content, poll};

#[tokio::test(flavor = "multi_thread")]
async fn the_form_works_without_scripts() {
    let cluster = Cluster::start().await;
    let browser = Browser::start(false).await;
    let bytes = content(7001, 5000);
    browser.open(&cluster.base).await;
    browser.choose("#file", &[&file(&cluster, "plain form.bin", &bytes)]).await;
    browser.click("form.upload button").await;
    // Nothing runs in the page, so the test looks where the file must be.
    let sha1 = sha1_of(&bytes);
    poll("two copies", || async { (cluster.holders(&sha1, &bytes).len() == 2).then_some(()) }).await;
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn choosing_is_enough_and_ends_with_the_link_and_two_places() {
    let cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    let bytes = content(7002, 300_000);
    let path = file(&cluster, "photo one.jpg", &bytes);
    browser.open(&cluster.base).await;
    browser.choose("#file", &[&path]).await;
    browser.wait("the upload", ALL_OVER).await;
    assert_eq!(browser.run(STATES, json!([])).await, json!(["Stored"]));
    let sha1 = sha1_of(&bytes);
    let link = format!("{}/d/{sha1}/photo%20one.jpg", cluster.base);
    assert_eq!(browser.text(".queue-list .address").await, link);
    assert_eq!(cluster.download(&link).await, bytes);
    let blob: Value =
        cluster.get(&format!("/api/v1/blobs/{sha1}")).send().await.unwrap().json().await.unwrap();
    let mut places: Vec<&str> =
        blob["replicas"].as_array().unwrap().iter().map(|at| at["place"]["name"].as_str().unwrap()).collect();
    places.sort_unstable();
    let meta = browser.text(".queue-list .meta").await;
    assert_eq!(meta, format!("300 kB · kept in {} and {}", places[0], places[1]));
    browser
        .wait(
            "the ending",
            "return document.querySelector('#queue-title').textContent === 'Your file is stored'",
        )
        .await;

    // The same again is asked about, and not sent.
    let before = metric(&cluster, "closeby_uploads_total{outcome=\"duplicate\"}").await;
    browser.choose("#file", &[&path]).await;
    browser
        .wait(
            "the answer",
            "return document.querySelectorAll('.queue-list .state')[1]?.textContent === 'Already here'",
        )
        .await;
    assert_eq!(metric(&cluster, "closeby_uploads_total{outcome=\"duplicate\"}").await, before);
    assert_eq!(metric(&cluster, "closeby_uploads_total{outcome=\"stored\"}").await, 1.0);
    let asked = "return performance.getEntriesByType('resource').filter((e) => e.name.includes('/api/v1/files')).length";
    assert_eq!(browser.run(asked, json!([])).await, json!(1));
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn digests_are_right_around_every_block() {
    let cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    let piece = 4 << 20;
    let sizes = [0, 1, 55, 56, 63, 64, 65, piece - 1, piece, piece + 1];
    let all: Vec<Vec<u8>> = sizes.iter().map(|size| content(7100, *size)).collect();
    let names: Vec<String> = sizes.iter().map(|size| format!("{size}.bin")).collect();
    let paths: Vec<PathBuf> =
        all.iter().zip(&names).map(|(bytes, name)| file(&cluster, name, bytes)).collect();
    let paths: Vec<&std::path::Path> = paths.iter().map(PathBuf::as_path).collect();
    browser.open(&cluster.base).await;
    // Once sent with the digest of the same read, which the server checks; once only hashed and asked about.
    for state in ["Stored", "Already here"] {
        browser.choose("#file", &paths).await;
        browser.wait("all", ALL_OVER).await;
        assert_eq!(browser.run(STATES, json!([])).await, json!(vec![state; sizes.len()]));
        let rows = "return [...document.querySelectorAll('.queue-list li')].map((row) => \
                    [row.querySelector('bdi').textContent, row.querySelector('a').href.split('/').at(-1)])";
        for row in browser.run(rows, json!([])).await.as_array().unwrap() {
            let at = names.iter().position(|name| row[0] == **name).unwrap();
            assert_eq!(row[1], sha1_of(&all[at]), "{}", names[at]);
        }
        browser.wait("the end", "return !document.querySelector('button[value=clear]').hidden").await;
        browser.click("button[value=clear]").await;
    }
    assert_eq!(metric(&cluster, "closeby_uploads_total{outcome=\"duplicate\"}").await, 0.0);
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_upload_leaves_nothing() {
    let cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    browser.open(&cluster.base).await;
    browser.throttle(500_000).await;
    browser.choose("#file", &[&file(&cluster, "slow.bin", &content(7004, 6_000_000))]).await;
    browser.wait("some of it", "return document.querySelector('.queue-list progress')?.value > 500000").await;
    browser.click(".queue-list button").await;
    browser.wait("the end", ALL_OVER).await;
    assert_eq!(browser.run(STATES, json!([])).await, json!(["Cancelled"]));
    cluster.wait_until_empty(DEADLINE).await;
    assert_eq!(metric(&cluster, "closeby_uploads_total{outcome=\"stored\"}").await, 0.0);
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_the_middle_loses_nothing() {
    let mut cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    // Longer than what a stopping central still takes.
    let bytes = content(7005, 90_000_000);
    browser.open(&cluster.base).await;
    browser.throttle(2_000_000).await;
    browser.choose("#file", &[&file(&cluster, "long.bin", &bytes)]).await;
    browser.wait("a part", "return document.querySelector('.queue-list progress')?.value > 10000000").await;
    cluster.stop_central().await;
    assert_ne!(browser.run(STATES, json!([])).await, json!(["Stored"]), "it was not over");
    cluster.start_central().await;
    browser.throttle(1_000_000_000).await;
    browser.wait("the upload", ALL_OVER).await;
    assert_eq!(browser.run(STATES, json!([])).await, json!(["Stored"]));
    let link = browser.text(".queue-list .address").await;
    assert_eq!(cluster.download(&link).await, bytes);
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_text_whatever_it_is() {
    let cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    let name = "<img src=x onerror=alert(1)> \u{5d0}\u{5d1}\u{5d2} \u{1f600} \u{202e}gpj.exe & \"q\".txt";
    browser.open(&cluster.base).await;
    browser.choose("#file", &[&file(&cluster, name, &content(7003, 10))]).await;
    browser.wait("the upload", ALL_OVER).await;
    assert_eq!(browser.text(".queue-list bdi").await, name);
    assert_eq!(browser.run("return document.querySelectorAll('.queue-list img').length", json!([])).await, 0);
    browser.click(".queue-list a").await;
    browser
        .wait(
            "the file's page",
            "return location.pathname.startsWith('/files/') && document.readyState === 'complete'",
        )
        .await;
    assert_eq!(browser.text("h1").await, name);
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_folder_is_taken_with_all_that_is_in_it() {
    let cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    browser.open(&cluster.base).await;
    // A script cannot make entries of a real disk, but it can make what the page reads of them.
    let drop = r"
        const file = (path, text) => ({ isFile: true, fullPath: path, file: (ok) => ok(new File([text], path.split('/').at(-1))) });
        const folder = (children) => ({ isFile: false, isDirectory: true, createReader: () => {
            const rest = [...children];
            return { readEntries: (ok) => ok(rest.splice(0, 1)) };
        } });
        const root = folder([file('/trip/a.txt', 'first'), folder([file('/trip/deep/b.txt', 'second')]), folder([])]);
        const event = new Event('drop', { cancelable: true });
        event.dataTransfer = { types: ['Files'], items: [{ kind: 'file', webkitGetAsEntry: () => root }] };
        return !window.dispatchEvent(event);";
    assert_eq!(browser.run(drop, json!([])).await, true);
    assert_eq!(browser.wait("both", ALL_OVER).await, 2);
    assert_eq!(browser.run(STATES, json!([])).await, json!(["Stored", "Stored"]));
    let titles = "return [...document.querySelectorAll('.queue-list a')].map((link) => link.title)";
    assert_eq!(browser.run(titles, json!([])).await, json!(["trip/a.txt", "trip/deep/b.txt"]));
    end(browser, cluster).await;
}
