//! Many small uploads at once, beside plain files that are written and synced.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::demo::Demo;
use crate::disk::write_and_sync;
use crate::http::{Client, expect_status, upload_head};
use crate::report::{Bound, Report, Row, Spread, median};

const CLIENTS: usize = 32;
const ROUNDS: usize = 4;
const BYTES: usize = 16 << 10;

pub fn measure(folder: &Path, files: u64, report: &mut Report) {
    let demo = Demo::start(&folder.join("small"));
    let each = usize::try_from(files).unwrap_or(usize::MAX).div_ceil(CLIENTS * ROUNDS);
    let total = (each * CLIENTS) as f64;
    let plain_folder = folder.join("plain");
    let (mut took, mut plain_took) = (Vec::new(), Vec::new());
    let (mut ours, mut once, mut twice) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let (time, each_took) = clients(|client| upload(&demo.host, client, round, each));
        ours.push(total / time.as_secs_f64());
        took.extend(each_took);
        for (copies, rates) in [(1, &mut once), (2, &mut twice)] {
            std::fs::create_dir_all(&plain_folder).expect("a folder can be made");
            let (time, each_took) = clients(|client| write(&plain_folder, client, each, copies));
            rates.push(total / time.as_secs_f64());
            if copies == 1 {
                plain_took.extend(each_took);
            }
            std::fs::remove_dir_all(&plain_folder).expect("a folder can be removed");
        }
    }
    let spread = Spread::of(took);
    let plain = Spread::of(plain_took);
    println!("small files: a plain write and sync p50 {:.1?}, p99 {:.1?}", plain.p50, plain.p99);
    let ours = median(ours);
    for (name, rate) in [("one plain file each", median(once)), ("two plain files each", median(twice))] {
        report.add(Row {
            name: format!("16 KiB uploads, 32 clients, {name}"),
            ours: format!("{ours:.0}/s"),
            plain: format!("{rate:.0}/s"),
            ratio: ours / rate,
            bound: Bound::None,
            spread: Some(spread),
        });
    }
}

/// Runs all clients at once; gives the time of all and of each step.
fn clients(run: impl Fn(usize) -> Vec<Duration> + Sync) -> (Duration, Vec<Duration>) {
    let started = Instant::now();
    let took = std::thread::scope(|scope| {
        let run = &run;
        let clients: Vec<_> = (0..CLIENTS).map(|client| scope.spawn(move || run(client))).collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client ends")).collect()
    });
    (started.elapsed(), took)
}

fn upload(host: &str, client: usize, round: usize, count: usize) -> Vec<Duration> {
    let mut connection = Client::connect(host);
    let mut content = vec![0; BYTES];
    let one = |number| {
        let head = upload_head(host, &format!("small-{client}-{round}-{number}.bin"), client, BYTES as u64);
        rand::fill(content.as_mut_slice());
        let request = [&head[..], &content].concat();
        let started = Instant::now();
        connection.send(&request);
        let answer = connection.answer();
        let took = started.elapsed();
        expect_status(&answer, 201);
        took
    };
    (0..count).map(one).collect()
}

fn write(folder: &Path, client: usize, count: usize, copies: usize) -> Vec<Duration> {
    let mut content = vec![0; BYTES];
    let one = |number| {
        rand::fill(content.as_mut_slice());
        let started = Instant::now();
        for copy in 0..copies {
            let path = folder.join(format!("{client}-{number}-{copy}"));
            write_and_sync(&path, std::iter::once(&content[..]));
        }
        started.elapsed()
    };
    (0..count).map(one).collect()
}
