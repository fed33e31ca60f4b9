//! The pages without a mouse, without good eyes, and without any other host.

use std::collections::BTreeSet;

use closeby::config::Limits;
use closeby::domain::Access;
use serde_json::{Value, json};

use super::{ALL_OVER, STATES, end, file};
use crate::support::browser::Browser;
use crate::support::wire::Wire;
use crate::support::{Cluster, Options, content};

const TAB: &str = "\u{e004}";
const ENTER: &str = "\u{e007}";
const SPACE: &str = " ";

/// More stops than any page here has.
const MOST_STOPS: usize = 40;

/// Presses Tab until the focus is there; wherever it comes past it must be seen.
async fn tab_to(browser: &Browser, selector: &str) {
    // What has the focus, whether that shows, and whether it is the wanted one.
    const FOCUS: &str = "const at = document.activeElement; const style = getComputedStyle(at); \
         const box = at.getBoundingClientRect(); \
         const isMarked = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2; \
         const isInside = box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight; \
         return [at.outerHTML.slice(0, 120), at === document.body || (isMarked && isInside), at.matches(arguments[0])];";
    let mut seen = Vec::new();
    for _ in 0..MOST_STOPS {
        browser.press(TAB).await;
        let focus = browser.run(FOCUS, json!([selector])).await;
        assert_eq!(focus[1], true, "the focus does not show: {}", focus[0]);
        if focus[2] == true {
            return;
        }
        seen.push(focus[0].clone());
    }
    panic!("Tab does not come to {selector}, only to {seen:#?}");
}

async fn loaded(browser: &Browser, path: &str) {
    let script =
        format!("return location.pathname.startsWith('{path}') && document.readyState === 'complete'");
    browser.wait(path, &script).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_done_with_the_keyboard() {
    let cluster = Cluster::start().await;
    let wire = Wire::to(&cluster).await;
    let browser = Browser::through(&wire).await;
    browser.open(&cluster.base).await;

    // Past the navigation, to the field; both keys open it.
    tab_to(&browser, "a.skip").await;
    browser.press(ENTER).await;
    browser
        .run(
            "window.asked = 0; document.getElementById('file').addEventListener('click', (event) => { \
                 event.preventDefault(); window.asked += 1; })",
            json!([]),
        )
        .await;
    browser.press(TAB).await;
    assert_eq!(
        browser.run("return document.activeElement.id", json!([])).await,
        "file",
        "the first one behind the link"
    );
    browser.press(SPACE).await;
    browser.press(ENTER).await;
    assert_eq!(browser.run("return window.asked", json!([])).await, 2);

    // Pause, go on, cancel, send again.
    wire.slow(100_000);
    browser.choose("#file", &[&file(&cluster, "typed.bin", &content(7501, 5_000_000))]).await;
    browser.wait("some of it", "return document.querySelector('.queue-list progress')?.value > 200000").await;
    tab_to(&browser, "button[value=pause]").await;
    browser.press(SPACE).await;
    assert_eq!(browser.text("button[value=pause]").await, "Continue");
    browser.press(ENTER).await;
    assert_eq!(browser.text("button[value=pause]").await, "Pause");
    tab_to(&browser, ".queue-list .act").await;
    let label = "return document.activeElement.getAttribute('aria-label')";
    assert_eq!(browser.run(label, json!([])).await, "Cancel: typed.bin");
    browser.press(ENTER).await;
    browser.wait("the end", ALL_OVER).await;
    assert_eq!(browser.run(STATES, json!([])).await, json!(["Cancelled"]));
    browser.wait("the news", &format!("return (() => {{ {label} }})() === 'Send again: typed.bin'")).await;
    wire.slow(u64::MAX);
    browser.press(SPACE).await;
    browser.wait("the upload", &format!("return (() => {{ {STATES} }})()[0] === 'Stored'")).await;
    browser.wait("the link", &format!("return (() => {{ {label} }})() === 'Copy link: typed.bin'")).await;
    // It says so for two seconds only.
    let watch = "const button = document.activeElement; window.shown = []; \
         new MutationObserver(() => window.shown.push(button.textContent)).observe(button, { childList: true })";
    browser.run(watch, json!([])).await;
    browser.press(ENTER).await;
    let copied = "const said = document.getElementById('said').textContent; \
         return ['Copied', 'Press Ctrl+C'].includes(said) && window.shown.includes(said)";
    browser.wait("the copy, seen and said", copied).await;
    // On to the page's end, and from its start again.
    tab_to(&browser, "button[value=clear]").await;
    browser.press(ENTER).await;
    let at_field = "return document.activeElement.id === 'file'";
    browser.wait("an empty queue leaves the focus on the field", at_field).await;

    // To the list, by typing to one file, and to its page.
    browser.open(&cluster.url("/servers")).await;
    tab_to(&browser, "nav a[href='/files']").await;
    browser.press(ENTER).await;
    loaded(&browser, "/files").await;
    tab_to(&browser, "#query").await;
    browser.press("typ").await;
    browser
        .wait(
            "the search",
            "return location.search === '?query=typ' \
             && !document.getElementById('list').hasAttribute('aria-busy')",
        )
        .await;
    tab_to(&browser, "#list .name a").await;
    browser.press(ENTER).await;
    loaded(&browser, "/files/").await;
    assert_eq!(browser.text("h1").await, "typed.bin");
    tab_to(&browser, "main a.button").await;
    assert_eq!(browser.run("return document.activeElement.textContent", json!([])).await, "Download");
    // Every stop of the page, to the end and out of it.
    tab_to(&browser, "body").await;
    end(browser, cluster).await;
}

/// Looks at the pages as they are; collects what is wrong, and whom they ask.
struct Look<'a> {
    browser: &'a Browser,
    axe: String,
    findings: Vec<String>,
    asked: BTreeSet<String>,
}

impl<'a> Look<'a> {
    fn with(browser: &'a Browser) -> Self {
        let axe = concat!(env!("CARGO_TARGET_TMPDIR"), "/axe/node_modules/axe-core/axe.min.js");
        let axe = std::fs::read_to_string(axe).expect("axe-core is there: scripts/test installs it");
        Self { browser, axe, findings: Vec::new(), asked: BTreeSet::new() }
    }

    async fn at(&mut self, what: &str) {
        // Before axe, which asks for the stylesheet again.
        let asked =
            "return performance.getEntriesByType('resource').map((entry) => new URL(entry.name).origin)";
        let asked = self.browser.run(asked, json!([])).await;
        assert_ne!(asked, json!([]), "{what}: a page has a stylesheet at least");
        self.asked.extend(asked.as_array().unwrap().iter().map(|origin| origin.as_str().unwrap().to_owned()));
        self.browser.run(&self.axe, json!([])).await;
        for scheme in ["light", "dark"] {
            let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
            self.browser.devtools("Emulation.setEmulatedMedia", features).await;
            // Colours that fade are looked at when they are there.
            self.browser.wait("still colours", &format!(
                "return matchMedia('(prefers-color-scheme: {scheme})').matches \
                 && document.getAnimations().every((one) => one.playState !== 'running' || !(one instanceof CSSTransition))"
            )).await;
            let found = self.browser.run(
                "return axe.run(document).then(({ passes, violations }) => [passes.length, violations.map((rule) => [rule.impact, \
                 `${rule.id}: ` + rule.nodes.map((node) => `${node.target} ${node.failureSummary}`).join('; ')])])",
                json!([]),
            ).await;
            assert!(found[0].as_u64().unwrap() > 10, "{what}: axe has looked");
            for rule in found[1].as_array().unwrap() {
                println!("{what}, {scheme}: {rule}");
                if rule[0] == "serious" || rule[0] == "critical" {
                    self.findings.push(format!("{what}, {scheme}: {rule}"));
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_serious_and_no_other_host_is_asked() {
    let limits = Limits { file_bytes: 30_000_000, ..Limits::default() };
    let mut cluster = Cluster::with(Options { limits, ..Options::default() }).await;
    let wire = Wire::to(&cluster).await;
    let browser = Browser::through(&wire).await;
    let mut look = Look::with(&browser);

    browser.open(&cluster.url("/files")).await;
    look.at("an empty list").await;
    browser.open(&cluster.base).await;
    look.at("the start page").await;

    // Every end, and one on its way; then paused; then what is left of it after a reload.
    let twice = content(7511, 30_000);
    cluster.store("notes.txt", twice.clone()).await;
    let long = file(&cluster, "film.mp4", &content(7513, 25_000_000));
    browser
        .choose(
            "#file",
            &[
                &file(&cluster, "notes again.txt", &twice),
                &file(&cluster, "photo.jpg", &content(7512, 40_000)),
                &file(&cluster, "too large.iso", &content(7514, 30_000_001)),
            ],
        )
        .await;
    browser.wait("three ends", ALL_OVER).await;
    let states = browser.run(STATES, json!([])).await;
    assert_eq!(states, json!(["Already here", "Stored", "Not stored"]));
    look.at("a queue that is over").await;
    wire.slow(200_000);
    browser.choose("#file", &[&long, &file(&cluster, "b.zip", &content(7515, 6_000_000))]).await;
    browser
        .wait("some of it", "return document.querySelectorAll('.queue-list progress')[3]?.value > 1000000")
        .await;
    browser.click(".queue-list li:nth-child(5) button").await;
    look.at("a queue at work").await;
    browser.click("button[value=pause]").await;
    browser.wait("the pause", &format!("return (() => {{ {STATES} }})()[3] === 'Paused'")).await;
    let states = browser.run(STATES, json!([])).await;
    assert_eq!(states, json!(["Already here", "Stored", "Not stored", "Paused", "Cancelled"]));
    look.at("a paused queue").await;
    browser.reload().await;
    browser
        .wait(
            "the offer",
            "return document.querySelector('#unfinished .size')?.textContent.endsWith('are here')",
        )
        .await;
    look.at("an unfinished upload").await;
    wire.slow(u64::MAX);

    browser.open(&cluster.url("/files")).await;
    look.at("the list").await;
    browser.open(&cluster.url("/files?query=nothing")).await;
    look.at("a search that finds nothing").await;
    browser.open(&cluster.url("/files?query=photo")).await;
    browser.click("#list .name a").await;
    loaded(&browser, "/files/").await;
    look.at("a file's page").await;
    browser.open(&cluster.url("/servers")).await;
    look.at("the servers").await;
    browser.open(&cluster.url("/files/0000000000000000000000000000000000000000")).await;
    assert_eq!(browser.text(".error .status").await, "404");
    look.at("an error").await;

    // As without scripts: the form sends its file by itself.
    browser.open(&cluster.base).await;
    browser
        .run(
            "const given = new DataTransfer(); \
         given.items.add(new File(['one'], 'one.txt')); given.items.add(new File(['two'], 'two.txt')); \
         document.getElementById('file').files = given.files; document.querySelector('form.upload').submit()",
            json!([]),
        )
        .await;
    loaded(&browser, "/upload").await;
    look.at("the result of the form").await;

    cluster.stop_node("bangalore").await;
    browser.open(&cluster.url("/servers")).await;
    browser
        .wait("the silence", "return document.querySelectorAll('.servers .state.good').length === 3")
        .await;
    look.at("a silent server").await;

    assert_eq!(look.findings, Vec::<String>::new());
    let nodes: Value = cluster.get("/api/v1/nodes").send().await.unwrap().json().await.unwrap();
    let origin = |url: &Value| url.as_str().unwrap().trim_end_matches('/').to_owned();
    let mut ours: BTreeSet<String> =
        nodes["nodes"].as_array().unwrap().iter().map(|node| origin(&node["public_url"])).collect();
    ours.insert(cluster.base.clone());
    assert_eq!(ours.len(), 5);
    assert!(look.asked.is_subset(&ours), "{:?}", look.asked);
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn axe_finds_nothing_serious_where_a_token_is_wanted() {
    let cluster = Cluster::with(Options { access: Access::default(), ..Options::default() }).await;
    let browser = Browser::start(true).await;
    let mut look = Look::with(&browser);
    browser.open(&cluster.base).await;
    look.at("a start page that takes a token").await;
    browser.choose("#file", &[&file(&cluster, "waits.bin", &content(7516, 1000))]).await;
    browser.wait("the question", "return !document.getElementById('token-trouble').hidden").await;
    browser
        .wait("the row", "return document.querySelector('.queue-list .state')?.textContent === 'Waiting'")
        .await;
    look.at("files that wait for a token").await;
    browser.open(&cluster.url("/help")).await;
    look.at("the help of a store that takes a token").await;
    assert_eq!(look.findings, Vec::<String>::new());
    assert_eq!(look.asked, BTreeSet::from([cluster.base.clone()]));
    end(browser, cluster).await;
}
