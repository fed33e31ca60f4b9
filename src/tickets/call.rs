//! A ticket for one call to a node, carried in a header.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use super::TicketError;
use super::encode::{Decoder, Encoder};
use super::key::{NodeKey, NodeKeys};
use crate::domain::{KeyId, NodeId, Timestamp, UploadId};

const LABEL: &str = "closeby call ticket v1";

/// What a ticket permits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Make a session, fill it (from the body or from another node), ask how far it is, and
    /// prepare it.
    Write,
    /// Read what a session has prepared or acknowledged.
    ReadSession,
    /// Put a prepared session's bytes at their final path.
    Finish,
    /// End a session.
    Abort,
    /// Read the inventory.
    Inventory,
}

impl Operation {
    const ALL: [(Self, u64); 5] =
        [(Self::Write, 1), (Self::ReadSession, 2), (Self::Finish, 3), (Self::Abort, 4), (Self::Inventory, 5)];

    fn code(self) -> u64 {
        Self::ALL.iter().find(|(operation, _)| *operation == self).map_or(0, |(_, code)| *code)
    }

    fn from_code(code: u64) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == code).map(|(operation, _)| *operation)
    }
}

/// Central's permission for one operation on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallTicket {
    /// What is permitted.
    pub operation: Operation,
    /// Where.
    pub node: NodeId,
    /// On which session; none where the operation is on none.
    pub upload: Option<UploadId>,
    /// The most bytes that a session may take.
    pub limit_bytes: u64,
    /// The size that the sender declared, in bytes.
    pub declared_bytes: Option<u64>,
    /// How long an unprepared session lives when nobody calls for it.
    pub idle: Duration,
    /// SHA-256 of the call's whole body, where that is a small document.
    pub body_sha256: Option<[u8; 32]>,
    /// When the call must have begun, in ledger time.
    pub expires: Timestamp,
}

impl CallTicket {
    /// A ticket without sizes and body, to be completed with `..`.
    #[must_use]
    pub const fn new(
        operation: Operation,
        node: NodeId,
        upload: Option<UploadId>,
        expires: Timestamp,
    ) -> Self {
        Self {
            operation,
            node,
            upload,
            limit_bytes: 0,
            declared_bytes: None,
            idle: Duration::ZERO,
            body_sha256: None,
            expires,
        }
    }

    /// The same for a call with this body.
    #[must_use]
    pub fn with_body(mut self, body: &[u8]) -> Self {
        self.body_sha256 = Some(Sha256::digest(body).into());
        self
    }

    /// Whether the ticket is for this body.
    #[must_use]
    pub fn permits_body(&self, body: &[u8]) -> bool {
        self.body_sha256.is_some_and(|expected| expected == <[u8; 32]>::from(Sha256::digest(body)))
    }

    fn encode(&self) -> Vec<u8> {
        Encoder::new(LABEL)
            .number(self.operation.code())
            .bytes(self.node.as_bytes())
            .optional(self.upload.as_ref().map(|upload| &upload.as_bytes()[..]))
            .number(self.limit_bytes)
            .optional(self.declared_bytes.map(u64::to_be_bytes).as_ref().map(|bytes| &bytes[..]))
            .number(u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX))
            .optional(self.body_sha256.as_ref().map(|digest| &digest[..]))
            .bytes(&self.expires.as_millis().to_be_bytes())
            .finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Decoder::new(bytes, LABEL)?;
        let ticket = Self {
            operation: Operation::from_code(fields.number()?)?,
            node: NodeId::from_bytes(fields.array()?),
            upload: match fields.optional()? {
                Some(upload) => Some(UploadId::from_bytes(upload.try_into().ok()?)),
                None => None,
            },
            limit_bytes: fields.number()?,
            declared_bytes: match fields.optional()? {
                Some(declared) => Some(u64::from_be_bytes(declared.try_into().ok()?)),
                None => None,
            },
            idle: Duration::from_millis(fields.number()?),
            body_sha256: match fields.optional()? {
                Some(digest) => Some(digest.try_into().ok()?),
                None => None,
            },
            expires: Timestamp::from_millis(i64::from_be_bytes(fields.array()?)),
        };
        fields.end()?;
        Some(ticket)
    }

    /// The header's value: version, key id, fields and signature.
    #[must_use]
    pub fn sign(&self, key: &NodeKey) -> String {
        let fields = self.encode();
        let mac = key.mac(&fields);
        format!("1.{}.{}.{}", key.id(), URL_SAFE_NO_PAD.encode(&fields), URL_SAFE_NO_PAD.encode(mac))
    }

    /// Reads a header's value, if it is signed with one of these keys, names this node and
    /// operation, and `now` (in ledger time) is not past its expiry.
    ///
    /// # Errors
    /// [`TicketError::Expired`] only for a right signature; everything else is one
    /// [`TicketError::Forbidden`].
    pub fn verify(
        header: &str,
        keys: &NodeKeys,
        node: NodeId,
        operation: Operation,
        now: Timestamp,
    ) -> Result<Self, TicketError> {
        let ticket = Self::open(header, keys).ok_or(TicketError::Forbidden)?;
        if ticket.node != node || ticket.operation != operation {
            return Err(TicketError::Forbidden);
        }
        if now > ticket.expires {
            return Err(TicketError::Expired);
        }
        Ok(ticket)
    }

    /// The key that a header says it is signed with.
    #[must_use]
    pub fn key_id(header: &str) -> Option<KeyId> {
        Some(KeyId(header.split('.').nth(1)?.parse().ok()?))
    }

    fn open(header: &str, keys: &NodeKeys) -> Option<Self> {
        let mut parts = header.split('.');
        let (version, key, fields, mac) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != "1" || parts.next().is_some() {
            return None;
        }
        let id = KeyId(key.parse().ok()?);
        // One spelling: `+1` and `01` are no key ids.
        let key = keys.get(id).filter(|_| id.to_string() == key)?;
        let fields = URL_SAFE_NO_PAD.decode(fields).ok()?;
        if !key.verify(&fields, &URL_SAFE_NO_PAD.decode(mac).ok()?) {
            return None;
        }
        Self::decode(&fields)
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
