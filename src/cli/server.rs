//! The arguments of what runs until it is stopped.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::config::{CentralFlags, NodeFlags};

/// `closeby demo`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    closeby demo\n  \
    closeby demo --port 9000 --data /tmp/try-closeby\n  \
    closeby demo --listen 0.0.0.0        also for other machines, such as a phone")]
pub struct DemoArgs {
    /// The port of central; the nodes take the next four if they are free.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// The address to listen on.
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub listen: IpAddr,
    /// The folder to keep everything in.
    #[arg(long, value_name = "FOLDER", default_value = "./closeby-data")]
    pub data: PathBuf,
    /// A GeoIP database (MMDB, GeoIP2 or DB-IP layout) instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    pub geoip: Option<PathBuf>,
}

/// `closeby central`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    closeby central --config /etc/closeby/central.toml\n  \
    closeby central --public-url https://files.example --data /var/lib/closeby --place amsterdam\n\n\
    Every key of the file can be set in the environment: limits.file_bytes is \
    CLOSEBY_LIMITS__FILE_BYTES. Flags go over the environment, and that over the file.")]
pub struct CentralArgs {
    /// A configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The address and port to listen on [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// What links begin with, such as `https://files.example`.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// The folder to keep the ledger in.
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// A GeoIP database (MMDB, GeoIP2 or DB-IP layout) instead of the built-in one.
    #[arg(long, value_name = "FILE")]
    pub geoip: Option<PathBuf>,
    /// Where this server stands: a built-in city; others are set in the file.
    #[arg(long, value_name = "CITY")]
    pub place: Option<String>,
    /// Networks of the proxies to believe about a client's address.
    #[arg(long, value_name = "NETWORKS", value_delimiter = ',')]
    pub trusted_proxies: Vec<String>,
    /// A file that holds the join secret.
    #[arg(long, value_name = "FILE")]
    pub join_secret_file: Option<PathBuf>,
    /// A file that holds the signing root.
    #[arg(long, value_name = "FILE")]
    pub signing_root_file: Option<PathBuf>,
}

impl From<CentralArgs> for CentralFlags {
    fn from(args: CentralArgs) -> Self {
        Self {
            listen: args.listen,
            public_url: args.public_url,
            data: args.data,
            geoip: args.geoip,
            place: args.place,
            trusted_proxies: args.trusted_proxies,
            join_secret_file: args.join_secret_file,
            signing_root_file: args.signing_root_file,
        }
    }
}

/// `closeby node`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    closeby node --config /etc/closeby/node.toml\n  \
    closeby node --central-url https://files.example --public-url https://ams.files.example \\\n    \
    --data /srv/closeby --place amsterdam --join-secret-file /etc/closeby/join-secret\n\n\
    Every key of the file can be set in the environment: limits.sessions is \
    CLOSEBY_LIMITS__SESSIONS. Flags go over the environment, and that over the file.")]
pub struct NodeArgs {
    /// A configuration file (TOML).
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The address and port to listen on [default: 127.0.0.1:8081].
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where people download from this server, such as `https://ams.files.example`.
    #[arg(long, value_name = "URL")]
    pub public_url: Option<String>,
    /// The folder to keep blobs in.
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Where central is.
    #[arg(long, value_name = "URL")]
    pub central_url: Option<String>,
    /// Where this server stands: a built-in city; others are set in the file.
    #[arg(long, value_name = "CITY")]
    pub place: Option<String>,
    /// What fails together with this server [default: its place].
    #[arg(long, value_name = "NAME")]
    pub failure_domain: Option<String>,
    /// A file that holds central's join secret.
    #[arg(long, value_name = "FILE")]
    pub join_secret_file: Option<PathBuf>,
}

impl From<NodeArgs> for NodeFlags {
    fn from(args: NodeArgs) -> Self {
        Self {
            listen: args.listen,
            public_url: args.public_url,
            data: args.data,
            central_url: args.central_url,
            place: args.place,
            failure_domain: args.failure_domain,
            join_secret_file: args.join_secret_file,
        }
    }
}

/// `closeby config`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    closeby config check central --config /etc/closeby/central.toml\n  \
    closeby config show node --config /etc/closeby/node.toml --place amsterdam\n\n\
    It reads what `closeby central` and `closeby node` would read, in the same order, and takes the \
    same flags. It makes nothing, starts nothing, and shows no secret.")]
pub struct ConfigArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What is done with a configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigAction {
    /// Say what is wrong with it; the exit status is 2 when something is.
    Check {
        /// Whose it is.
        #[command(subcommand)]
        role: ConfigRole,
    },
    /// Print every key with the value that counts, as TOML; secrets are hidden.
    Show {
        /// Whose it is.
        #[command(subcommand)]
        role: ConfigRole,
    },
}

/// Whose configuration it is.
#[derive(Debug, Subcommand)]
pub enum ConfigRole {
    /// A central's.
    Central(CentralArgs),
    /// A storage server's.
    Node(NodeArgs),
}
