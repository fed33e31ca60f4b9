//! What is sent, and what of it twice: files that are here, breaks in the line, a reload, two windows.

use serde_json::{Value, json};

use super::{ALL_OVER, STATES, end, file, metric, sha1_of};
use crate::support::browser::Browser;
use crate::support::tus::Tus;
use crate::support::wire::Wire;
use crate::support::{Cluster, content, poll};

/// What a break may cost: a piece that was not whole yet, what was on its way, and the requests' heads.
const REPEATED_BYTES: u64 = (4 << 20) + (1 << 20);

const SIZE: usize = 40_000_000;

/// So many bytes a second that nothing comes to its end while the browser is told what to do.
const BARELY: u64 = 100_000;

async fn state(browser: &Browser, state: &str) {
    let script = format!("return document.querySelector('.queue-list .state')?.textContent === '{state}'");
    browser.wait(state, &script).await;
}

/// The only file is stored, whole, at two places.
async fn stored(browser: &Browser, cluster: &Cluster, bytes: &[u8]) {
    browser.wait("the end", ALL_OVER).await;
    assert_eq!(browser.run(STATES, json!([])).await, json!(["Stored"]));
    let link = browser.text(".queue-list .address").await;
    assert_eq!(sha1_of(&cluster.download(&link).await), sha1_of(bytes));
    assert_eq!(cluster.holders(&sha1_of(bytes), bytes).len(), 2);
}

/// Not less than the file was sent, and no more than that many breaks may cost.
fn assert_repeated(wire: &Wire, before: u64, breaks: u64) {
    let repeated = (wire.sent_bytes() - before).checked_sub(SIZE as u64).expect("all of it was sent");
    println!("{repeated} bytes more than the file, {breaks} breaks");
    assert!(repeated < breaks * REPEATED_BYTES, "{repeated} bytes more than the file after {breaks} breaks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_here_is_not_sent() {
    let cluster = Cluster::start().await;
    let wire = Wire::to(&cluster).await;
    let browser = Browser::through(&wire).await;
    let bytes = content(7301, 12_000_000);
    cluster.store("here.bin", bytes.clone()).await;
    browser.open(&cluster.base).await;
    let before = wire.sent_bytes();
    assert!(before > 0, "the browser goes through the proxy");
    browser.choose("#file", &[&file(&cluster, "the same.bin", &bytes)]).await;
    browser.wait("the answer", ALL_OVER).await;
    assert_eq!(browser.run(STATES, json!([])).await, json!(["Already here"]));
    let sent = wire.sent_bytes() - before;
    assert!(sent < 20_000, "{sent} bytes to learn that it is here");
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_and_a_cut_repeat_little() {
    let cluster = Cluster::start().await;
    let wire = Wire::to(&cluster).await;
    let browser = Browser::through(&wire).await;
    let bytes = content(7302, SIZE);
    browser.open(&cluster.base).await;
    wire.slow(8_000_000);
    let before = wire.sent_bytes();
    browser.choose("#file", &[&file(&cluster, "paused.bin", &bytes)]).await;

    wire.reached(before + 12_000_000).await;
    wire.slow(BARELY);
    browser.click("button[value=pause]").await;
    state(&browser, "Paused").await;
    // The line may break meanwhile; a pause sends nothing, so it does not notice.
    wire.cut();
    wire.mend();
    wire.slow(8_000_000);
    let at_pause = wire.sent_bytes();
    for _ in 0..100 {
        assert_eq!(browser.text("button[value=pause]").await, "Continue");
    }
    let sent = wire.sent_bytes() - at_pause;
    assert!(sent < 100_000, "{sent} bytes in a pause");
    browser.click("button[value=pause]").await;

    wire.reached(before + 27_000_000).await;
    wire.slow(BARELY);
    wire.cut();
    state(&browser, "Retrying").await;
    wire.slow(u64::MAX);
    wire.mend();
    stored(&browser, &cluster, &bytes).await;
    assert_repeated(&wire, before, 2);
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_was_offline_goes_on_by_itself() {
    let cluster = Cluster::start().await;
    let wire = Wire::to(&cluster).await;
    let browser = Browser::through(&wire).await;
    let bytes = content(7303, SIZE);
    browser.open(&cluster.base).await;
    wire.slow(8_000_000);
    let before = wire.sent_bytes();
    browser.choose("#file", &[&file(&cluster, "train.bin", &bytes)]).await;
    wire.reached(before + 15_000_000).await;
    wire.slow(BARELY);
    browser.offline(true).await;
    wire.cut();
    state(&browser, "Retrying").await;
    let words = "return document.querySelector('.queue-list .meta').textContent.trim() \
         .endsWith('You are offline. It goes on by itself.')";
    browser.wait("the words", words).await;
    wire.slow(u64::MAX);
    wire.mend();
    browser.offline(false).await;
    stored(&browser, &cluster, &bytes).await;
    assert_repeated(&wire, before, 1);
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reloaded_page_goes_on_with_the_same_file() {
    let cluster = Cluster::start().await;
    let wire = Wire::to(&cluster).await;
    let browser = Browser::through(&wire).await;
    let bytes = content(7304, SIZE);
    let path = file(&cluster, "half of it.bin", &bytes);
    browser.open(&cluster.base).await;
    assert_eq!(browser.run("return document.getElementById('unfinished').hidden", json!([])).await, true);
    wire.slow(8_000_000);
    let before = wire.sent_bytes();
    browser.choose("#file", &[&path]).await;
    wire.reached(before + SIZE as u64 / 2).await;
    wire.slow(BARELY);
    browser.reload().await;

    browser.wait("the offer", "return !document.getElementById('unfinished').hidden").await;
    assert_eq!(browser.text("#unfinished bdi").await, "half of it.bin");
    let size =
        "return document.querySelector('#unfinished .size').textContent.endsWith(' of 40 MB are here')";
    browser.wait("how much is here", size).await;
    wire.slow(u64::MAX);
    browser.choose("#file", &[&path]).await;
    stored(&browser, &cluster, &bytes).await;
    assert_repeated(&wire, before, 1);
    assert_eq!(browser.run("return document.getElementById('unfinished').hidden", json!([])).await, true);
    assert_eq!(browser.run("return localStorage.length", json!([])).await, 0, "nothing is left to offer");
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_page_of_the_former_release_noted_is_offered() {
    let cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    browser.open(&cluster.base).await;
    let tus = Tus::create(&cluster, 1000, "").await;
    let note = json!([{ "name": "former.bin", "size": 1000, "changed": 1, "url": tus.url, "expires": 9e15 }]);
    browser.run("localStorage.setItem('closeby.uploads', arguments[0])", json!([note.to_string()])).await;
    browser.reload().await;
    browser.wait("the offer", "return !document.getElementById('unfinished').hidden").await;
    assert_eq!(browser.text("#unfinished bdi").await, "former.bin");
    let keys = browser.run("return Object.keys(localStorage)", json!([])).await;
    assert_eq!(keys, json!([format!("closeby.upload:{}", tus.url)]));
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_windows_with_one_file_make_one_blob() {
    let cluster = Cluster::start().await;
    let wire = Wire::to(&cluster).await;
    let browser = Browser::through(&wire).await;
    let bytes = content(7305, 20_000_000);
    let path = file(&cluster, "twice.bin", &bytes);
    let mut windows = vec![browser.window().await];
    browser.open(&cluster.base).await;
    windows.push(browser.open_window().await);
    browser.open(&cluster.base).await;
    wire.slow(BARELY);
    for window in &windows {
        browser.switch_to(window).await;
        browser.choose("#file", &[&path]).await;
        let script = "return document.querySelector('.queue-list .state')?.textContent === 'Sending'";
        browser.wait("bytes on their way", script).await;
    }
    let both = async || (metric(&cluster, "closeby_uploads_running").await == 2.0).then_some(());
    poll("both at once", both).await;
    wire.slow(u64::MAX);
    let mut states = Vec::new();
    for window in &windows {
        browser.switch_to(window).await;
        browser.wait("the end", ALL_OVER).await;
        states.extend(browser.run(STATES, json!([])).await.as_array().unwrap().clone());
    }
    // What one window forgets, the other sees a moment later.
    browser.wait("nothing is left to offer", "return localStorage.length === 0").await;
    states.sort_by_key(Value::to_string);
    assert_eq!(states, [json!("Already here"), json!("Stored")]);
    assert_eq!(metric(&cluster, "closeby_blobs").await, 1.0);
    poll("two copies", || async { (cluster.holders(&sha1_of(&bytes), &bytes).len() == 2).then_some(()) })
        .await;
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn windows_that_remember_and_forget_at_once_lose_nothing() {
    let cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    let mut windows = vec![browser.window().await];
    browser.open(&cluster.base).await;
    windows.push(browser.open_window().await);
    browser.open(&cluster.base).await;
    let script = "const window = arguments[0]; \
         const a = { name: 'a', size: 1, lastModified: 1 }; \
         const turn = () => new Promise((next) => { \
             const { port1, port2 } = new MessageChannel(); port1.onmessage = next; port2.postMessage(0); }); \
         document.title = 'busy'; \
         import('/static/resume.js').then(async ({ remember, forget }) => { \
             remember(a, window, null); \
             for (let i = 0; i < 2000; i += 1) { \
                 remember(a, window + i, null); await turn(); forget(window + i); await turn(); } \
             document.title = 'over'; })";
    for window in &windows {
        browser.switch_to(window).await;
        browser.run(script, json!([window])).await;
    }
    for window in &windows {
        browser.switch_to(window).await;
        browser.wait("the end", "return document.title === 'over'").await;
    }
    let keys = "const keys = Object.keys(localStorage); return keys.length === 2 && keys.sort()";
    let keys = browser.wait("the two that nobody forgot", keys).await;
    let mut left: Vec<String> = windows.iter().map(|window| format!("closeby.upload:{window}")).collect();
    left.sort();
    assert_eq!(keys, json!(left));
    end(browser, cluster).await;
}
