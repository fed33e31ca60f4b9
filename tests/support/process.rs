//! A central or a node in a process of its own, to be killed without a word.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{Access, JOIN_SECRET, SIGNING_ROOT, poll};

/// Where it writes its logs, and where it sends its traces.
type Watched<'a> = (Option<&'a Path>, Option<SocketAddr>);

/// Killed with the test, if not before.
pub struct ServerProcess(Child);

impl ServerProcess {
    pub fn central(address: SocketAddr, data: &Path, access: Access, watched: Watched<'_>) -> Self {
        Self::start("central", address, data, watched, |command| {
            command.args(["--place", "new-york"]).env("CLOSEBY_CLUSTER__SIGNING_ROOT", SIGNING_ROOT);
            command.env("CLOSEBY_TRUSTED_PROXIES", "127.0.0.0/8");
            let Access { upload, list, read, explain } = access;
            for (key, entry) in [("UPLOAD", upload), ("LIST", list), ("READ", read), ("EXPLAIN", explain)] {
                command.env(format!("CLOSEBY_ACCESS__{key}"), entry.code());
            }
        })
    }

    pub fn node(
        place: &str,
        address: SocketAddr,
        data: &Path,
        central: &str,
        (log, collector): Watched<'_>,
    ) -> Self {
        Self::start("node", address, data, (log, collector), |command| {
            command.args(["--place", place, "--failure-domain", place, "--central-url", central]);
            command.env("CLOSEBY_INTERNAL_ADDRESS", address.ip().to_string());
            command.env("CLOSEBY_RESERVE_BYTES", "0");
        })
    }

    /// With `log`, everything that it says goes into that file, as JSON.
    fn start(
        role: &str,
        address: SocketAddr,
        data: &Path,
        (log, collector): Watched<'_>,
        more: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_closeby"));
        command
            .args([role, "--listen", &address.to_string()])
            .args(["--public-url", &format!("http://{address}"), "--data"])
            .arg(data)
            .env("CLOSEBY_CLUSTER__JOIN_SECRET", JOIN_SECRET)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(log) = log {
            command.stderr(File::options().create(true).append(true).open(log).unwrap());
            command.env("CLOSEBY_LOG", "trace").env("CLOSEBY_LOG_FORMAT", "json");
        }
        if let Some(collector) = collector {
            command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{collector}"));
        }
        more(&mut command);
        Self(command.spawn().unwrap())
    }

    /// As when the power goes.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// As Ctrl-C does.
    pub async fn end(mut self) {
        kill_process(Pid::from_child(&self.0), Signal::INT).unwrap();
        let child = std::cell::RefCell::new(&mut self.0);
        poll("the process's end", || async { child.borrow_mut().try_wait().unwrap() }).await;
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A server in a process of its own, whose log is kept.
pub struct LoggedProcess {
    child: Child,
    log: PathBuf,
}

impl LoggedProcess {
    pub fn start(log: PathBuf, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_closeby"))
            .args(arguments)
            .env_clear()
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(File::options().create(true).append(true).open(&log).unwrap())
            .spawn()
            .unwrap();
        Self { child, log }
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    pub fn says(&self, words: &str) -> bool {
        fs::read_to_string(&self.log).unwrap().contains(words)
    }

    pub async fn will_say(&self, words: &str) {
        poll(words, || async { self.says(words).then_some(()) }).await;
    }

    pub async fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let child = std::cell::RefCell::new(&mut self.child);
        poll("the process's end", || async { child.borrow_mut().try_wait().unwrap() }).await;
    }
}

impl Drop for LoggedProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
