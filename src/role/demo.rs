//! The role `demo`: a central in New York and four nodes in one process, speaking real HTTP
//! to each other: exactly the code that separate machines run.

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::central::{Central, CentralError, Links};
use super::node::{Node, NodeError};
use crate::config::{
    CentralConfig, ConfigError, Limits, NodeConfig, NodeLimits, Stop, kept_join_secret, kept_signing_root,
    private_networks,
};
use crate::domain::{Access, Place};
use crate::geo::HeaderKind;

/// Where the demo's central stands.
const CENTRAL: &str = "new-york";
/// Where its nodes stand.
const NODES: [&str; 4] = ["toronto", "amsterdam", "bangalore", "singapore"];
/// A node absent for longer is out.
const NODE_OUT_AFTER: std::time::Duration = std::time::Duration::from_hours(1);
/// Bytes of the disk that the demo leaves free.
const RESERVE_BYTES: u64 = 256 << 20;

/// Somebody waits for it at a keyboard.
const STOP: Stop = Stop { unready: std::time::Duration::ZERO, drain: std::time::Duration::from_secs(3) };

/// What the demo can be told.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Where central listens; the nodes take the ports after it, if they are free.
    pub listen: IpAddr,
    /// Central's port; 0 for any.
    pub port: u16,
    /// Everything is kept here.
    pub data: PathBuf,
    /// A GeoIP database instead of the one inside the binary.
    pub geoip: Option<PathBuf>,
}

/// Why the demo cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The port is taken.
    #[error(
        "port {port} of {listen} cannot be used ({error}): stop what uses it, or give another with --port"
    )]
    Port {
        /// The address.
        listen: IpAddr,
        /// The port.
        port: u16,
        /// Why.
        error: std::io::Error,
    },
    /// The secrets cannot be kept.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A built-in value cannot be, which a test would have told.
    #[error("the demo's own settings are wrong: {0}")]
    Setting(String),
    /// Central failed.
    #[error("central: {0}")]
    Central(#[from] CentralError),
    /// A node failed.
    #[error("the node in {0}: {1}")]
    Node(&'static str, NodeError),
}

/// A demo whose ports are taken and that does not answer yet.
pub struct Demo {
    central: Central,
    nodes: Vec<(&'static str, Node)>,
    url: String,
}

impl Demo {
    /// Takes the ports.
    ///
    /// # Errors
    /// [`DemoError`], naming a busy port.
    pub fn bind(options: &DemoOptions) -> Result<Self, DemoError> {
        let DemoOptions { listen, port, data, geoip } = options;
        let listener = TcpListener::bind((*listen, *port)).map_err(|error| DemoError::Port {
            listen: *listen,
            port: *port,
            error,
        })?;
        let address = local(&listener)?;
        let central_data = data.join("central");
        let join_secret = kept_join_secret(&central_data)?;
        let url = origin(address)?;
        let central = CentralConfig {
            listen: address,
            public_url: url.clone(),
            data: central_data.clone(),
            join_secret: join_secret.clone(),
            signing_root: kept_signing_root(&central_data)?,
            // Its nodes are here, whatever this machine's address is.
            ca_file: None,
            networks: private_networks().into_iter().chain([IpNet::from(*listen)]).collect(),
            geoip: geoip.clone(),
            geoip_private: false,
            trusted_proxies: networks(&["127.0.0.0/8", "::1/128"])?,
            client_address_headers: vec![HeaderKind::XForwardedFor, HeaderKind::Forwarded],
            place: city(CENTRAL)?,
            // It is there to be tried out, on one's own machine.
            access: Access::OPEN,
            tls: None,
            stop: STOP,
            node_out_after: NODE_OUT_AFTER,
            limits: Limits::default(),
        };
        let mut nodes = Vec::with_capacity(NODES.len());
        for (index, name) in (1..).zip(NODES) {
            let listener = port
                .checked_add(index)
                .filter(|_| *port != 0)
                .and_then(|port| TcpListener::bind((*listen, port)).ok())
                .map_or_else(|| TcpListener::bind((*listen, 0)), Ok)
                .map_err(|error| DemoError::Port { listen: *listen, port: 0, error })?;
            let place = city(name)?;
            let config = NodeConfig {
                listen: local(&listener)?,
                public_url: origin(local(&listener)?)?,
                data: node_data(data, name),
                central_url: origin(reachable(address))?,
                ca_file: None,
                cluster_tls: true,
                join_secret: join_secret.clone(),
                failure_domain: place.name.clone(),
                place,
                tls: None,
                stop: STOP,
                internal_address: None,
                reserve_bytes: RESERVE_BYTES,
                limits: NodeLimits::default(),
            };
            nodes.push((name, Node::with_listener(config, listener)));
        }
        let url = url.as_str().trim_end_matches('/').to_owned();
        Ok(Self { central: Central::with_listener(central, listener, Links::Demo), nodes, url })
    }

    /// The address to open.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What is printed for the person who started it.
    #[must_use]
    pub fn greeting(&self) -> String {
        let url = &self.url;
        format!(
            "closeby demo: central in New York, storage servers in Toronto, Amsterdam, Bangalore and Singapore\n\
             \n  open   {url}\n  or     curl -T README.md {url}/\n\
             \nThe link that it answers goes to the nearest copy. What would Sydney get?\n  \
             curl -sI -H 'X-Forwarded-For: 203.5.76.1' LINK\n\
             \nStop it with Ctrl-C; it goes on with what it has at the next start.\n"
        )
    }

    /// Runs central and nodes until `stop` or until one of them fails.
    ///
    /// # Errors
    /// [`DemoError`].
    pub async fn run(self, stop: CancellationToken) -> Result<(), DemoError> {
        let mut roles = JoinSet::new();
        // Nodes go first, so that central still hears them say goodbye.
        let (nodes_stop, central_stop) = (CancellationToken::new(), CancellationToken::new());
        let central = self.central.run(central_stop.clone());
        let central = tokio::spawn(central);
        for (name, node) in self.nodes {
            let stop = nodes_stop.clone();
            roles.spawn(async move { node.run(stop).await.map_err(|error| DemoError::Node(name, error)) });
        }
        let mut central = std::pin::pin!(central);
        let mut result = Ok(());
        tokio::select! {
            () = stop.cancelled() => {}
            ended = &mut central => {
                nodes_stop.cancel();
                while roles.join_next().await.is_some() {}
                return Ok(ended.unwrap_or_else(|error| Err(CentralError::Server(std::io::Error::other(error))))?);
            }
            Some(ended) = roles.join_next() => result = ended.unwrap_or_else(|error| Err(DemoError::Setting(error.to_string()))),
        }
        nodes_stop.cancel();
        while let Some(ended) = roles.join_next().await {
            let ended = ended.unwrap_or_else(|error| Err(DemoError::Setting(error.to_string())));
            result = result.and(ended);
        }
        central_stop.cancel();
        let ended =
            central.await.unwrap_or_else(|error| Err(CentralError::Server(std::io::Error::other(error))));
        result.and(ended.map_err(DemoError::Central))
    }
}

fn node_data(data: &Path, name: &str) -> PathBuf {
    data.join("nodes").join(name)
}

fn local(listener: &TcpListener) -> Result<SocketAddr, DemoError> {
    listener.local_addr().map_err(|error| DemoError::Setting(error.to_string()))
}

/// An address to call when a server listens on all of them.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, address.port()))
        }
        _ => address,
    }
}

fn origin(address: SocketAddr) -> Result<url::Url, DemoError> {
    format!("http://{}", reachable(address)).parse().map_err(|error| DemoError::Setting(format!("{error}")))
}

fn city(name: &str) -> Result<Place, DemoError> {
    Place::city(name).ok_or_else(|| DemoError::Setting(format!("there is no city {name}")))
}

fn networks(texts: &[&str]) -> Result<Vec<IpNet>, DemoError> {
    texts.iter().map(|text| text.parse().map_err(|error| DemoError::Setting(format!("{error}")))).collect()
}
