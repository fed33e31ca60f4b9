//! The role `central`: pages, API, ledger, every decision.

#[path = "central_workers.rs"]
mod workers;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::{Server, ServerHandle};
use actix_web::{App, HttpServer, middleware, web};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::api::common::{
    Observer, PublicAddress, Secure, Site, SiteLimits, guard, is_for_people, observe, secure,
};
use crate::cluster::http::ClusterHttp;
use crate::cluster::keys::SharedSecret;
use crate::cluster::membership::Membership;
use crate::cluster::node_client::NodeClient;
use crate::config::{CentralConfig, LEDGER_FILE, Stop, Tls};
use crate::geo::{ClientAddresses, GeoSource};
use crate::ledger::{Call, Ledger, SqliteLedger, Timer};
use crate::metrics::{Metrics, RouteClass};
use crate::service::central::access::AccessService;
use crate::service::central::catalog::Catalog;
use crate::service::central::complete::Completion;
use crate::service::central::control::{Control, ControlRules};
use crate::service::central::finisher::Finisher;
use crate::service::central::link::{LinkLife, LinkService};
use crate::service::central::resumable::{ResumableService, ResumeLimits};
use crate::service::central::upload::{UploadLimits, UploadService};
use crate::tasks::Workers;
use crate::{api, web as pages};

use super::connections::{HEAD_WITHIN, KEEP_ALIVE, LINGER, raise_open_files};
use super::secrets::SecretReload;
use super::tls::{TlsError, TlsListener, authorities};
use workers::{Absences, Expiring, Finishing, GeoReload};

/// A short call to a node may take so long.
const CALL_PATIENCE: Duration = Duration::from_secs(10);
/// An upload that is being finished is waited for so long before the answer is `503`.
const FINISH_WITHIN: Duration = Duration::from_secs(10);
/// Syncing, or copying to a replacement, what was received may take so long.
const PREPARE_WITHIN: Duration = Duration::from_mins(30);
/// A worker's step has so long to end at a stop.
const WORKERS_WITHIN: Duration = Duration::from_secs(5);

/// Why a central cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum CentralError {
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
    /// The data folder cannot be used.
    #[error("cannot use the data folder {path}: {error}")]
    Data {
        /// The folder.
        path: std::path::PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// The ledger cannot be opened.
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerError),
    /// The GeoIP database cannot be used.
    #[error("cannot use the GeoIP database: {0}")]
    Geo(#[from] crate::geo::GeoError),
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

/// How links are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// From `public_url` alone.
    Fixed,
    /// From the host that the person asked for, where it is this machine: the demo's.
    Demo,
}

/// A central that listens and does not answer yet.
pub struct Central {
    config: CentralConfig,
    listener: TcpListener,
    tls: Option<TlsListener>,
    links: Links,
}

impl Central {
    /// Takes the addresses; nothing is answered before [`Central::run`].
    ///
    /// # Errors
    /// [`CentralError::Listen`], [`CentralError::Tls`].
    pub fn bind(config: CentralConfig, links: Links) -> Result<Self, CentralError> {
        let address = config.listen;
        let listener = TcpListener::bind(address).map_err(|error| CentralError::Listen { address, error })?;
        let tls = config.tls.as_ref().map(TlsListener::bind).transpose()?;
        Ok(Self { config, listener, tls, links })
    }

    /// With a plain listener that is bound already, and no other.
    #[must_use]
    pub const fn with_listener(config: CentralConfig, listener: TcpListener, links: Links) -> Self {
        Self { config, listener, tls: None, links }
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until `stop`, then stops in order: be unready, accept no more, drain, end the workers,
    /// close the ledger.
    ///
    /// # Errors
    /// [`CentralError`].
    pub async fn run(self, stop: CancellationToken) -> Result<(), CentralError> {
        let Self { config, listener, tls, links } = self;
        raise_open_files();
        std::fs::create_dir_all(&config.data)
            .map_err(|error| CentralError::Data { path: config.data.clone(), error })?;
        let metrics = Metrics::new()?;
        let timed = metrics.clone();
        let timer: Timer = Arc::new(move |call, took| timed.ledger_called(call == Call::Write, took));
        let ledger = SqliteLedger::open(&config.data.join(LEDGER_FILE))?.timed(timer);
        let ledger: Arc<dyn Ledger> = Arc::new(ledger);
        let geo = Arc::new(match &config.geoip {
            Some(path) => GeoSource::file(path, config.geoip_private)?,
            None => GeoSource::embedded(),
        });
        let membership = Arc::new(Membership::default());
        let http = ClusterHttp::new(authorities(config.ca_file.as_deref())?)?;
        let nodes = NodeClient::new(http, CALL_PATIENCE);
        let completion = Completion::new(
            Arc::clone(&ledger),
            Arc::clone(&membership),
            nodes.clone(),
            metrics.clone(),
            FINISH_WITHIN,
        );
        let uploads = TaskTracker::new();
        let whole = UploadService::new(
            Arc::clone(&ledger),
            Arc::clone(&membership),
            nodes.clone(),
            completion.clone(),
            upload_limits(&config),
            metrics.clone(),
            uploads.clone(),
        );
        let resumable = ResumableService::new(
            &whole,
            ResumeLimits { life: config.limits.upload_life, unfinished: config.limits.unfinished_uploads },
        );
        let site = Site {
            access: AccessService::new(Arc::clone(&ledger), config.access, config.networks.clone()),
            uploads: whole,
            resumable: resumable.clone(),
            catalog: Catalog::new(Arc::clone(&ledger), Arc::clone(&membership), metrics.clone()),
            links: LinkService::new(
                Arc::clone(&ledger),
                Arc::clone(&membership),
                Arc::clone(&geo),
                config.place.clone(),
                LinkLife { least: config.limits.link_life, step: config.limits.link_step },
                metrics.clone(),
            ),
            addresses: ClientAddresses::new(
                config.trusted_proxies.clone(),
                config.client_address_headers.clone(),
            )
            .with_private_clients(config.geoip_private),
            address: match links {
                Links::Fixed => PublicAddress::Fixed(config.public_url.clone()),
                Links::Demo => PublicAddress::Demo(config.public_url.clone()),
            },
            metrics,
            leaving: CancellationToken::new(),
            limits: SiteLimits {
                form_files: config.limits.upload_files,
                precheck_files: config.limits.precheck_files,
                list_files: config.limits.list_files,
                list_files_max: config.limits.list_files_max,
            },
        };
        let signing_root = SharedSecret::new(config.signing_root.value.clone());
        let join_secret = SharedSecret::new(config.join_secret.value.clone());
        let control = Arc::new(Control::new(
            Arc::clone(&ledger),
            Arc::clone(&membership),
            nodes,
            signing_root.clone(),
            join_secret.clone(),
            ControlRules {
                networks: config.networks.clone(),
                out_after: config.node_out_after,
                link_life: config.limits.link_life.saturating_add(config.limits.link_step),
            },
        ));
        let mut beside = pages::description();
        beside.merge(api::tus::description());
        let describe = api::rest::describe(beside).map_err(|error| CentralError::Server(error.into()))?;
        let certificate = tls.as_ref().map(TlsListener::reload);
        let rules = config.tls.as_ref().map(|tls| Arc::new(rules(tls, &config.public_url)));
        let leaving = site.leaving.clone();
        let server = serve((listener, tls), site, Arc::clone(&control), describe, rules, config.stop)?;
        let handle = server.handle();
        let mut workers = Workers::new();
        workers.start(Finishing(Finisher::new(Arc::clone(&ledger), Arc::clone(&membership), completion)));
        workers.start(Expiring(resumable));
        workers.start(Absences::new(control));
        workers.start(GeoReload(geo));
        let reload = SecretReload::new("signing root", &config.signing_root, &signing_root);
        if let Some(reload) = reload.map(SecretReload::going_on) {
            workers.start(reload);
        }
        if let Some(reload) = SecretReload::new("join secret", &config.join_secret, &join_secret) {
            workers.start(reload);
        }
        if let Some(certificate) = certificate {
            workers.start(certificate);
        }
        let served = serve_until(server, handle, &stop, || leaving.cancel(), config.stop.unready).await;
        stop.cancel();
        uploads.close();
        // An upload that is decided finishes; one that still waits for its sender does not.
        if tokio::time::timeout(FINISH_WITHIN, uploads.wait()).await.is_err() {
            tracing::warn!("uploads were still running at the stop");
        }
        workers.stop(WORKERS_WITHIN).await;
        ledger.close().await;
        served.map_err(CentralError::Server)
    }
}

fn upload_limits(config: &CentralConfig) -> UploadLimits {
    UploadLimits {
        file_bytes: config.limits.file_bytes,
        uploads: config.limits.uploads,
        uploads_per_address: config.limits.uploads_per_address,
        stalled_bytes_per_second: config.limits.stalled_bytes_per_second,
        stalled_after: config.limits.stalled_after,
        node_stalled_after: config.limits.node_stalled_after,
        prepare_within: PREPARE_WITHIN,
    }
}

fn rules(tls: &Tls, public_url: &url::Url) -> Secure {
    Secure { public_url: public_url.clone(), redirect: tls.redirect, hsts: tls.hsts, is_for_people }
}

fn serve(
    (listener, tls): (TcpListener, Option<TlsListener>),
    site: Site,
    control: Arc<Control>,
    describe: impl Fn(&mut web::ServiceConfig) + Clone + Send + 'static,
    rules: Option<Arc<Secure>>,
    stop: Stop,
) -> Result<Server, CentralError> {
    let observer = Arc::new(Observer {
        role: "central",
        trusted: site.addresses.trusted.clone(),
        metrics: site.metrics.http.clone(),
        class_of: RouteClass::of_central,
    });
    let site = web::Data::new(site);
    let mut server = HttpServer::new(move || {
        let (rules, observer) = (rules.clone(), Arc::clone(&observer));
        App::new()
            .app_data(site.clone())
            .wrap(middleware::from_fn(guard))
            .wrap(middleware::from_fn(pages::errors_as_pages))
            .wrap(middleware::from_fn(move |request, next| secure(rules.clone(), request, next)))
            .wrap(middleware::from_fn(move |request, next| observe(Arc::clone(&observer), request, next)))
            .configure(api::tus::configure)
            .configure(api::rest::configure)
            .configure(&describe)
            .configure(|config| api::cluster::configure(config, Arc::clone(&control)))
            .configure(pages::configure)
    })
    .disable_signals()
    .shutdown_timeout(stop.drain.as_secs())
    .keep_alive(KEEP_ALIVE)
    .client_request_timeout(HEAD_WITHIN)
    .client_disconnect_timeout(LINGER)
    .listen(listener)
    .map_err(CentralError::Server)?;
    if let Some(tls) = tls {
        let (listener, config) = tls.into_parts()?;
        server = server.listen_rustls_0_23(listener, config).map_err(CentralError::Server)?;
    }
    Ok(server.run())
}

/// Runs the server until it ends or is told to stop. It then says so for a while before it accepts no more.
async fn serve_until(
    server: Server,
    handle: ServerHandle,
    stop: &CancellationToken,
    leave: impl FnOnce(),
    unready: Duration,
) -> std::io::Result<()> {
    let mut server = std::pin::pin!(server);
    tokio::select! {
        ended = &mut server => return ended,
        () = stop.cancelled() => {}
    }
    leave();
    tokio::select! {
        ended = &mut server => return ended,
        () = tokio::time::sleep(unready) => {}
    }
    let (ended, ()) = tokio::join!(server, handle.stop(true));
    ended
}
