//! The arguments: what may be said on the command line, and nothing of what is done.

mod client;
mod ledger;
mod secret;
mod server;
#[cfg(test)]
mod tests;
mod token;

use clap::{Parser, Subcommand, ValueEnum};

pub use client::{GetArgs, HealthArgs, InfoArgs, LsArgs, PutArgs, ServerArg};
pub use ledger::{BackupArgs, RestoreArgs};
pub use secret::{SecretAction, SecretArgs};
pub use server::{CentralArgs, ConfigAction, ConfigArgs, ConfigRole, DemoArgs, NodeArgs};
pub use token::{LedgerArgs, TokenAction, TokenArgs};

/// What closeby was told.
#[derive(Debug, Parser)]
#[command(
    name = "closeby",
    version,
    about = "A file store that keeps each content once, on two servers, and serves it from the nearest",
    after_help = "Examples:\n  \
        closeby demo                  a whole cluster on this machine, at http://127.0.0.1:8080\n  \
        closeby put holiday.mp4       store a file and print its link\n\n\
        Exit status: 0 done (a duplicate is), 1 it failed, 2 it was called in a wrong \
        way, 130 put was interrupted.",
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Cli {
    /// What to log: a level (error, warn, info, debug, trace), or one for each part.
    ///
    /// Servers log `info` when nothing is said, the other commands `warn`. Parts are named as
    /// in `info,closeby::cluster=debug`.
    #[arg(long, global = true, env = "CLOSEBY_LOG", value_name = "LEVEL", help_heading = "Logs")]
    pub log: Option<String>,

    /// How to log; it goes to stderr.
    #[arg(
        long,
        global = true,
        env = "CLOSEBY_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Logs"
    )]
    pub log_format: LogFormat,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a central and four storage servers on this machine, to try it out.
    Demo(DemoArgs),
    /// Run a central: the pages, the API, the ledger and every decision.
    Central(CentralArgs),
    /// Run a storage server.
    Node(NodeArgs),
    /// Copy the ledger into a file, while central works.
    Backup(BackupArgs),
    /// Put a copy of the ledger where a central will find it.
    Restore(RestoreArgs),
    /// Make, list and revoke the tokens that people and programs show to be let in.
    Token(TokenArgs),
    /// Change the signing root or the join secret, while the cluster works.
    Secret(SecretArgs),
    /// Store files and print their links.
    Put(PutArgs),
    /// Download a file from the nearest copy.
    Get(GetArgs),
    /// List files.
    Ls(LsArgs),
    /// Show what is known of a content: digests, names and copies.
    Info(InfoArgs),
    /// Say whether the server can take files now.
    Health(HealthArgs),
    /// Check or show a configuration, without starting anything.
    Config(ConfigArgs),
}

impl Command {
    /// Whether it runs until it is stopped.
    #[must_use]
    pub const fn is_server(&self) -> bool {
        matches!(self, Self::Demo(_) | Self::Central(_) | Self::Node(_))
    }
}
