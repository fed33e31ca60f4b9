//! The only reader of configuration files and of the environment.
//!
//! A value comes from the flags, else from `CLOSEBY_…` in the environment, else from the TOML
//! file, else it is the default. What is unknown or cannot be right stops the start and is
//! named. Only `role` reads what is made here.

mod error;
mod limits;
mod raw;
mod resolve;
mod secret;
mod show;
mod source;
#[cfg(test)]
mod tests;
mod traces;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use crate::domain::{Access, Label, Place};
use crate::geo::HeaderKind;
use crate::tickets::{JoinSecret, SigningRoot};

use raw::Layer as _;

pub use error::ConfigError;
pub use limits::{Limits, NodeLimits};
pub use resolve::{DEFAULT_NODE_OUT_AFTER, base_url, private_networks};
pub use secret::{
    LEDGER_FILE, Secret, SecretFileError, kept_join_secret, kept_signing_root, read_secret, retire_secret,
    rotate_secret,
};
pub use source::{client_token, environment, state_folder};
pub use traces::{TraceSettings, traces};

/// What a central needs to know to start.
#[derive(Debug, Clone)]
pub struct CentralConfig {
    /// The address it listens on.
    pub listen: SocketAddr,
    /// What links begin with: http(s), host and port only.
    pub public_url: Url,
    /// The folder of its ledger and of the secrets it made.
    pub data: PathBuf,
    /// Proves the right to become a node.
    pub join_secret: Secret<JoinSecret>,
    /// Every node's key is derived from it.
    pub signing_root: Secret<SigningRoot>,
    /// A node's internal address must lie in one of these.
    pub networks: Vec<IpNet>,
    /// Authorities that are believed beside the usual ones, in calls inside the cluster; PEM.
    pub ca_file: Option<PathBuf>,
    /// A GeoIP database to use instead of the one inside the binary.
    pub geoip: Option<PathBuf>,
    /// Its word about private addresses counts, too.
    pub geoip_private: bool,
    /// Whose word about a client's address is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The headers in which they say it; the first kind present counts.
    pub client_address_headers: Vec<HeaderKind>,
    /// Where it stands: what people of an unknown place are counted from.
    pub place: Place,
    /// Who may do what.
    pub access: Access,
    /// TLS for people, beside the plain listener.
    pub tls: Option<Tls>,
    /// How it stops.
    pub stop: Stop,
    /// A node absent for longer is out: its replicas no longer count.
    pub node_out_after: Duration,
    /// What it takes at most.
    pub limits: Limits,
}

/// What a node needs to know to start.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The address it listens on.
    pub listen: SocketAddr,
    /// Where people download from it: http(s), host and port only.
    pub public_url: Url,
    /// The folder of its blobs.
    pub data: PathBuf,
    /// Where central is: http(s), host and port only.
    pub central_url: Url,
    /// Authorities that are believed beside the usual ones, in calls inside the cluster; PEM.
    pub ca_file: Option<PathBuf>,
    /// Whether the cluster's own calls come by TLS, where the node has it.
    pub cluster_tls: bool,
    /// Proves the right to become a node; central's.
    pub join_secret: Secret<JoinSecret>,
    /// Where it stands.
    pub place: Place,
    /// What fails together with it.
    pub failure_domain: Label,
    /// TLS for people, beside the plain listener.
    pub tls: Option<Tls>,
    /// How it stops.
    pub stop: Stop,
    /// The address central reaches it at; where none is given, the one its heartbeats come from.
    pub internal_address: Option<IpAddr>,
    /// Bytes of the disk that uploads leave free.
    pub reserve_bytes: u64,
    /// What it takes at most.
    pub limits: NodeLimits,
}

/// How a server stops, so that nobody loses what it had begun for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    /// It says that it is not ready, and still takes requests, for so long: those who were sent to it
    /// a moment ago arrive, and a proxy in front learns to send nobody.
    pub unready: Duration,
    /// What it took by then has so long to end.
    pub drain: Duration,
}

/// A listener that speaks TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The address it listens on.
    pub listen: SocketAddr,
    /// The certificate and those that lead to a known authority, in PEM. Read again when it changes.
    pub certificate_file: PathBuf,
    /// Its private key, in PEM.
    pub key_file: PathBuf,
    /// Whether people who come to the plain listener are sent here.
    pub redirect: bool,
    /// For so long browsers are told to come by TLS alone (RFC 6797).
    pub hsts: Option<Duration>,
}

/// What a central's flags say; they go over every other source. Secrets are no flags, as
/// everybody on a machine can list them.
#[derive(Debug, Clone, Default)]
pub struct CentralFlags {
    /// `listen`.
    pub listen: Option<String>,
    /// `public_url`.
    pub public_url: Option<String>,
    /// `data`.
    pub data: Option<PathBuf>,
    /// `geoip`.
    pub geoip: Option<PathBuf>,
    /// `place`: the name of a built-in city.
    pub place: Option<String>,
    /// `trusted_proxies`; empty says nothing.
    pub trusted_proxies: Vec<String>,
    /// `cluster.join_secret_file`.
    pub join_secret_file: Option<PathBuf>,
    /// `cluster.signing_root_file`.
    pub signing_root_file: Option<PathBuf>,
}

/// What a node's flags say; they go over every other source.
#[derive(Debug, Clone, Default)]
pub struct NodeFlags {
    /// `listen`.
    pub listen: Option<String>,
    /// `public_url`.
    pub public_url: Option<String>,
    /// `data`.
    pub data: Option<PathBuf>,
    /// `central_url`.
    pub central_url: Option<String>,
    /// `place`: the name of a built-in city.
    pub place: Option<String>,
    /// `failure_domain`.
    pub failure_domain: Option<String>,
    /// `cluster.join_secret_file`.
    pub join_secret_file: Option<PathBuf>,
}

impl CentralConfig {
    /// From a file, the environment and flags, each over the one before. Secrets that are not
    /// given are made as files of mode 0600 in the data folder.
    ///
    /// # Errors
    /// When a source cannot be read, a key is unknown, or a value is missing or cannot be.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: CentralFlags,
    ) -> Result<Self, ConfigError> {
        let below = source::read::<raw::RawCentral>(file, variables)?;
        resolve::central(raw::RawCentral::from(flags).over(below), secret::Missing::IsMade)
    }

    /// The same, to be looked at only: nothing is made. For a secret that a start would make
    /// stands one that is never used.
    ///
    /// # Errors
    /// As [`CentralConfig::load`].
    pub fn examine(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: CentralFlags,
    ) -> Result<Self, ConfigError> {
        let below = source::read::<raw::RawCentral>(file, variables)?;
        resolve::central(raw::RawCentral::from(flags).over(below), secret::Missing::StandsIn)
    }
}

impl NodeConfig {
    /// From a file, the environment and flags, each over the one before.
    ///
    /// # Errors
    /// When a source cannot be read, a key is unknown, or a value is missing or cannot be.
    pub fn load(
        file: Option<&Path>,
        variables: impl IntoIterator<Item = (String, String)>,
        flags: NodeFlags,
    ) -> Result<Self, ConfigError> {
        let below = source::read::<raw::RawNode>(file, variables)?;
        resolve::node(raw::RawNode::from(flags).over(below))
    }
}
