//! Redirects a second, beside a bare handler that returns the same headers.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::bare::Bare;
use crate::demo::{Demo, Process};
use crate::http::{Client, expect_status, split, upload_head};
use crate::report::{Bound, Report, Row, Spread, median};

const CLIENTS: usize = 32;
const ROUNDS: u64 = 6;
const ROUND: Duration = Duration::from_secs(2);
/// Addresses of people that each connection asks for in turn, so that places are looked up.
const PEOPLE: usize = 64;

pub fn measure(folder: &Path, report: &mut Report) {
    let demo = Demo::start(&folder.join("redirects"));
    let mut client = Client::connect(&demo.host);
    let content = b"the file that everybody asks for";
    client.send(&upload_head(&demo.host, "asked-for.txt", 0, content.len() as u64));
    client.send(content);
    let stored = client.answer();
    expect_status(&stored, 201);
    let url = stored.text("url");
    let path = split(&url).1;
    client.send(&request(&demo.host, path, 0));
    let sample = client.answer();
    expect_status(&sample, 302);
    let bare = Bare::start(&sample);

    let mut ours = Side::new(&demo.host, path);
    let mut plain = Side::new(&bare.host, path);
    for round in 0..=ROUNDS {
        // The first warms up.
        let counts = round > 0;
        ours.round(demo.process(), counts);
        plain.round(&bare.process, counts);
    }
    println!(
        "redirects: processor time a request {:.1?}, of the bare handler {:.1?}",
        ours.cpu_each(),
        plain.cpu_each()
    );
    let (per_second, bare_per_second) = (median(ours.rates), median(plain.rates));
    report.add(Row {
        name: "redirects per second, 32 clients".to_owned(),
        ours: format!("{per_second:.0}/s"),
        plain: format!("{bare_per_second:.0}/s"),
        ratio: per_second / bare_per_second,
        bound: Bound::AtLeast { aim: 0.8, least: 0.5 },
        spread: Some(Spread::of(ours.took)),
    });
}

fn request(host: &str, path: &str, person: usize) -> Vec<u8> {
    let mixed = (person as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // 20 to 99 in front: public addresses, most of them in the database.
    let address = format!("{}.{}.{}.7", 20 + mixed % 80, (mixed >> 20) % 256, (mixed >> 40) % 256);
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: {address}\r\nAccept: */*\r\n\
         User-Agent: bench\r\n\r\n"
    )
    .into_bytes()
}

/// One of the two that are compared.
struct Side {
    host: String,
    requests: Vec<Vec<u8>>,
    rates: Vec<f64>,
    took: Vec<Duration>,
    cpu: Duration,
    answered: u32,
}

impl Side {
    fn new(host: &str, path: &str) -> Self {
        Self {
            host: host.to_owned(),
            requests: (0..PEOPLE).map(|person| request(host, path, person)).collect(),
            rates: Vec::new(),
            took: Vec::new(),
            cpu: Duration::ZERO,
            answered: 0,
        }
    }

    fn round(&mut self, server: &Process, counts: bool) {
        let used = server.cpu();
        let started = Instant::now();
        let this = &*self;
        let took: Vec<Duration> = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|number| scope.spawn(move || this.client(number, started + ROUND)))
                .collect();
            clients.into_iter().flat_map(|client| client.join().expect("a client ends")).collect()
        });
        if counts {
            self.rates.push(took.len() as f64 / started.elapsed().as_secs_f64());
            self.cpu += server.cpu() - used;
            self.answered += u32::try_from(took.len()).unwrap_or(u32::MAX);
            self.took.extend(took);
        }
    }

    fn client(&self, number: usize, until: Instant) -> Vec<Duration> {
        let mut client = Client::connect(&self.host);
        let mut took = Vec::with_capacity(8192);
        let mut asked = Instant::now();
        for request in self.requests.iter().cycle().skip(number) {
            client.send(request);
            assert_eq!(client.status(), 302, "only redirects are counted");
            let now = Instant::now();
            took.push(now - asked);
            asked = now;
            if now >= until {
                break;
            }
        }
        took
    }

    fn cpu_each(&self) -> Duration {
        self.cpu / self.answered.max(1)
    }
}
