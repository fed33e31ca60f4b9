//! The HTTP client inside the cluster.

use std::time::Duration;

use crate::trace;

/// A client that follows no redirects, uses no proxy and gives up connecting after 5 s:
/// nothing but the address that was proved is ever spoken to.
///
/// # Errors
/// When TLS cannot be set up.
pub fn http_client() -> Result<reqwest::Client, reqwest::Error> {
    // A second call finds the provider installed, which is what it wants.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .http1_only()
        .connect_timeout(Duration::from_secs(5))
        .pool_idle_timeout(Duration::from_secs(20))
        .tcp_keepalive(Duration::from_secs(15))
        .build()
}

/// The same call, as part of the request that is worked on.
pub fn traced(call: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
    match trace::current() {
        Some(current) => call.header(trace::TRACEPARENT, current.to_string()),
        None => call,
    }
}
