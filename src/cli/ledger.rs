//! The arguments of what an operator does with the ledger.

use std::path::PathBuf;

use clap::Args;

/// `closeby backup`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    closeby backup --data /var/lib/closeby /backup/ledger-2026-11-21\n\n\
    Central may run meanwhile. The copy holds one moment's state and is of use only with the two secrets: \
    keep `signing-root` and `join-secret` beside it, where they are not given another way. The nodes' \
    blobs are not in it: each is on two nodes.")]
pub struct BackupArgs {
    /// The file to write; it must not exist.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Central's data folder.
    #[arg(long, env = "CLOSEBY_DATA", value_name = "FOLDER")]
    pub data: PathBuf,
}

/// `closeby restore`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    closeby restore --data /var/lib/closeby /backup/ledger-2026-11-21\n\n\
    Stop every central of this ledger first. A ledger that is there is never replaced: move it away, with the \
    files `-wal` and `-shm` beside it. \
    Files that were stored after the copy was taken are not in it; their blobs stay on the nodes.")]
pub struct RestoreArgs {
    /// The copy.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// The data folder of the central that will use it.
    #[arg(long, env = "CLOSEBY_DATA", value_name = "FOLDER")]
    pub data: PathBuf,
}
