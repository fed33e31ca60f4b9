//! What an operator does with a central's ledger from beside it: a copy, and its return.

use std::fs::DirBuilder;
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use crate::config::LEDGER_FILE;
use crate::ledger::{self, ClusterSettings, LedgerError};

/// Why it did not work.
#[derive(Debug, thiserror::Error)]
pub enum UpkeepError {
    /// The ledger or its copy cannot be used.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The data folder cannot be made.
    #[error("cannot use the data folder {path}: {error}")]
    Data {
        /// The folder.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It broke.
    #[error("it broke: {0}")]
    Broken(#[from] tokio::task::JoinError),
}

/// Copies the ledger of this data folder into a file, while central works.
///
/// # Errors
/// [`UpkeepError`]; nothing is left behind then.
pub async fn back_up(data: &Path, file: &Path) -> Result<(), UpkeepError> {
    let (ledger, to) = (data.join(LEDGER_FILE), file.to_owned());
    let cluster = tokio::task::spawn_blocking(move || ledger::back_up(&ledger, &to)).await??;
    say(&format!("{} holds the ledger of {}", file.display(), described(cluster)));
    Ok(())
}

/// Puts a copy of a ledger into this data folder.
///
/// # Errors
/// [`UpkeepError`]; nothing is left behind then.
pub async fn restore(file: &Path, data: &Path) -> Result<(), UpkeepError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data)
        .map_err(|error| UpkeepError::Data { path: data.to_owned(), error })?;
    let (copy, ledger) = (file.to_owned(), data.join(LEDGER_FILE));
    let cluster = tokio::task::spawn_blocking(move || ledger::restore(&copy, &ledger)).await??;
    say(&format!("{} holds the ledger of {}", data.display(), described(cluster)));
    Ok(())
}

fn described(cluster: ClusterSettings) -> String {
    format!("cluster {} at epoch {}", cluster.cluster_id, cluster.epoch)
}

fn say(text: &str) {
    // Not a macro that panics: nobody may be listening any more.
    let _ = writeln!(io::stdout(), "{text}");
}
