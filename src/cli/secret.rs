//! The arguments of what an operator does with a secret's file.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `closeby secret`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    closeby secret rotate /var/lib/closeby/signing-root\n  \
    closeby secret retire /var/lib/closeby/signing-root\n\n\
    Servers look at the file every 5 s, and need no restart. Between the two commands both secrets are \
    believed: docs/operations.md says what to wait for.")]
pub struct SecretArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub action: SecretAction,
}

/// What is done with a secret's file.
#[derive(Debug, Subcommand)]
pub enum SecretAction {
    /// Put a fresh secret into the file, and the one that was there below it as `former: …`.
    Rotate {
        /// The file, such as `signing-root` or `join-secret` in central's data folder.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Take the former secret out of the file.
    Retire {
        /// The file.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
}
