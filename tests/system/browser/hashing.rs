//! Digests of large files, by the page's own workers.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use sha1::{Digest as _, Sha1};
use tokio::time::Instant;

use super::end;
use crate::support::browser::Browser;
use crate::support::{Cluster, DEADLINE, content};

/// Hashes what a file field of its own was given; says how far it is.
const HASH: &str = "const version = document.querySelector('link[rel=icon]').href.split('/').at(-2); \
     window.hashed = { done: 0 }; \
     import(`/static/${version}/hashing.js`) \
       .then(({ Hashing }) => new Hashing().digest(document.getElementById('given').files[0], \
         new AbortController().signal, (done) => { window.hashed.done = done; })) \
       .then((sha1) => { window.hashed.sha1 = sha1; }, (error) => { window.hashed.error = String(error); });";

/// The longest that a digest is waited for, where a part of it is enough. 4 GiB take a third of it where
/// the machine does nothing else.
const LONG: Duration = Duration::from_mins(1);

/// How far the page has come.
enum Hashed {
    All(String),
    /// So many bytes, when the time was over.
    Part(u64),
}

/// Ends after `within`, and where nothing moves for the tests' deadline.
async fn hash(browser: &Browser, path: &Path, within: Duration) -> Hashed {
    let field = "const field = document.createElement('input'); field.type = 'file'; field.id = 'given'; \
                 document.querySelector('h1').after(field);";
    browser.run(field, json!([])).await;
    browser.choose("#given", &[path]).await;
    browser.run(HASH, json!([])).await;
    let began = Instant::now();
    let (mut done, mut moved) = (0, began);
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    loop {
        let hashed = browser.run("return window.hashed", json!([])).await;
        assert_eq!(hashed["error"], Value::Null);
        if let Some(sha1) = hashed["sha1"].as_str() {
            return Hashed::All(sha1.to_owned());
        }
        let now = hashed["done"].as_u64().unwrap();
        if now > done {
            (done, moved) = (now, Instant::now());
        }
        if began.elapsed() > within || moved.elapsed() > DEADLINE {
            return Hashed::Part(done);
        }
        pace.tick().await;
    }
}

/// The digest of a file, however long it takes.
async fn digest(browser: &Browser, path: &Path) -> String {
    match hash(browser, path, Duration::MAX).await {
        Hashed::All(sha1) => sha1,
        Hashed::Part(done) => panic!("only {done} bytes of it are hashed"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_hashed_as_others_do() {
    let cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    browser.open(&cluster.base).await;
    let path = cluster.scratch("given").join("300 MiB.bin");
    // A length in bits that needs more than 31 of them; blocks that differ, cut where no buffer ends.
    let block = content(7401, 1_000_003);
    let mut file = std::fs::File::create(&path).unwrap();
    let mut hasher = Sha1::new();
    let mut left = 300 << 20;
    while left > 0 {
        let part = &block[..block.len().min(left)];
        std::io::Write::write_all(&mut file, part).unwrap();
        hasher.update(part);
        left -= part.len();
    }
    assert_eq!(digest(&browser, &path).await, hex::encode(hasher.finalize()));
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn four_gibibytes_are_hashed_in_constant_memory() {
    const SIZE: u64 = 4 << 30;
    const MOST_GROWTH_BYTES: u64 = 200_000_000;
    let cluster = Cluster::start().await;
    let browser = Browser::start(true).await;
    browser.open(&cluster.base).await;
    let path = cluster.scratch("given").join("sparse.bin");
    std::fs::File::create(&path).unwrap().set_len(SIZE).unwrap();
    let pages = browser.memory();
    let before: u64 = pages.values().map(|(now, _)| now).sum();
    assert!(before > 0, "the page's process is found");
    let began = Instant::now();
    match hash(&browser, &path, LONG).await {
        // `head -c 4294967296 /dev/zero | sha1sum`
        Hashed::All(sha1) => assert_eq!(sha1, "1bf99ee9f374e58e201e4dda4f474e570eb77229"),
        // On a busy machine as many as show that memory does not grow with them are enough.
        Hashed::Part(done) => assert!(done > 4 * MOST_GROWTH_BYTES, "{done} bytes of it are hashed"),
    }
    // Of those alone: the browser may begin others meanwhile.
    let after = browser.memory();
    let most: u64 = pages.keys().filter_map(|page| after.get(page)).map(|(_, most)| most).sum();
    println!("{:?}, from {before} to {most} bytes at most", began.elapsed());
    assert!(most.saturating_sub(before) < MOST_GROWTH_BYTES, "from {before} to {most} bytes");
    end(browser, cluster).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hashing_goes_on_while_garbage_is_collected() {
    let cluster = Cluster::start().await;
    let browser = Browser::collecting().await;
    browser.open(&cluster.base).await;
    let path = cluster.scratch("given").join("sparse.bin");
    std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
    // `head -c 1073741824 /dev/zero | sha1sum`
    assert_eq!(digest(&browser, &path).await, "2a492f15396a6768bcbca016993f4b4c8b0b5307");
    end(browser, cluster).await;
}
