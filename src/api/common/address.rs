//! Under which address people see this central: links come from it alone.

use std::borrow::Cow;
use std::net::{IpAddr, UdpSocket};

use actix_web::HttpRequest;
use actix_web::http::header::HOST;
use url::{Host, Url};

use super::problem::{ApiError, ProblemKind};

/// Where links point.
#[derive(Debug, Clone)]
pub enum PublicAddress {
    /// One address; a request for another host is misdirected (RFC 9110 §15.5.20).
    Fixed(Url),
    /// The demo: the host that the person asked for, where that is a bare name or address of
    /// this machine, so that it works from a phone in the same network; else the given one.
    Demo(Url),
}

impl PublicAddress {
    /// What links begin with: scheme, host and port, without a slash at the end.
    ///
    /// # Errors
    /// When the request is for a host that is not served here.
    pub fn base(&self, request: &HttpRequest) -> Result<String, ApiError> {
        match self {
            Self::Fixed(url)
                if requested(request, url).is_some_and(|asked| is_same_authority(&asked, url)) =>
            {
                Ok(origin(url))
            }
            Self::Fixed(url) => Err(ApiError::new(
                ProblemKind::Misdirected,
                format!("this server is {}: ask for it by that address", origin(url)),
            )),
            Self::Demo(url) => Ok(requested(request, url)
                .filter(|asked| asked.host().is_some_and(|host| is_this_machine(&host)))
                .map_or_else(|| origin(url), |asked| origin(&asked))),
        }
    }

    /// What links to a node begin with.
    #[must_use]
    pub fn node_base(&self, request: &HttpRequest, node: &Url) -> String {
        if let Self::Demo(own) = self
            && let Some(asked) = requested(request, own)
            && let Some(host) = asked.host()
            && is_this_machine(&host)
        {
            let port = node.port().map(|port| format!(":{port}")).unwrap_or_default();
            return format!("{}://{host}{port}", node.scheme());
        }
        origin(node)
    }

    /// The address without a request, for what is printed at the start.
    #[must_use]
    pub fn plain(&self) -> String {
        match self {
            Self::Fixed(url) | Self::Demo(url) => origin(url),
        }
    }
}

/// The host and port that a request is for; never what a forwarding header says. Nearly
/// always that is our `own` address to the letter, and then it need not be parsed.
fn requested<'u>(request: &HttpRequest, own: &'u Url) -> Option<Cow<'u, Url>> {
    let mut hosts = request.headers().get_all(HOST);
    let authority = match (request.uri().authority(), hosts.next()) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().ok()?,
        (None, None) => return None,
    };
    if hosts.next().is_some() {
        return None;
    }
    if authority == own.authority() {
        return Some(Cow::Borrowed(own));
    }
    let url: Url = format!("http://{authority}").parse().ok()?;
    let is_bare =
        url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    is_bare.then_some(Cow::Owned(url))
}

fn is_same_authority(asked: &Url, url: &Url) -> bool {
    // `asked` was read as http, so its missing port says nothing about an https address.
    asked.host() == url.host()
        && (asked.port().or(url.port()) == url.port())
        && (asked.port().is_some() || url.port().is_none())
}

fn is_this_machine(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(ip) => is_own_address(IpAddr::V4(*ip)),
        Host::Ipv6(ip) => is_own_address(IpAddr::V6(*ip)),
    }
}

/// An address is this machine's when a socket can be bound to it.
fn is_own_address(ip: IpAddr) -> bool {
    !ip.is_unspecified() && (ip.is_loopback() || UdpSocket::bind((ip, 0)).is_ok())
}

fn origin(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use actix_web::test::TestRequest;

    fn ask(host: &str) -> HttpRequest {
        TestRequest::default().insert_header((HOST, host)).to_http_request()
    }

    #[test]
    fn a_fixed_address_is_the_only_one() {
        let address = PublicAddress::Fixed("https://files.example".parse().unwrap());
        assert_eq!(address.base(&ask("files.example")).unwrap(), "https://files.example");
        assert_eq!(address.base(&ask("FILES.example")).unwrap(), "https://files.example");
        for host in
            ["evil.example", "files.example:8443", "files.example@evil.example", "", "files.example/x"]
        {
            assert_eq!(address.base(&ask(host)).unwrap_err().kind(), ProblemKind::Misdirected, "{host:?}");
        }
        assert!(address.base(&TestRequest::default().to_http_request()).is_err());
        let node = "http://node.example:81".parse().unwrap();
        assert_eq!(address.node_base(&ask("files.example"), &node), "http://node.example:81");
        let with_port = PublicAddress::Fixed("http://files.example:8080".parse().unwrap());
        assert!(with_port.base(&ask("files.example:8080")).is_ok());
        assert!(with_port.base(&ask("files.example")).is_err());
    }

    #[test]
    fn the_demo_follows_bare_hosts_of_this_machine() {
        let address = PublicAddress::Demo("http://127.0.0.1:8080".parse().unwrap());
        let node = "http://127.0.0.1:8081".parse().unwrap();
        for (host, base, node_base) in [
            ("localhost:8080", "http://localhost:8080", "http://localhost:8081"),
            ("127.0.0.1:9000", "http://127.0.0.1:9000", "http://127.0.0.1:8081"),
            ("[::1]:8080", "http://[::1]:8080", "http://[::1]:8081"),
            ("evil.example", "http://127.0.0.1:8080", "http://127.0.0.1:8081"),
            ("203.0.113.7", "http://127.0.0.1:8080", "http://127.0.0.1:8081"),
            ("a@localhost", "http://127.0.0.1:8080", "http://127.0.0.1:8081"),
        ] {
            assert_eq!(address.base(&ask(host)).unwrap(), base, "{host}");
            assert_eq!(address.node_base(&ask(host), &node), node_base, "{host}");
        }
    }
}
