//! The program itself as a process of its own: a central and four nodes.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::http::Client;
use crate::interrupt;

/// `USER_HZ`, the unit of times in `/proc`: 100 on every Linux that closeby runs on.
const TICKS_PER_SECOND: u64 = 100;

/// A running demo; dropping it stops it.
pub struct Demo {
    process: Process,
    /// Host and port.
    pub host: String,
    _stdout: BufReader<ChildStdout>,
}

impl Demo {
    /// Starts it on an empty folder and waits until it is ready.
    pub fn start(data: &Path) -> Self {
        let log = File::create(data.with_extension("log")).expect("a log can be written");
        let mut child = Command::new(env!("CARGO_BIN_EXE_closeby"))
            .args(["demo", "--port", "0", "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("closeby starts");
        let stdout = child.stdout.take().expect("its output is a pipe");
        let process = Process::new(child);
        let mut stdout = BufReader::new(stdout);
        let mut line = String::new();
        let host = loop {
            line.clear();
            let read = stdout.read_line(&mut line).expect("its output can be read");
            assert!(read > 0, "closeby ended at its start: see {}", data.with_extension("log").display());
            if let Some(url) = line.trim().strip_prefix("open") {
                break url.trim().trim_start_matches("http://").trim_end_matches('/').to_owned();
            }
        };
        let demo = Self { process, host, _stdout: stdout };
        demo.wait_until_ready();
        demo
    }

    fn wait_until_ready(&self) {
        for _ in 0..300 {
            let mut client = Client::connect(&self.host);
            client.send(format!("GET /readyz HTTP/1.1\r\nHost: {}\r\n\r\n", self.host).as_bytes());
            let answer = client.answer();
            // All four, so that no part begins with two.
            if answer.status == 200 && String::from_utf8_lossy(&answer.body).contains("healthy nodes: 4") {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("closeby was not ready in 30 s");
    }

    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// A child that never outlives its owner.
pub struct Process(Child);

impl Process {
    pub fn new(child: Child) -> Self {
        let process = Self(child);
        interrupt::started(process.pid());
        process
    }

    fn pid(&self) -> Pid {
        i32::try_from(self.0.id()).ok().and_then(Pid::from_raw).expect("a child has a process id")
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap_or_default()
    }

    /// The most memory that was resident, mapped pages among it, in MiB.
    pub fn peak_mib(&self) -> f64 {
        let status = self.proc("status");
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel says VmHWM");
        let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("the kernel says VmHWM in kB");
        kib / 1024.0
    }

    /// Lets the peak begin again from what is resident now.
    pub fn forget_peak(&self) -> bool {
        std::fs::write(format!("/proc/{}/clear_refs", self.0.id()), "5").is_ok()
    }

    /// Processor time that it has used.
    pub fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        // Fields 14 and 15 of proc(5); the two before the name's end are gone.
        let ticks: u64 = [11, 12].iter().filter_map(|at| fields.get(*at)?.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * (1000 / TICKS_PER_SECOND))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill_process(self.pid(), Signal::INT);
        let deadline = Instant::now() + Duration::from_secs(20);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
        interrupt::ended(self.pid());
    }
}
