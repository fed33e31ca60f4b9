//! The verified download: pieces from both copies at once, each checked.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::end;
use crate::support::browser::Browser;
use crate::support::{Cluster, Options, content, poll};

const PIECE: usize = 4 << 20;
/// No such browser asks where to save.
const NO_PICKER: &str = "delete window.showSaveFilePicker";
/// The bytes that each copy gave, by its place.
const PIECES: &str = "return Object.fromEntries([...document.querySelectorAll('#verified .sources li')].map((row) => \
                      [row.querySelector('.place').textContent, Number.parseInt(row.querySelector('.meta').textContent.split(' · ')[1])]))";
const OVER: &str = "return document.querySelector('#verified.over h2')?.textContent";

/// Two nodes, so both have it.
async fn two_nodes() -> Cluster {
    Cluster::with(Options { places: vec!["toronto", "amsterdam"], ..Options::default() }).await
}

/// A browser without a picker, its downloads in the test's folder.
async fn browser_of(cluster: &Cluster) -> (Browser, PathBuf) {
    let browser = Browser::start(true).await;
    let folder = cluster.scratch("downloads");
    browser.download_to(&folder).await;
    browser.before_pages(NO_PICKER).await;
    (browser, folder)
}

async fn store(cluster: &Cluster, name: &str, bytes: &[u8]) -> String {
    cluster.store(name, bytes.to_vec()).await["sha1"].as_str().unwrap().to_owned()
}

async fn begin(cluster: &Cluster, browser: &Browser, sha1: &str) {
    browser.open(&cluster.url(&format!("/files/{sha1}"))).await;
    browser.click("#verified-offer button").await;
}

async fn assert_saved(path: &Path, bytes: &[u8]) {
    poll("the file on the disk", || async { (std::fs::read(path).ok()? == bytes).then_some(()) }).await;
}

/// Waits for the end, and says what was checked.
async fn summary(browser: &Browser) -> String {
    let title = browser.wait("the end", OVER).await;
    let told = browser.text("#verified .told").await;
    assert_eq!(title, "Downloaded and checked", "{told}");
    told
}

fn of(pieces: &Value, place: &str) -> u64 {
    pieces[place].as_u64().unwrap_or_else(|| panic!("{place} in {pieces}"))
}

fn blob_path(cluster: &Cluster, place: &str, sha1: &str) -> PathBuf {
    cluster.node_dir(place).join("blobs").join(&sha1[..2]).join(&sha1[2..4]).join(sha1)
}

#[tokio::test(flavor = "multi_thread")]
async fn both_copies_give_pieces_of_one_file() {
    let cluster = two_nodes().await;
    // The last piece is a short one.
    let bytes = content(7301, 10 * PIECE + 12_345);
    let sha1 = store(&cluster, "large one.bin", &bytes).await;
    let (browser, folder) = browser_of(&cluster).await;
    begin(&cluster, &browser, &sha1).await;
    let told = summary(&browser).await;
    assert!(told.starts_with("11 pieces checked: ") && !told.contains("wrong"), "{told}");
    let pieces = browser.run(PIECES, json!([])).await;
    assert_eq!(of(&pieces, "Toronto") + of(&pieces, "Amsterdam"), 11);
    assert!(of(&pieces, "Toronto") > 0 && of(&pieces, "Amsterdam") > 0, "{pieces}");
    assert_saved(&folder.join("large one.bin"), &bytes).await;

    // What is one piece is no work for two.
    let small = store(&cluster, "small.bin", &bytes[..PIECE]).await;
    browser.open(&cluster.url(&format!("/files/{small}"))).await;
    assert_eq!(browser.run("return document.getElementById('verified-offer')", json!([])).await, Value::Null);
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_half_way_is_left_to_the_other() {
    let mut cluster = two_nodes().await;
    let bytes = content(7302, 16 * PIECE);
    let sha1 = store(&cluster, "half way.bin", &bytes).await;
    let (browser, folder) = browser_of(&cluster).await;
    browser.throttle_downloads(Some(4_000_000)).await;
    begin(&cluster, &browser, &sha1).await;
    let from_both =
        format!("const pieces = (() => {{ {PIECES} }})(); return pieces.Toronto > 0 && pieces.Amsterdam > 0");
    browser.wait("some of each", &from_both).await;
    cluster.stop_node("amsterdam").await;
    let before = browser.run(PIECES, json!([])).await;
    assert!(of(&before, "Toronto") + of(&before, "Amsterdam") < 16, "it was half way: {before}");
    browser
        .wait(
            "the trouble",
            // Which of the two depends on who hears of it first: central, or the page.
            "return /does not answer|has nothing to give/.test(document.getElementById('verified').textContent)",
        )
        .await;
    browser.throttle_downloads(None).await;
    let told = summary(&browser).await;
    assert!(told.contains("from Toronto") && told.contains("from Amsterdam"), "{told}");
    assert_saved(&folder.join("half way.bin"), &bytes).await;
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_pieces_are_taken_from_the_other_copy() {
    let cluster = two_nodes().await;
    let bytes = content(7303, 12 * PIECE);
    let sha1 = store(&cluster, "rotten.bin", &bytes).await;
    let path = blob_path(&cluster, "toronto", &sha1);
    // Every piece of it, so that whichever is asked of it first is wrong.
    let mut rotten = bytes.clone();
    (0..12).for_each(|piece| rotten[piece * PIECE + 1000] ^= 1);
    std::fs::write(&path, &rotten).unwrap();
    let (browser, folder) = browser_of(&cluster).await;
    begin(&cluster, &browser, &sha1).await;
    let told = summary(&browser).await;
    assert!(told.starts_with("12 pieces checked: 12 from Amsterdam."), "{told}");
    assert!(
        told.contains(" from Toronto w")
            && told.contains("wrong and w")
            && told.ends_with("taken from Amsterdam."),
        "{told}"
    );
    assert_saved(&folder.join("rotten.bin"), &bytes).await;
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_everywhere_is_not_saved() {
    let cluster = two_nodes().await;
    let bytes = content(7304, 3 * PIECE);
    let sha1 = store(&cluster, "lost.bin", &bytes).await;
    for place in ["toronto", "amsterdam"] {
        let mut rotten = bytes.clone();
        rotten[PIECE] ^= 1;
        std::fs::write(blob_path(&cluster, place, &sha1), &rotten).unwrap();
    }
    let (browser, folder) = browser_of(&cluster).await;
    begin(&cluster, &browser, &sha1).await;
    assert_eq!(browser.wait("the end", OVER).await, "Not downloaded");
    assert!(browser.text("#verified .told").await.starts_with("Every copy gave wrong bytes."));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_the_checked_pieces() {
    let cluster = two_nodes().await;
    let bytes = content(7305, 12 * PIECE);
    let sha1 = store(&cluster, "reloaded.bin", &bytes).await;
    let (browser, folder) = browser_of(&cluster).await;
    browser.throttle_downloads(Some(6_000_000)).await;
    begin(&cluster, &browser, &sha1).await;
    let some = "return Number.parseInt(document.querySelector('#verified .sum').textContent) > 1";
    browser.wait("two pieces", some).await;
    browser.open(&cluster.url(&format!("/files/{sha1}"))).await;
    browser.throttle_downloads(None).await;
    let offer = "return document.querySelector('#verified-offer button').textContent === 'Continue verified download'";
    browser.wait("the offer", offer).await;
    browser.click("#verified-offer button").await;
    let told = summary(&browser).await;
    assert!(told.contains("from this browser, where they were already"), "{told}");
    assert_saved(&folder.join("reloaded.bin"), &bytes).await;
    end(browser, cluster).await;
}

/// Holds the page's own file as a page does that was just left, and lets it go after so many milliseconds.
const HOLD: &str = "const [sha1, size, time] = arguments; \
     const version = document.querySelector('link[rel=icon]').href.split('/').at(-2); \
     const holder = new Worker(`/static/${version}/disk-worker.js`, { type: 'module' }); \
     const plan = { sha1, size, pieceBytes: 4 << 20, digests: ['', ''] }; \
     return new Promise((held) => { \
         holder.onmessage = ({ data }) => { setTimeout(() => holder.terminate(), time); held(data.error ?? 'held'); }; \
         holder.postMessage({ id: 1, act: 'open', folder: 'verified-downloads', plan }); })";

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_another_page_lets_go_of_is_waited_for() {
    let cluster = two_nodes().await;
    let bytes = content(7309, PIECE + 1);
    let sha1 = store(&cluster, "held.bin", &bytes).await;
    let (browser, folder) = browser_of(&cluster).await;
    browser.open(&cluster.url(&format!("/files/{sha1}"))).await;
    let held = |time: u32| browser.run(HOLD, json!([sha1, bytes.len(), time]));
    assert_eq!(held(60_000).await, "held");
    let cancelled = "document.querySelector('#verified-offer button').click();          setTimeout(() => document.querySelector('#verified button[value=cancel]').click(), 500)";
    browser.run(cancelled, json!([])).await;
    assert_eq!(browser.wait("the end", OVER).await, "Cancelled");

    browser.reload().await;
    browser
        .wait(
            "the former page's end",
            &format!(
                "return (function () {{ {HOLD} }})('{sha1}', {}, 1000).then((held) => held === 'held')",
                bytes.len()
            ),
        )
        .await;
    browser.click("#verified-offer button").await;
    summary(&browser).await;
    assert_saved(&folder.join("held.bin"), &bytes).await;
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picked_file_is_written_and_a_cancelled_one_is_not() {
    let cluster = two_nodes().await;
    let bytes = content(7306, 6 * PIECE + 1);
    let sha1 = store(&cluster, "picked.bin", &bytes).await;
    let browser = Browser::start(true).await;
    // Nobody can be asked here: a file of the browser's own stands for the one that is picked.
    browser
        .before_pages(
            "window.showSaveFilePicker = async ({ suggestedName }) => \
             (await navigator.storage.getDirectory()).getFileHandle(suggestedName, { create: true })",
        )
        .await;
    browser.throttle_downloads(Some(3_000_000)).await;
    begin(&cluster, &browser, &sha1).await;
    browser.wait("some of it", "return document.querySelector('#verified progress').value > 1000000").await;
    browser.click("#verified button[value=cancel]").await;
    assert_eq!(browser.wait("the end", OVER).await, "Cancelled");
    browser.click("#verified button[value=close]").await;
    browser.throttle_downloads(None).await;
    browser.click("#verified-offer button").await;
    summary(&browser).await;
    browser
        .run(
            "navigator.storage.getDirectory().then((root) => root.getFileHandle('picked.bin')).then((file) => file.getFile()) \
             .then((file) => file.arrayBuffer()).then((bytes) => crypto.subtle.digest('SHA-256', bytes)) \
             .then((digest) => window.sha256 = Array.from(new Uint8Array(digest), (b) => b.toString(16).padStart(2, '0')).join(''))",
            json!([]),
        )
        .await;
    let digest = browser.wait("its digest", "return window.sha256").await;
    assert_eq!(digest, hex::encode(Sha256::digest(&bytes)));
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_can_be_joined_there_is_the_plain_link() {
    let cluster = two_nodes().await;
    let sha1 = store(&cluster, "plain.bin", &content(7307, PIECE + 1)).await;
    let (browser, _) = browser_of(&cluster).await;
    let page = cluster.url(&format!("/files/{sha1}"));
    let is_shown = "return document.getElementById('verified-offer').checkVisibility()";
    browser.open(&page).await;
    assert_eq!(browser.run(is_shown, json!([])).await, true);
    browser.before_pages("delete StorageManager.prototype.getDirectory").await;
    browser.open(&page).await;
    browser
        .wait("it is withdrawn", "return !document.getElementById('verified-offer').checkVisibility()")
        .await;
    let link = browser.run("return document.querySelector('.actions.get a.button').href", json!([])).await;
    assert_eq!(link, cluster.url(&format!("/d/{sha1}/plain.bin")));
    end(browser, cluster).await;
}
