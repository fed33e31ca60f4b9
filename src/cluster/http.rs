//! The HTTP clients inside the cluster.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder};

use crate::trace;
use crate::wire::node::TlsAddress;

/// No more nodes are remembered; one that is forgotten only connects anew.
const MAX_CLIENTS: usize = 1000;

/// A client that follows no redirects, uses no proxy and gives up connecting after 5 s:
/// nothing but the address that was proved is ever spoken to.
///
/// # Errors
/// When TLS cannot be set up.
pub fn http_client() -> Result<Client, reqwest::Error> {
    builder().build()
}

fn builder() -> ClientBuilder {
    // A second call finds the provider installed, which is what it wants.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .connect_timeout(Duration::from_secs(5))
        .pool_idle_timeout(Duration::from_secs(20))
        .tcp_keepalive(Duration::from_secs(15))
}

/// The clients that this machine calls others of the cluster with. Clones share them.
#[derive(Debug, Clone)]
pub struct ClusterHttp {
    plain: Client,
    authorities: Arc<[Certificate]>,
    /// For each host that speaks TLS, where it is connected to and by which client.
    secure: Arc<Mutex<HashMap<String, (SocketAddr, Client)>>>,
}

impl From<Client> for ClusterHttp {
    fn from(plain: Client) -> Self {
        Self { plain, authorities: Arc::default(), secure: Arc::default() }
    }
}

impl ClusterHttp {
    /// Believes the usual authorities, and these.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(authorities: Vec<Certificate>) -> Result<Self, reqwest::Error> {
        let plain = builder().tls_certs_merge(authorities.iter().cloned()).build()?;
        Ok(Self { plain, authorities: authorities.into(), secure: Arc::default() })
    }

    /// For what is called by its own name.
    #[must_use]
    pub const fn plain(&self) -> &Client {
        &self.plain
    }

    /// The client for a node, and what its URLs begin with. By TLS where the node has it: the
    /// certificate must be for the node's public name, the connection goes to its own address.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn reach(
        &self,
        address: SocketAddr,
        tls: Option<&TlsAddress>,
    ) -> Result<(Client, String), reqwest::Error> {
        let Some(TlsAddress { host, address }) = tls else {
            return Ok((self.plain.clone(), format!("http://{address}")));
        };
        let base = base(host, *address);
        let known = || self.secure.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = known().get(&base).filter(|(at, _)| at == address) {
            return Ok((client.clone(), base));
        }
        // Not under the lock: it reads the system's authorities.
        let client =
            builder().tls_certs_merge(self.authorities.iter().cloned()).resolve(host, *address).build()?;
        let mut known = known();
        if known.len() >= MAX_CLIENTS {
            known.clear();
        }
        known.insert(base.clone(), (*address, client.clone()));
        Ok((client, base))
    }

    /// Connects anew at the next call, so that the certificate of now is checked. Calls that go on are not
    /// cut.
    pub fn connect_anew(&self, TlsAddress { host, address }: &TlsAddress) {
        self.secure.lock().unwrap_or_else(PoisonError::into_inner).remove(&base(host, *address));
    }
}

fn base(host: &str, address: SocketAddr) -> String {
    format!("https://{host}:{}", address.port())
}

/// The innermost cause of an error: it says what happened, and those around it repeat the URL.
pub fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The same call, as part of the request that is worked on.
pub fn traced(call: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    match trace::current() {
        Some(current) => call.header(trace::TRACEPARENT, current.to_string()),
        None => call,
    }
}
