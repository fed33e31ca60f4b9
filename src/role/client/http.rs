//! Calls to a server.

use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue, LOCATION, RETRY_AFTER};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;

use super::ClientError;
use super::error::printable;
use crate::domain::{Sha1, Token};
use crate::wire::api::{Blob, Problem};

/// Whom we say we are.
const USER_AGENT: &str = concat!("closeby/", env!("CARGO_PKG_VERSION"));

/// How often something is tried that the server is too busy for.
const TRIES: u32 = 6;

/// The longest wait that a server can ask for before the next try.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(30);

/// A call that carries no file has an answer within this.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);

/// A download that brings nothing for so long is cut.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The longest document that is read, in bytes.
const MAX_DOCUMENT_BYTES: usize = 64 << 20;

/// A server and how it is spoken to. No redirect is followed: none belongs to the API but the
/// one to a copy, which is looked at first.
pub struct Server {
    base: Url,
    calls: Client,
    uploads: Client,
    downloads: Client,
    /// Shown to this server and to nobody else.
    token: Option<HeaderValue>,
    /// How long one second is, so that tests need not wait.
    pub(super) second: Duration,
}

impl Server {
    /// The server at a URL of scheme, host and port.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(base: Url) -> Result<Self, ClientError> {
        // A second call finds the provider installed, which is what it wants.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let is_here = match base.host() {
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            Some(url::Host::Domain(name)) => name == "localhost",
            None => false,
        };
        let builder = || {
            let builder = Client::builder()
                .user_agent(USER_AGENT)
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(Duration::from_secs(10))
                .tcp_keepalive(Duration::from_secs(30));
            // A proxy elsewhere cannot reach this machine's own loopback.
            if is_here { builder.no_proxy() } else { builder }
        };
        let failed = |error| ClientError::http(&base, error);
        Ok(Self {
            calls: builder().timeout(CALL_TIMEOUT).build().map_err(failed)?,
            uploads: builder().build().map_err(failed)?,
            downloads: builder().read_timeout(READ_TIMEOUT).build().map_err(failed)?,
            base,
            token: None,
            second: Duration::from_secs(1),
        })
    }

    /// The same, asked with a token.
    #[must_use]
    pub fn with_token(mut self, token: Option<&Token>) -> Self {
        self.token = token.and_then(|token| {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.reveal())).ok()?;
            // Not in any log of what is sent.
            value.set_sensitive(true);
            Some(value)
        });
        self
    }

    /// The server of a target's link, else this one. Another server gets no token of this one's.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub(super) fn of(self, target: &super::Target) -> Result<Self, ClientError> {
        match &target.server {
            Some(server) if *server != self.base => {
                Ok(Self { second: self.second, ..Self::new(server.clone())? })
            }
            _ => Ok(self),
        }
    }

    /// An address on the server: path segments, each escaped.
    pub(super) fn url(&self, segments: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.clear().extend(segments);
        }
        url
    }

    /// For bodies that we send: nothing but the watcher of an upload ends them.
    pub(super) const fn uploads(&self) -> Caller<'_> {
        Caller { client: &self.uploads, server: self }
    }

    /// For calls that carry no file.
    pub(super) const fn calls(&self) -> Caller<'_> {
        Caller { client: &self.calls, server: self }
    }

    /// Asks for a document.
    ///
    /// # Errors
    /// What the server says, or that it cannot be reached.
    pub(super) async fn get<T: DeserializeOwned>(&self, url: &Url) -> Result<T, ClientError> {
        let response = self.patiently(url, || self.calls().get(url.clone())).await?;
        read_json(url, response).await
    }

    /// Sends a document and asks for one.
    ///
    /// # Errors
    /// What the server says, or that it cannot be reached.
    pub(super) async fn post<T: DeserializeOwned>(
        &self,
        url: &Url,
        body: &(impl serde::Serialize + Sync),
    ) -> Result<T, ClientError> {
        let response = self.patiently(url, || self.calls().post(url.clone()).json(body)).await?;
        read_json(url, response).await
    }

    /// What is known of a content.
    ///
    /// # Errors
    /// What the server says, or that it cannot be reached.
    pub(super) async fn blob(&self, sha1: Sha1) -> Result<Blob, ClientError> {
        self.get(&self.url(&["api", "v1", "blobs", &sha1.to_hex()])).await
    }

    /// Where a lasting link leads now: the `Location` of its redirect.
    ///
    /// # Errors
    /// What the server says, or that it cannot be reached.
    pub(super) async fn resolve(&self, link: &Url) -> Result<Url, ClientError> {
        let response = self.patiently(link, || self.calls().get(link.clone())).await?;
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        location
            .filter(|_| response.status().is_redirection())
            .and_then(|location| link.join(location).ok())
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| ClientError::Answer(format!("{link} leads to no copy")))
    }

    /// Asks a copy, which no token is for, for its bytes from `offset` on. The answer is not judged.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(super) async fn download(&self, url: &Url, offset: u64) -> Result<Response, ClientError> {
        let mut request = self.downloads.get(url.clone());
        if offset > 0 {
            request = request.header(reqwest::header::RANGE, format!("bytes={offset}-"));
        }
        request.send().await.map_err(|error| ClientError::http(url, error))
    }

    /// Asks once, whatever the answer.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub(super) async fn ask(&self, url: &Url) -> Result<Response, ClientError> {
        self.calls().get(url.clone()).send().await.map_err(|error| ClientError::http(url, error))
    }

    /// Sends a request until the server is not too busy for it, a bounded number of times.
    async fn patiently(
        &self,
        url: &Url,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Response, ClientError> {
        let mut tries = Tries::new(self.second);
        loop {
            let response = request().send().await.map_err(|error| ClientError::http(url, error))?;
            match judge(url, response).await {
                Ok(response) => return Ok(response),
                Err(refusal) => tries.wait_or_fail(refusal).await?,
            }
        }
    }
}

/// Makes requests, with the server's token where they go to the server itself.
#[derive(Clone, Copy)]
pub(super) struct Caller<'s> {
    client: &'s Client,
    server: &'s Server,
}

impl Caller<'_> {
    pub fn get(self, url: Url) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    pub fn head(self, url: Url) -> RequestBuilder {
        self.request(Method::HEAD, url)
    }

    pub fn post(self, url: Url) -> RequestBuilder {
        self.request(Method::POST, url)
    }

    pub fn patch(self, url: Url) -> RequestBuilder {
        self.request(Method::PATCH, url)
    }

    pub fn delete(self, url: Url) -> RequestBuilder {
        self.request(Method::DELETE, url)
    }

    fn request(self, method: Method, url: Url) -> RequestBuilder {
        // A link in an answer can lead anywhere.
        let token = self.server.token.as_ref().filter(|_| url.origin() == self.server.base.origin());
        let request = self.client.request(method, url);
        match token {
            Some(token) => request.header(AUTHORIZATION, token.clone()),
            None => request,
        }
    }
}

/// A refusal, and when the server wants to be asked again.
pub(super) struct Refusal {
    pub error: ClientError,
    /// Its status, where there was an answer.
    pub status: Option<StatusCode>,
    /// Its `Retry-After` in seconds, of a `503`.
    pub retry_after: Option<u64>,
}

impl From<ClientError> for Refusal {
    fn from(error: ClientError) -> Self {
        Self { error, status: None, retry_after: None }
    }
}

/// How often something is still tried.
pub(super) struct Tries {
    left: u32,
    second: Duration,
}

impl Tries {
    pub const fn new(second: Duration) -> Self {
        Self { left: TRIES - 1, second }
    }

    /// Waits as the server asked; fails where it did not, or too often.
    pub async fn wait_or_fail(&mut self, refusal: Refusal) -> Result<(), ClientError> {
        let Some(seconds) = refusal.retry_after.filter(|_| self.left > 0) else {
            return Err(refusal.error);
        };
        self.left -= 1;
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        tokio::time::sleep(self.second.saturating_mul(seconds).min(MAX_WAIT)).await;
        Ok(())
    }
}

/// Lets successes and redirects through; makes a refusal of everything else.
pub(super) async fn judge(url: &Url, response: Response) -> Result<Response, Refusal> {
    let status = response.status();
    if status.is_success() || status.is_redirection() {
        return Ok(response);
    }
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .filter(|_| status == StatusCode::SERVICE_UNAVAILABLE)
        .and_then(|value| value.to_str().ok()?.parse().ok());
    let body = read_body(url, response).await.unwrap_or_default();
    let error = serde_json::from_slice::<Problem>(&body).map_or_else(
        |_| ClientError::Answer(format!("{} answers {status}", host_of(url))),
        ClientError::Problem,
    );
    Err(Refusal { error, status: Some(status), retry_after })
}

/// Reads a document of the API.
pub(super) async fn read_json<T: DeserializeOwned>(url: &Url, response: Response) -> Result<T, ClientError> {
    if let Some(elsewhere) = response.headers().get(LOCATION).filter(|_| response.status().is_redirection()) {
        let elsewhere = printable(&String::from_utf8_lossy(elsewhere.as_bytes()));
        return Err(ClientError::Answer(format!(
            "{} sends us on to {elsewhere}: give that as --server if it is yours",
            host_of(url)
        )));
    }
    let body = read_body(url, response).await?;
    serde_json::from_slice(&body).map_err(|error| {
        ClientError::Answer(format!("{} does not answer as a closeby does: {error}", host_of(url)))
    })
}

/// Reads a whole answer that is a document.
pub(super) async fn read_body(url: &Url, mut response: Response) -> Result<Vec<u8>, ClientError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| ClientError::http(url, error))? {
        if body.len() + chunk.len() > MAX_DOCUMENT_BYTES {
            return Err(ClientError::Answer(format!("{} answers without end", host_of(url))));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a URL is called in a message: never with a query, which can hold a ticket.
pub(super) fn host_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}
