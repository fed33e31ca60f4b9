//! The role `node`: a storage server.
//!
//! It takes its address, joins (or takes up who it is), opens its store, serves, and beats.
//! A node that central knows serves before central answers, as far as it can: tickets expire
//! by the ledger's time, which comes with the first heartbeat.

#[path = "node_workers.rs"]
mod workers;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, middleware};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::connections::{HEAD_WITHIN, KEEP_ALIVE, LINGER, raise_open_files};
use super::secrets::SecretReload;
use super::tls::{TlsError, TlsListener, authorities};
use crate::api;
use crate::api::common::{Observer, Secure, observe, secure};
use crate::blobs::{FolderStore, FolderStoreOptions, OpenError};
use crate::cluster::agent::{Agent, AgentError, AgentOptions};
use crate::cluster::clock::LedgerClock;
use crate::cluster::http::ClusterHttp;
use crate::cluster::identity::{Identity, IdentityError, IdentityFile};
use crate::cluster::keys::{SharedKeys, SharedSecret};
use crate::config::NodeConfig;
use crate::domain::Label;
use crate::metrics::{NodeMetrics, RouteClass};
use crate::service::node::{NodeParts, NodeService, ServiceLimits};
use crate::tasks::Workers;
use crate::tickets::JoinSecret;
use crate::wire::cluster::Activity;
use workers::{Heartbeats, Janitor, Settling, vitals};

/// Threads that serve HTTP. The disk's work is on others.
const SERVER_THREADS: usize = 2;
/// Workers and clean-ups have so long to end at a stop.
const STOP_WITHIN: Duration = Duration::from_secs(5);
/// A node that central did not take yet tries again after this.
const JOIN_EVERY: Duration = Duration::from_secs(1);

/// Why a node cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: std::io::Error,
    },
    /// TLS cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Who the node is cannot be read.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// It cannot belong to this cluster.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// The HTTP client cannot be made.
    #[error("cannot set up HTTP: {0}")]
    Http(#[from] reqwest::Error),
    /// A metric cannot be made.
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
    /// The server broke.
    #[error("the server broke: {0}")]
    Server(std::io::Error),
}

/// A node that listens and does not answer yet.
pub struct Node {
    config: NodeConfig,
    listener: TcpListener,
    tls: Option<TlsListener>,
}

impl Node {
    /// Takes the addresses; nothing is answered before [`Node::run`].
    ///
    /// # Errors
    /// [`NodeError::Listen`], [`NodeError::Tls`].
    pub fn bind(config: NodeConfig) -> Result<Self, NodeError> {
        let address = config.listen;
        let listener = TcpListener::bind(address).map_err(|error| NodeError::Listen { address, error })?;
        let tls = config.tls.as_ref().map(TlsListener::bind).transpose()?;
        Ok(Self { config, listener, tls })
    }

    /// With a plain listener that is bound already, and no other.
    #[must_use]
    pub const fn with_listener(config: NodeConfig, listener: TcpListener) -> Self {
        Self { config, listener, tls: None }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop`, then stops in order: beat no more, say goodbye, wait for those whom
    /// central had sent here before it heard that, accept no more,
    /// drain, end the workers, close the store.
    ///
    /// # Errors
    /// When it cannot start or its server breaks; not being heard by central is no error.
    pub async fn run(self, stop: CancellationToken) -> Result<(), NodeError> {
        let Self { config, listener, tls } = self;
        let port = listener.local_addr().map_err(NodeError::Server)?.port();
        raise_open_files();
        let (keys, clock) = (SharedKeys::new(), LedgerClock::new());
        let http = ClusterHttp::new(authorities(config.ca_file.as_deref())?)?;
        let file = IdentityFile::new(&config.data);
        let join_secret = SharedSecret::new(config.join_secret.value.clone());
        let mut options = agent_options(&config, port, join_secret.clone());
        options.tls_port = tls.as_ref().and_then(|tls| tls_port(&config, tls));
        let agent = Arc::new(Agent::new(options, http.plain().clone(), file, keys.clone(), clock.clone())?);
        let metrics = NodeMetrics::new()?;
        // Before it joins: a wrong secret can be put right while it tries.
        let mut watching = Workers::new();
        if let Some(reload) = SecretReload::new("join secret", &config.join_secret, &join_secret) {
            watching.start(reload);
        }
        let Some(identity) = known_or_joined(&agent, &stop).await? else { return Ok(()) };
        let store = FolderStore::open(FolderStoreOptions {
            dir: config.data.clone(),
            node: identity.node,
            cluster: identity.cluster,
            known_to_cluster: identity.has_store,
            reserve_bytes: config.reserve_bytes,
        })
        .await?;
        agent.store_is_open().await?;
        let service = Arc::new(NodeService::new(NodeParts {
            store: Arc::new(store),
            node: identity.node,
            version: version(),
            keys,
            clock,
            http,
            metrics: metrics.clone(),
            limits: ServiceLimits {
                sessions: config.limits.sessions,
                downloads: config.limits.downloads,
                decide_within: config.limits.decide_within,
                ..ServiceLimits::default()
            },
            runtime: Handle::current(),
        }));
        limit_stalls(&listener, config.limits.download_stalled_after);
        if let Some(tls) = &tls {
            limit_stalls(tls.socket(), config.limits.download_stalled_after);
        }
        let certificate = tls.as_ref().map(TlsListener::reload);
        let server =
            serve((listener, tls), Arc::clone(&service), rules(&config), metrics.clone(), config.stop.drain)?;
        let handle = server.handle();
        let mut served = tokio::spawn(server);
        // Central calls back during the first heartbeat, so it comes after the server.
        let mut beating = Workers::new();
        beating.start(Heartbeats::new(Arc::clone(&agent), Arc::clone(&service), metrics));
        let mut working = Workers::new();
        if let Some(certificate) = certificate {
            working.start(certificate);
        }
        working.start(Janitor::new(Arc::clone(&service)));
        working.start(Settling::new(Arc::clone(&agent), Arc::clone(&service), config.limits.ask_after));
        let ended = tokio::select! {
            ended = &mut served => Some(ended),
            () = stop.cancelled() => None,
        };
        beating.stop(STOP_WITHIN).await;
        goodbye(&agent, &service).await;
        let ended = drain(ended, served, handle, config.stop.unready).await;
        working.stop(STOP_WITHIN).await;
        watching.stop(STOP_WITHIN).await;
        if tokio::time::timeout(STOP_WITHIN, service.close()).await.is_err() {
            tracing::warn!("sessions of vanished senders were still being removed at the stop");
        }
        ended.map_err(std::io::Error::other).flatten().map_err(NodeError::Server)
    }
}

type Ended = Result<std::io::Result<()>, tokio::task::JoinError>;

/// Accepts no more, and waits for what goes on.
async fn drain(
    ended: Option<Ended>,
    served: JoinHandle<std::io::Result<()>>,
    handle: ServerHandle,
    unready: Duration,
) -> Ended {
    match ended {
        Some(ended) => ended,
        None => {
            tokio::time::sleep(unready).await;
            tokio::join!(served, handle.stop(true)).0
        }
    }
}

async fn goodbye(agent: &Agent, service: &NodeService) {
    let Ok(vitals) = vitals(service, Activity::default()).await else { return };
    if let Err(error) = agent.goodbye(vitals).await {
        tracing::debug!(%error, "central did not hear the goodbye; it notices by itself");
    }
}

/// Who this node is: what its folder says, else what central makes it. None when it is time
/// to stop.
async fn known_or_joined(agent: &Agent, stop: &CancellationToken) -> Result<Option<Identity>, NodeError> {
    if let Some(identity) = agent.identity() {
        return Ok(Some(identity));
    }
    let mut trouble = String::new();
    loop {
        match stop.run_until_cancelled(agent.join()).await {
            None => return Ok(None),
            Some(Ok(identity)) => return Ok(Some(identity)),
            Some(Err(error)) if !error.can_pass() => return Err(error.into()),
            Some(Err(error)) => {
                if trouble != error.to_string() {
                    tracing::warn!(%error, "this node has not joined yet; it goes on trying");
                    trouble = error.to_string();
                }
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(JOIN_EVERY)).await.is_none() {
            return Ok(None);
        }
    }
}

/// Where central and other nodes call by TLS: where it listens at the address that they call, with a
/// certificate that can be checked there.
fn tls_port(config: &NodeConfig, tls: &TlsListener) -> Option<u16> {
    if !config.cluster_tls {
        return None;
    }
    let listens = tls.socket().local_addr().ok()?;
    let is_at = |ip: IpAddr| config.internal_address == Some(ip);
    let is_there = listens.ip().is_unspecified() || is_at(listens.ip());
    let is_named = match config.public_url.host() {
        Some(url::Host::Ipv4(ip)) => is_at(ip.into()),
        Some(url::Host::Ipv6(ip)) => is_at(ip.into()),
        _ => true,
    };
    if is_there && is_named {
        return Some(listens.port());
    }
    tracing::warn!(
        "central and other nodes call this one without TLS: `tls.listen` has to be every address or \
         `internal_address`, and `public_url` a name or that address"
    );
    None
}

fn agent_options(config: &NodeConfig, port: u16, join_secret: SharedSecret<JoinSecret>) -> AgentOptions {
    AgentOptions {
        central_url: config.central_url.clone(),
        join_secret,
        place: config.place.clone(),
        failure_domain: config.failure_domain.clone(),
        public_url: config.public_url.clone(),
        internal_port: port,
        tls_port: None,
        internal_address: config.internal_address,
        version: version(),
    }
}

#[allow(clippy::expect_used)]
fn version() -> Label {
    Label::parse(env!("CARGO_PKG_VERSION")).expect("a version is a label")
}

/// A receiver that takes nothing for so long is cut. The server itself does not notice one:
/// it asks for no more bytes before some were taken.
fn limit_stalls(listener: &TcpListener, after: Duration) {
    // Connections have it from their listener.
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(after.as_millis()).unwrap_or(u32::MAX);
        if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(listener, millis) {
            tracing::warn!(%error, "stalled receivers cannot be cut");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (listener, after);
}

/// People ask for blobs here; the rest is the cluster's, which calls over the plain listener.
fn rules(config: &NodeConfig) -> Option<Arc<Secure>> {
    config.tls.as_ref().map(|tls| {
        Arc::new(Secure {
            public_url: config.public_url.clone(),
            redirect: tls.redirect,
            hsts: tls.hsts,
            is_for_people: |path| path.starts_with("/b/"),
        })
    })
}

fn serve(
    (listener, tls): (TcpListener, Option<TlsListener>),
    service: Arc<NodeService>,
    rules: Option<Arc<Secure>>,
    metrics: NodeMetrics,
    drain: Duration,
) -> Result<Server, NodeError> {
    let observer = Arc::new(Observer {
        role: "node",
        trusted: Vec::new(),
        metrics: metrics.http.clone(),
        class_of: RouteClass::of_node,
    });
    let mut server = HttpServer::new(move || {
        let (service, rules, observer) = (Arc::clone(&service), rules.clone(), Arc::clone(&observer));
        let metrics = metrics.clone();
        App::new()
            .wrap(middleware::from_fn(move |request, next| {
                api::node::count_disk_errors(metrics.clone(), request, next)
            }))
            .wrap(middleware::from_fn(move |request, next| secure(rules.clone(), request, next)))
            .wrap(middleware::from_fn(move |request, next| observe(Arc::clone(&observer), request, next)))
            .configure(move |config| api::node::configure(config, service))
    })
    .workers(SERVER_THREADS)
    .disable_signals()
    .shutdown_timeout(drain.as_secs())
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEAD_WITHIN)
    .client_disconnect_timeout(LINGER)
    .listen(listener)
    .map_err(NodeError::Server)?;
    if let Some(tls) = tls {
        let (listener, config) = tls.into_parts()?;
        server = server.listen_rustls_0_23(listener, config).map_err(NodeError::Server)?;
    }
    Ok(server.run())
}

#[cfg(test)]
#[path = "node_tests.rs"]
mod tests;
