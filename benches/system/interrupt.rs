//! What is done when somebody stops the run: nothing that was started stays.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};

/// Children that run.
static CHILDREN: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// A child was started.
pub fn started(child: Pid) {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).push(child);
}

/// A child has ended, so its number may become another's.
pub fn ended(child: Pid) {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| *other != child);
}

/// From now on a signal to stop also stops the children and removes the folder.
pub fn watch(folder: PathBuf) {
    std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("tokio starts");
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be waited for");
            let mut terminate = signal(SignalKind::terminate()).expect("signals can be waited for");
            tokio::select! { _ = interrupt.recv() => {} _ = terminate.recv() => {} }
        });
        // Held to the end, so that no other child is started.
        let children = CHILDREN.lock().unwrap_or_else(PoisonError::into_inner);
        for child in children.iter() {
            let _ = kill_process(*child, Signal::KILL);
        }
        let _ = std::fs::remove_dir_all(&folder);
        std::process::exit(130);
    });
}
