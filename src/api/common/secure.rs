//! Where TLS is on, people are sent to it: a request that came over plain HTTP is answered with the
//! same address under `https`, and browsers may be told to come that way by themselves (RFC 6797).

use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderValue, LOCATION, STRICT_TRANSPORT_SECURITY};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse};
use url::Url;

/// What is asked of a server whose TLS is on.
#[derive(Debug, Clone)]
pub struct Secure {
    /// Where people are sent.
    pub public_url: Url,
    /// Whether requests over plain HTTP are sent there.
    pub redirect: bool,
    /// So long a browser comes by TLS alone.
    pub hsts: Option<Duration>,
    /// Which paths are people's. The others are asked for by machines beside us, over the plain listener.
    pub is_for_people: fn(&str) -> bool,
}

/// The middleware; without rules it does nothing.
///
/// # Errors
/// What comes from further in.
pub async fn secure(
    rules: Option<std::sync::Arc<Secure>>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(rules) = rules else { return Ok(next.call(request).await?.map_into_boxed_body()) };
    if request.app_config().secure() {
        let mut response = next.call(request).await?.map_into_boxed_body();
        if let Some(value) =
            rules.hsts.and_then(|life| HeaderValue::from_str(&format!("max-age={}", life.as_secs())).ok())
        {
            response.headers_mut().insert(STRICT_TRANSPORT_SECURITY, value);
        }
        return Ok(response);
    }
    if !rules.redirect || !(rules.is_for_people)(request.path()) {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let location = format!("{}{path}", rules.public_url.as_str().trim_end_matches('/'));
    // 308 keeps the method, so that `curl -L -T` still sends its file.
    let answer = HttpResponse::PermanentRedirect().insert_header((LOCATION, location)).finish();
    Ok(request.into_response(answer))
}
