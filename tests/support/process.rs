//! A central in a process of its own, to be killed without a word.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::{JOIN_SECRET, SIGNING_ROOT, poll};

/// Killed with the test, if not before.
pub struct CentralProcess(Child);

impl CentralProcess {
    pub fn start(address: SocketAddr, data: &Path) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_closeby"))
            .args(["central", "--place", "new-york", "--listen", &address.to_string()])
            .args(["--public-url", &format!("http://{address}"), "--data"])
            .arg(data)
            .env("CLOSEBY_CLUSTER__JOIN_SECRET", JOIN_SECRET)
            .env("CLOSEBY_CLUSTER__SIGNING_ROOT", SIGNING_ROOT)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
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
        poll("central's end", || async { child.borrow_mut().try_wait().unwrap() }).await;
    }
}

impl Drop for CentralProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
