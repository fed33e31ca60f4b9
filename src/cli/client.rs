//! The arguments of the commands that ask a server.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use url::Url;

use crate::domain::FileOrder;
use crate::role::client::Target;

/// Which server is asked, and with what.
#[derive(Debug, Args)]
pub struct ServerArg {
    /// The server to ask.
    #[arg(
        long,
        env = "CLOSEBY_SERVER",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        value_parser = server_url
    )]
    pub server: Url,
    /// A file that holds a token for this server; else CLOSEBY_TOKEN holds it, or there is none.
    ///
    /// It is sent to the server of --server alone.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

fn server_url(text: &str) -> Result<Url, String> {
    crate::config::base_url(text).map_err(|why| format!("it {why}"))
}

/// `closeby put`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    closeby put holiday.mp4\n  \
    closeby put *.pdf --server https://files.example\n  \
    closeby put --json report.pdf | jq -r .sha256\n\n\
    One link a line goes to stdout, in the order of the files; all else to stderr. What the server \
    has already is not sent again: its link is printed. Where some files fail the others are \
    stored, and the exit status is 1.\n\n\
    Files over 16 MiB go in parts. After a lost connection it tries again, at most 10 s apart (30 s where the server asks for it), \
    and goes on from what the server has. When it was stopped, or gave up, the same command goes \
    on, as long as the file has not changed and the server keeps what came (a day, usually). What it \
    needs for that is kept in $XDG_STATE_HOME/closeby, else in ~/.local/state/closeby.")]
pub struct PutArgs {
    /// The files to store.
    #[arg(required = true, value_name = "FILES")]
    pub files: Vec<PathBuf>,
    /// Print one JSON object a file instead of its link.
    #[arg(long)]
    pub json: bool,
    /// Give up on a large file after so long without progress.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub patience: u64,
    /// The server to ask.
    #[command(flatten)]
    pub server: ServerArg,
}

/// `closeby get`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    closeby get https://files.example/d/a9993e364706816aba3e25717850c26c9cd0d89d/abc.txt\n  \
    closeby get a9993e364706816aba3e25717850c26c9cd0d89d -o /tmp/abc.txt\n\n\
    An existing file is never overwritten. What was loaded when it was interrupted stays in \
    NAME.closeby-part, and the same command goes on from there.")]
pub struct GetArgs {
    /// A link, or a SHA-1.
    #[arg(value_name = "LINK|SHA1")]
    pub target: Target,
    /// Where to write it [default: the file's name, in this folder].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// The server to ask; a link says it itself.
    #[command(flatten)]
    pub server: ServerArg,
}

fn order() -> impl TypedValueParser<Value = FileOrder> {
    PossibleValuesParser::new(FileOrder::ALL.map(FileOrder::code)).try_map(|text| text.parse::<FileOrder>())
}

/// `closeby ls`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    closeby ls\n  \
    closeby ls holiday --limit 10\n  \
    closeby ls --sort largest\n  \
    closeby ls --json --limit 1000 | jq -r .url")]
pub struct LsArgs {
    /// Any part of the name, in upper or lower case.
    #[arg(value_name = "QUERY")]
    pub query: Option<String>,
    /// In which order.
    #[arg(long, value_name = "ORDER", default_value_t, value_parser = order())]
    pub sort: FileOrder,
    /// How many at most.
    #[arg(long, value_name = "COUNT", default_value_t = 50)]
    pub limit: u64,
    /// Print one JSON object a file.
    #[arg(long)]
    pub json: bool,
    /// The server to ask.
    #[command(flatten)]
    pub server: ServerArg,
}

/// `closeby info`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    closeby info a9993e364706816aba3e25717850c26c9cd0d89d\n  \
    closeby info --json https://files.example/d/a9993e364706816aba3e25717850c26c9cd0d89d")]
pub struct InfoArgs {
    /// A link, or a SHA-1.
    #[arg(value_name = "LINK|SHA1")]
    pub target: Target,
    /// Print the server's answer as it is.
    #[arg(long)]
    pub json: bool,
    /// The server to ask; a link says it itself.
    #[command(flatten)]
    pub server: ServerArg,
}

/// `closeby health`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    closeby health\n  \
    closeby health --server https://files.example || echo it cannot take files now\n  \
    closeby health --alive --timeout 3    for what restarts a process that hangs\n\n\
    Without --alive it is about taking files: the ledger can be written and two nodes answer. Use \
    --alive where an unhealthy process is restarted, as containers are: restarting central does not \
    bring a node back.")]
pub struct HealthArgs {
    /// Ask only whether the process answers; a node can be asked this, too.
    #[arg(long)]
    pub alive: bool,
    /// How long to wait for the answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub timeout: u64,
    /// The server to ask.
    #[command(flatten)]
    pub server: ServerArg,
}
