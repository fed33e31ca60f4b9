//! The pages in a real browser.

mod access;
mod file_page;
mod hashing;
mod pages;
mod resume;
mod token;
mod upload;
mod verified;
mod ways;

use std::path::PathBuf;

use sha1::{Digest as _, Sha1};

use crate::support::Cluster;
use crate::support::browser::Browser;

const STATES: &str = "return [...document.querySelectorAll('.queue-list .state')].map((e) => e.textContent)";
const ALL_OVER: &str = "const states = [...document.querySelectorAll('.queue-list .state')].map((e) => e.textContent); \
     return states.length > 0 && states.every((s) => ['Stored', 'Already here', 'Not stored', 'Cancelled'].includes(s)) \
     && states.length";

/// A file on the disk that the browser runs on.
fn file(cluster: &Cluster, name: &str, bytes: &[u8]) -> PathBuf {
    let path = cluster.scratch("given").join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn sha1_of(bytes: &[u8]) -> String {
    hex::encode(Sha1::digest(bytes))
}

/// One number of central's metrics; nothing was counted yet where there is none.
async fn metric(cluster: &Cluster, name: &str) -> f64 {
    let text = cluster.get("/metrics").send().await.unwrap().text().await.unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().unwrap())
}

/// Ends a test in which the pages complained of nothing.
async fn end(browser: Browser, cluster: Cluster) {
    assert_eq!(browser.complaints().await, Vec::<String>::new());
    browser.stop().await;
    cluster.stop().await;
}
