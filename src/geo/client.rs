//! Whose request it is: the peer's, or whoever trusted proxies say they speak for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::address::{is_private, normalise};
use super::forwarded;

/// The most hops that are looked at; a longer chain of trusted proxies is no chain.
const MAX_HOPS: usize = 64;

/// A text that names no kind of header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a client address header is `x-forwarded-for` or `forwarded`")]
pub struct UnknownHeaderKind;

/// A header in which proxies say whom they speak for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HeaderKind {
    /// `X-Forwarded-For`: addresses.
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl HeaderKind {
    /// The header's name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }

    /// Reads the header's name, in any case.
    ///
    /// # Errors
    /// When it is another header's.
    pub fn parse(text: &str) -> Result<Self, UnknownHeaderKind> {
        [Self::XForwardedFor, Self::Forwarded]
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(text))
            .ok_or(UnknownHeaderKind)
    }
}

impl FromStr for HeaderKind {
    type Err = UnknownHeaderKind;

    fn from_str(text: &str) -> Result<Self, UnknownHeaderKind> {
        Self::parse(text)
    }
}

impl TryFrom<String> for HeaderKind {
    type Error = UnknownHeaderKind;

    fn try_from(text: String) -> Result<Self, UnknownHeaderKind> {
        Self::parse(&text)
    }
}

impl From<HeaderKind> for String {
    fn from(kind: HeaderKind) -> Self {
        kind.name().to_owned()
    }
}

impl fmt::Display for HeaderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClientAddress {
    /// This address's.
    Known(IpAddr),
    /// Somebody's whose address a trusted proxy did not say, or hid.
    Unknown,
}

impl ClientAddress {
    /// The address, where it is known.
    #[must_use]
    pub const fn address(self) -> Option<IpAddr> {
        match self {
            Self::Known(address) => Some(address),
            Self::Unknown => None,
        }
    }
}

/// Whom to believe about a client's address.
#[derive(Debug, Clone, Default)]
pub struct ClientAddresses {
    /// The networks of the proxies.
    pub trusted: Vec<IpNet>,
    /// The headers that those proxies set; the first that a request has counts.
    pub kinds: Vec<HeaderKind>,
    /// Whether people can have private addresses: the store is used inside a network whose
    /// private addresses have places.
    pub private_clients: bool,
}

impl ClientAddresses {
    /// With these proxies and headers.
    #[must_use]
    pub const fn new(trusted: Vec<IpNet>, kinds: Vec<HeaderKind>) -> Self {
        Self { trusted, kinds, private_clients: false }
    }

    /// The same, where people can have private addresses, or not.
    #[must_use]
    pub fn with_private_clients(self, private_clients: bool) -> Self {
        Self { private_clients, ..self }
    }

    /// Whose request it is that came from `peer`; `lines` gives the values of a header's
    /// lines, in their order.
    ///
    /// The header counts only when the peer is trusted. All its lines are one list, read
    /// from the right, past trusted addresses: the first other one is the client. A hop
    /// that is unreadable, hidden or private makes the client unknown, as whatever stands
    /// left of it was written by nobody known. When all hops are trusted, the leftmost is
    /// the client, unless it is private. The work is bounded whatever the header holds. Where
    /// clients can be private, such an address is as good as any other.
    pub fn resolve<'h>(&self, peer: IpAddr, lines: impl Fn(HeaderKind) -> Vec<&'h [u8]>) -> ClientAddress {
        let peer = normalise(peer);
        if !self.is_trusted(peer) {
            return ClientAddress::Known(peer);
        }
        for kind in &self.kinds {
            let lines = lines(*kind);
            if !lines.is_empty() {
                return self.read_lines(*kind, &lines);
            }
        }
        ClientAddress::Known(peer)
    }

    fn read_lines(&self, kind: HeaderKind, lines: &[&[u8]]) -> ClientAddress {
        let mut leftmost = None;
        let hops = lines.iter().rev().flat_map(|line| hops_from_the_right(kind, line));
        for (count, hop) in hops.enumerate() {
            let Some(address) = hop.filter(|_| count < MAX_HOPS) else {
                return ClientAddress::Unknown;
            };
            if !self.is_trusted(address) {
                return if self.is_nobody(address) {
                    ClientAddress::Unknown
                } else {
                    ClientAddress::Known(address)
                };
            }
            leftmost = Some(address);
        }
        match leftmost {
            Some(address) if !self.is_nobody(address) => ClientAddress::Known(address),
            _ => ClientAddress::Unknown,
        }
    }

    /// Whether no client can be known by this address.
    fn is_nobody(&self, address: IpAddr) -> bool {
        is_private(address) && !self.private_clients
    }

    /// Whether an address is one of the proxies'.
    #[must_use]
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        let address = normalise(address);
        self.trusted.iter().any(|network| network.contains(&address))
    }
}

/// The addresses of one line from right to left; none for what is unreadable or hidden.
fn hops_from_the_right(kind: HeaderKind, line: &[u8]) -> Box<dyn Iterator<Item = Option<IpAddr>> + '_> {
    match kind {
        HeaderKind::XForwardedFor => {
            Box::new(line.rsplit(|byte| *byte == b',').map(|hop| parse_hop(std::str::from_utf8(hop).ok()?)))
        }
        HeaderKind::Forwarded => Box::new(forwarded::hops_from_the_right(line)),
    }
}

/// Reads an address as proxies write it: plain, in brackets, with a port.
fn parse_hop(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches([' ', '\t']);
    if let Ok(address) = text.parse::<Ipv6Addr>() {
        return Some(normalise(address.into()));
    }
    parse_node(text)
}

/// Reads a node name of RFC 7239 §6: an IPv4 address or an IPv6 one in brackets, each
/// perhaps with a port; `unknown` and obfuscated names have no address.
pub(super) fn parse_node(text: &str) -> Option<IpAddr> {
    let (address, port): (IpAddr, &str) = if let Some(rest) = text.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        (address.parse::<Ipv6Addr>().ok()?.into(), port)
    } else {
        let end = text.find(':').unwrap_or(text.len());
        (text[..end].parse::<Ipv4Addr>().ok()?.into(), &text[end..])
    };
    is_port(port).then(|| normalise(address))
}

/// Nothing, or a colon and a port: a number, or a name after `_` (RFC 7239 §6).
fn is_port(text: &str) -> bool {
    let Some(port) = text.strip_prefix(':') else { return text.is_empty() };
    match port.strip_prefix('_') {
        Some(name) => {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        }
        None => port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok(),
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
