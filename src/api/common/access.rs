//! Who may ask for what: tokens as requests carry them (RFC 6750, RFC 7617), and the answer to who has none.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{ACCEPT, AUTHORIZATION, USER_AGENT};
use actix_web::middleware::{Next, from_fn};
use actix_web::{Error, HttpRequest, ResponseError as _, Route, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::problem::{ApiError, Challenge, ProblemKind};
use super::site::Site;
use crate::domain::{Entry, Scope};
use crate::service::central::ClientAddress;
use crate::service::central::access::{Denied, Shown};

/// Headers in which whoever passes a request on says so. One of them from somebody who is not believed means
/// that the request is not the peer's own.
const FORWARDING: [&str; 6] =
    ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"];

/// A route for those who may do what any of these scopes is for. It is decided before anything of the body
/// is read. It stands on the route, so that no other spelling of its path leads past it.
pub fn guarded(route: Route, any_of: &'static [Scope]) -> Route {
    route.wrap(from_fn(move |request: ServiceRequest, next: Next<BoxBody>| require(any_of, request, next)))
}

/// The middleware behind [`guarded`], for whole scopes of routes; `OPTIONS` tells nobody anything, and passes.
///
/// # Errors
/// What comes from further in.
pub async fn require(
    any_of: &'static [Scope],
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if *request.method() != Method::OPTIONS {
        let verdict = match request.app_data::<web::Data<Site>>() {
            Some(site) => admit(site, any_of, request.request()).await,
            None => Err(ApiError::new(ProblemKind::Internal, "nobody is let in here")),
        };
        if let Err(error) = verdict {
            // An answer, not an error: what wraps this one can turn it into a page.
            return Ok(request.into_response(error.error_response()));
        }
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

/// Lets a request in that may do what any of these scopes is for.
///
/// # Errors
/// `401` without a token that counts, `403` with one for something else.
pub async fn admit(site: &Site, any_of: &[Scope], request: &HttpRequest) -> Result<(), ApiError> {
    if site.access.is_open(any_of) {
        return Ok(());
    }
    let (shown, scheme) = shown(request);
    let denied = match site.access.admit(any_of, &shown).await {
        Ok(()) => return Ok(()),
        Err(denied) => denied,
    };
    Err(refused(denied, any_of, offers_password(request, any_of), scheme == Scheme::Basic))
}

/// Lets a request in that asks which copy `from` would get: a place is anybody's to name, an address only its
/// own, unless the store explains to everybody.
///
/// # Errors
/// As [`admit`].
pub async fn admit_asking_for(
    site: &Site,
    request: &HttpRequest,
    from: Option<&str>,
) -> Result<(), ApiError> {
    let foreign = from
        .and_then(|from| from.trim().parse::<IpAddr>().ok())
        .filter(|address| site.client(request).address() != Some(address.to_canonical()));
    if foreign.is_none() || site.access.rules().explain == Entry::Anyone {
        return Ok(());
    }
    admit(site, &[Scope::Admin], request).await
}

/// Lets a request in that comes from beside us, or shows a token for what an operator does.
///
/// # Errors
/// As [`admit`].
pub async fn admit_operator(site: &Site, request: &HttpRequest) -> Result<(), ApiError> {
    let peer = request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip());
    if site.access.is_inside(peer, spoken_for(site, peer, request)) {
        return Ok(());
    }
    admit(site, &[Scope::Admin], request).await
}

/// Whom the peer speaks for; nobody where it speaks for itself.
fn spoken_for(site: &Site, peer: IpAddr, request: &HttpRequest) -> Option<ClientAddress> {
    let has = |name: &str| request.headers().contains_key(name);
    if !FORWARDING.into_iter().any(has) {
        return None;
    }
    let addresses = &site.addresses;
    let is_said = addresses.is_trusted(peer) && addresses.kinds.iter().any(|kind| has(kind.name()));
    Some(if is_said { site.client(request) } else { ClientAddress::Unknown })
}

/// A token that came in a form.
///
/// # Errors
/// As [`admit`].
pub async fn admit_with(site: &Site, any_of: &[Scope], token: &str) -> Result<(), ApiError> {
    let denied = match site.access.admit(any_of, &Shown::read(token)).await {
        Ok(()) => return Ok(()),
        Err(denied) => denied,
    };
    Err(refused(denied, any_of, false, false))
}

/// How a token came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Bearer,
    Basic,
}

/// Whether a request shows anything at all that counts for it.
#[must_use]
pub fn shows_nothing(request: &HttpRequest) -> bool {
    shown(request).0 == Shown::Nothing
}

/// What a request shows. A password counts for reading alone: browsers send it by themselves, so nothing may
/// be changed by it.
fn shown(request: &HttpRequest) -> (Shown, Scheme) {
    let mut lines = request.headers().get_all(AUTHORIZATION);
    let Some(line) = lines.next() else { return (Shown::Nothing, Scheme::Bearer) };
    let (scheme, value) = line
        .to_str()
        .ok()
        .filter(|_| lines.next().is_none())
        .map_or(("", ""), |line| line.trim().split_once(' ').unwrap_or((line, "")));
    if scheme.eq_ignore_ascii_case("bearer") && !value.trim().is_empty() {
        return (Shown::read(value), Scheme::Bearer);
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return (Shown::Unreadable, Scheme::Bearer);
    }
    if !is_read(request) {
        return (Shown::Nothing, Scheme::Basic);
    }
    let given = STANDARD.decode(value.trim()).ok().and_then(|text| String::from_utf8(text).ok());
    let password = given.as_deref().and_then(|given| given.split_once(':')).map(|(_, password)| password);
    (password.map_or(Shown::Unreadable, Shown::read), Scheme::Basic)
}

fn is_read(request: &HttpRequest) -> bool {
    matches!(*request.method(), Method::GET | Method::HEAD)
}

/// Whether a browser asks for something that a person reads: then it is told that a password will do, and
/// asks the person for it. It says so for what pages load, too, as it sends on what the person gave it only
/// where it is asked to.
fn offers_password(request: &HttpRequest, any_of: &[Scope]) -> bool {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_browser = text(ACCEPT).contains("text/html")
        || request.headers().contains_key("sec-fetch-mode")
        // Over plain HTTP browsers say nothing of the kind, but they all call themselves so.
        || text(USER_AGENT).starts_with("Mozilla/");
    is_browser && is_read(request) && any_of != [Scope::Upload]
}

/// The answer to who is not let in. `by_password` is how they tried.
fn refused(denied: Denied, any_of: &[Scope], offers_password: bool, by_password: bool) -> ApiError {
    const HOW: &str = "send it as `Authorization: Bearer TOKEN`, or, in a browser that asks, as the password \
                       with any user name; whoever runs this server makes one with `closeby token new`";
    let scope = any_of.first().copied().unwrap_or(Scope::Admin);
    let text = denied.to_string();
    match denied {
        Denied::Ledger(error) => error.into(),
        Denied::Missing => {
            let detail = format!("{text} with the scope `{scope}`: {HOW}");
            ApiError::new(ProblemKind::TokenNeeded, detail).challenge(Challenge {
                error: None,
                scope,
                offers_password,
            })
        }
        Denied::Invalid => ApiError::new(ProblemKind::InvalidToken, text).challenge(Challenge {
            error: Some("invalid_token"),
            scope,
            offers_password,
        }),
        // A browser goes on sending a password that is refused so, and never asks for another.
        Denied::Lacking(_) if by_password && offers_password => ApiError::new(ProblemKind::TokenNeeded, text)
            .challenge(Challenge { error: Some("insufficient_scope"), scope, offers_password }),
        Denied::Lacking(_) => ApiError::new(ProblemKind::InsufficientScope, text).challenge(Challenge {
            error: Some("insufficient_scope"),
            scope,
            offers_password: false,
        }),
    }
}
