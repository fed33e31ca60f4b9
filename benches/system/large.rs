//! A large upload beside the slower of writing it twice and of hashing it twice; memory.

use std::path::Path;
use std::time::{Duration, Instant};

use closeby_hash::BlobHasher;

use crate::demo::Demo;
use crate::disk::write_and_sync;
use crate::http::{Client, expect_status, split, upload_head};
use crate::report::{Bound, Report, Row, Spread};

const MIB: usize = 1 << 20;
/// Bytes at the start of each MiB that no other run has.
const STAMP: usize = 24;
/// Resident memory has to stay under this, of all nodes and central together.
const MOST_MIB: f64 = 200.0;

/// The file that is sent: one random MiB again and again, each with a stamp of its own, so that
/// making it costs next to nothing.
struct Content {
    block: Vec<u8>,
    run: [u8; 16],
    mib: u64,
}

impl Content {
    fn new(mib: u64) -> Self {
        let mut block = vec![0; MIB];
        rand::fill(block.as_mut_slice());
        Self { block, run: rand::random(), mib }
    }

    fn stamp(&self, number: u64) -> [u8; STAMP] {
        let mut stamp = [0; STAMP];
        stamp[..16].copy_from_slice(&self.run);
        stamp[16..].copy_from_slice(&number.to_be_bytes());
        stamp
    }

    fn bytes(&self) -> u64 {
        self.mib * MIB as u64
    }

    fn rest(&self) -> &[u8] {
        &self.block[STAMP..]
    }
}

pub fn measure(folder: &Path, mib: u64, report: &mut Report) {
    let content = Content::new(mib);
    let demo = Demo::start(&folder.join("large"));
    // The plain sides before and after, so that a disk that changes its pace changes it for both.
    let mut hashes = vec![hash(&content, 2)];
    let mut writes = vec![write(folder, &content)];
    demo.process().forget_peak();
    let used = demo.process().cpu();
    let (url, upload, parts) = upload(&demo, &content);
    let used = demo.process().cpu() - used;
    let upload_peak = demo.process().peak_mib();
    writes.push(write(folder, &content));
    hashes.push(hash(&content, 2));
    let once = hash(&content, 1);
    let resets = demo.process().forget_peak();
    let (download, download_parts) = download(&url, content.bytes());
    let download_peak = demo.process().peak_mib();

    let mean = |times: &[Duration]| times.iter().sum::<Duration>() / 2;
    let rate = |time: Duration| format!("{:.0} MiB/s", mib as f64 / time.as_secs_f64());
    println!(
        "upload: {mib} MiB in {upload:.1?}, processor time {used:.1?}; plain writes {writes:.1?}, hashing {hashes:.1?}"
    );
    let (hash, write) = (mean(&hashes), mean(&writes));
    let ratio = |plain: Duration| plain.as_secs_f64() / upload.as_secs_f64();
    let mut row = |name: &str, plain: Duration, bound, spread| {
        report.add(Row {
            name: format!("upload of {mib} MiB, {name}"),
            ours: rate(upload),
            plain: rate(plain),
            ratio: ratio(plain),
            bound,
            spread,
        });
    };
    let bound = Bound::AtLeast { aim: 0.7, least: 0.5 };
    row("against the slower (each MiB)", hash.max(write), bound, Some(Spread::of(parts)));
    row("against two plain writes", write, Bound::None, None);
    row("against hashing it twice", hash, Bound::None, None);
    row("against hashing it once", once, Bound::None, None);
    report.add(Row {
        name: "download of it (each MiB)".to_owned(),
        ours: rate(download),
        plain: String::new(),
        ratio: upload.as_secs_f64() / download.as_secs_f64(),
        bound: Bound::None,
        spread: Some(Spread::of(download_parts)),
    });
    let mut memory = |name: &str, peak: f64| {
        report.add(Row {
            name: name.to_owned(),
            ours: format!("{peak:.0} MiB"),
            plain: format!("{MOST_MIB} MiB"),
            ratio: peak / MOST_MIB,
            bound: Bound::AtMost(1.0),
            spread: None,
        });
    };
    memory("peak memory during the upload", upload_peak);
    memory(if resets { "peak memory during the download" } else { "peak memory up to here" }, download_peak);
}

/// Gives the lasting link, the time, and the time that each MiB took to be taken.
fn upload(demo: &Demo, content: &Content) -> (String, Duration, Vec<Duration>) {
    let mut client = Client::connect(&demo.host);
    let mut parts = Vec::new();
    let started = Instant::now();
    client.send(&upload_head(&demo.host, "large.bin", 0, content.bytes()));
    let mut before = started;
    for number in 0..content.mib {
        client.send(&content.stamp(number));
        client.send(content.rest());
        let now = Instant::now();
        parts.push(now - before);
        before = now;
    }
    let answer = client.answer();
    let took = started.elapsed();
    expect_status(&answer, 201);
    (answer.text("url"), took, parts)
}

/// Follows the link; gives the time, and the time of each MiB.
fn download(url: &str, bytes: u64) -> (Duration, Vec<Duration>) {
    let started = Instant::now();
    let (host, path) = split(url);
    let mut client = Client::connect(host);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    let answer = client.answer();
    expect_status(&answer, 302);
    let (host, path) = split(answer.header("location").expect("a redirect says where to"));
    let mut client = Client::connect(host);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes());
    let (mut received, mut parts, mut before) = (0, Vec::new(), Instant::now());
    let (status, _) = client.read(|part| {
        received += part.len() as u64;
        if received >> 20 > parts.len() as u64 {
            let now = Instant::now();
            parts.push(now - before);
            before = now;
        }
    });
    assert_eq!((status, received), (200, bytes), "the whole file comes back");
    (started.elapsed(), parts)
}

/// Writes and syncs the same bytes into two files at once.
fn write(folder: &Path, content: &Content) -> Duration {
    let files = ["plain-1", "plain-2"].map(|name| folder.join(name));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for file in &files {
            scope.spawn(|| {
                let stamps: Vec<_> = (0..content.mib).map(|number| content.stamp(number)).collect();
                write_and_sync(file, stamps.iter().flat_map(|stamp| [&stamp[..], content.rest()]));
            });
        }
    });
    let took = started.elapsed();
    for file in files {
        std::fs::remove_file(file).expect("a file can be removed");
    }
    took
}

/// Hashes the same bytes `times` at once.
fn hash(content: &Content, times: usize) -> Duration {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..times {
            scope.spawn(|| {
                let (mut hasher, mut pieces) = (BlobHasher::new(), Vec::new());
                for number in 0..content.mib {
                    hasher.update(&content.stamp(number), &mut pieces);
                    hasher.update(content.rest(), &mut pieces);
                }
                std::hint::black_box(hasher.finish(&mut pieces)).expect("random bytes are no attack");
            });
        }
    });
    started.elapsed()
}
