//! A download link: a ticket for reading one blob from one node, written as a URL.

use std::borrow::Cow;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::TicketError;
use super::encode::Encoder;
use super::key::{NodeKey, NodeKeys};
use crate::domain::{FileName, Generation, InlineType, KeyId, MediaType, NodeId, Sha1, Timestamp};

/// What stays as it is in a URL: RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// When a link made now expires that lives at least `life`: at the next fixed step after it. The
/// link repeats within a step, so caches work.
#[must_use]
pub fn link_expiry(now: Timestamp, life: Duration, step: Duration) -> Timestamp {
    let step = i64::try_from(step.as_millis()).unwrap_or(i64::MAX).max(1);
    let earliest = now.saturating_add(life).as_millis();
    let rest = earliest.rem_euclid(step);
    Timestamp::from_millis(if rest == 0 { earliest } else { earliest.saturating_add(step - rest) })
}

/// How a browser is to take the answer, and what the content is said to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disposition {
    /// Save it. It may be said to be anything.
    Attachment(MediaType),
    /// Show it, as one of the types that may be shown. A link of another type can neither be made nor
    /// read, also under a right signature.
    Inline(InlineType),
}

impl Disposition {
    /// Shows what may be shown, and saves everything else.
    #[must_use]
    pub fn shown(name: &FileName, media_type: MediaType) -> Self {
        InlineType::of(name, &media_type).map_or(Self::Attachment(media_type), Self::Inline)
    }

    const fn as_str(&self) -> &'static str {
        match self {
            Self::Attachment(_) => "attachment",
            Self::Inline(_) => "inline",
        }
    }

    /// What the content is said to be.
    #[must_use]
    pub fn media_type(&self) -> &str {
        match self {
            Self::Attachment(media_type) => media_type.as_str(),
            Self::Inline(inline) => inline.as_str(),
        }
    }

    fn parse(text: &str, media_type: &str) -> Option<Self> {
        match text {
            "attachment" => Some(Self::Attachment(MediaType::parse(media_type))),
            "inline" => InlineType::parse(media_type).map(Self::Inline),
            _ => None,
        }
    }
}

/// Central's permission to read one blob from one node under one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkTicket {
    /// Where.
    pub node: NodeId,
    /// What.
    pub sha1: Sha1,
    /// Under which name it is saved.
    pub name: FileName,
    /// How it is to be taken, and what it is said to be.
    pub disposition: Disposition,
    /// The decision that put the replica there, or a later one.
    pub generation: Generation,
    /// When the request must have begun, in ledger time.
    pub expires: Timestamp,
}

impl LinkTicket {
    fn message(&self) -> Vec<u8> {
        self.message_as(self.disposition.as_str(), self.disposition.media_type())
    }

    fn message_as(&self, disposition: &str, media_type: &str) -> Vec<u8> {
        Encoder::new("closeby link v1")
            .bytes(b"read")
            .bytes(self.node.as_bytes())
            .bytes(self.sha1.as_bytes())
            .bytes(self.name.as_str().as_bytes())
            .bytes(media_type.as_bytes())
            .bytes(disposition.as_bytes())
            .number(self.generation.epoch)
            .number(self.generation.number)
            .bytes(&self.expires.as_millis().to_be_bytes())
            .finish()
    }

    /// The link's path and query, to stand behind the node's public URL.
    #[must_use]
    pub fn sign(&self, key: &NodeKey) -> String {
        let mac = URL_SAFE_NO_PAD.encode(key.mac(&self.message()));
        let name = utf8_percent_encode(self.name.as_str(), ESCAPED);
        format!("/b/{}/{name}?{}", self.sha1, self.query(key.id(), &mac))
    }

    /// The one spelling of the query.
    fn query(&self, key: KeyId, mac: &str) -> String {
        format!(
            "v=1&k={key}&n={}&g={}&e={}&d={}&m={}&s={mac}",
            self.node,
            self.generation,
            self.expires.as_millis(),
            self.disposition.as_str(),
            utf8_percent_encode(self.disposition.media_type(), ESCAPED),
        )
    }

    /// Reads a link's parts as they came in the request, still percent-encoded, if the
    /// signature is of one of these keys, the link names this node, and `now` (in ledger
    /// time) is not past its expiry. The query has one spelling, the one that was signed; of
    /// the name, which programs on the way escape in their own manner, only the meaning counts.
    ///
    /// # Errors
    /// [`TicketError::Expired`] only for a right signature; everything else, unknown and
    /// repeated parameters among it, is one [`TicketError::Forbidden`].
    pub fn verify(
        sha1: &str,
        name: &str,
        query: &str,
        keys: &NodeKeys,
        node: NodeId,
        now: Timestamp,
    ) -> Result<Self, TicketError> {
        let ticket = Self::open(sha1, name, query, keys).ok_or(TicketError::Forbidden)?;
        if ticket.node != node {
            return Err(TicketError::Forbidden);
        }
        if now > ticket.expires {
            return Err(TicketError::Expired);
        }
        Ok(ticket)
    }

    fn open(sha1: &str, name: &str, query: &str, keys: &NodeKeys) -> Option<Self> {
        const NAMES: [&str; 8] = ["v", "k", "n", "g", "e", "d", "m", "s"];
        let mut values: [Option<Cow<'_, str>>; 8] = Default::default();
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=')?;
            let slot = values.get_mut(NAMES.iter().position(|known| *known == key)?)?;
            if slot.is_some() {
                return None;
            }
            *slot = Some(percent_decode_str(value).decode_utf8().ok()?);
        }
        let [
            Some(version),
            Some(key),
            Some(node),
            Some(generation),
            Some(expires),
            Some(disposition),
            Some(media),
            Some(mac),
        ] = values
        else {
            return None;
        };
        if version != "1" {
            return None;
        }
        let decoded_name = percent_decode_str(name).decode_utf8().ok()?;
        let ticket = Self {
            node: node.parse().ok()?,
            sha1: sha1.parse().ok()?,
            name: FileName::parse(&decoded_name).ok()?,
            disposition: Disposition::parse(&disposition, &media)?,
            generation: generation.parse().ok()?,
            expires: Timestamp::from_millis(expires.parse().ok()?),
        };
        let id = KeyId(key.parse().ok()?);
        let is_right = keys.get(id)?.verify(&ticket.message(), &URL_SAFE_NO_PAD.decode(mac.as_bytes()).ok()?);
        // Parsing is kinder than signing: it drops folders, spaces, signs, cases, escapes and
        // the order. Each such twin would be another entry in every cache.
        let is_plain = ticket.sha1.to_hex() == sha1
            && ticket.name.as_str() == decoded_name
            && ticket.query(id, &mac) == query;
        (is_right && is_plain).then_some(ticket)
    }
}

#[cfg(test)]
#[path = "link_tests.rs"]
mod tests;
