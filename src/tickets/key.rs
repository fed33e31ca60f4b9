//! The two secrets and the keys that come from them.

use std::str::FromStr;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::encode::Encoder;
use crate::domain::{ClusterId, KeyId, NodeId};

/// A text that is no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Too short to be a secret.
    #[error("a secret has at least 32 characters: make one with `openssl rand -hex 32`")]
    Short,
    /// More than two of them.
    #[error("one `former:` secret stands below the one in use, and no more: take the oldest away")]
    Many,
}

/// The id of the key that every node had before the signing root could be changed. It says nothing
/// of the root, so it is tried with each.
const FIRST_KEY: KeyId = KeyId(1);

/// What stands before the former secret, on a line of its own. A mark, not the bare second line: a
/// secret was always allowed to have line breaks in it.
const FORMER: &str = "former:";

/// An HMAC-SHA256 of a message.
pub(super) fn mac(key: &[u8], message: &[u8]) -> [u8; 32] {
    hmac(key).chain_update(message).finalize().into_bytes().into()
}

/// Whether a MAC is right, in constant time.
pub(super) fn verify(key: &[u8], message: &[u8], mac: &[u8]) -> bool {
    hmac(key).chain_update(message).verify_slice(mac).is_ok()
}

/// Whether a MAC in lower-case hex is right. Hex has one spelling here, as everything signed
/// has: otherwise a changed message could still be a right one.
pub(super) fn verify_hex(key: &[u8], message: &[u8], mac: &str) -> bool {
    !mac.bytes().any(|byte| byte.is_ascii_uppercase())
        && hex::decode(mac).is_ok_and(|mac| verify(key, message, &mac))
}

#[allow(clippy::expect_used)]
fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes a key of any length")
}

macro_rules! secret {
    ($name:ident, $doc:literal) => {
        #[doc = $doc]
        #[doc = " Never printed: it has no text form."]
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(Vec<u8>);

        impl FromStr for $name {
            type Err = InvalidKey;

            /// Takes a text of at least 32 characters, without the white space around it.
            fn from_str(text: &str) -> Result<Self, InvalidKey> {
                let text = text.trim();
                if text.len() < 32 { Err(InvalidKey::Short) } else { Ok(Self(text.as_bytes().to_vec())) }
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(hidden)"))
            }
        }
    };
}

secret!(SigningRoot, "The secret of the centrals, from which every node's key is derived.");
secret!(JoinSecret, "The secret that proves the right to become a node.");

/// A secret that can be changed while it is in use: the one that counts from now on, and the one
/// before, which is still believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotating<S> {
    current: S,
    former: Option<S>,
}

impl<S> From<S> for Rotating<S> {
    fn from(current: S) -> Self {
        Self { current, former: None }
    }
}

impl<S: FromStr<Err = InvalidKey>> FromStr for Rotating<S> {
    type Err = InvalidKey;

    /// Takes a secret and, below it, a line `former: …` with the one before.
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let (current, former) = Self::split(text)?;
        Ok(Self { current: current.parse()?, former: former.map(str::parse).transpose()? })
    }
}

impl<S> Rotating<S> {
    /// A text's two parts: the secret in use, and the former one where there is one.
    ///
    /// # Errors
    /// [`InvalidKey::Many`].
    pub fn split(text: &str) -> Result<(&str, Option<&str>), InvalidKey> {
        // At the beginning of a line: in the middle of one, it is the secret's own.
        let begins_line = |at: &usize| text[..*at].trim_end_matches([' ', '\t']).ends_with('\n');
        let mut marks = text.match_indices(FORMER).map(|(at, _)| at).filter(begins_line);
        match (marks.next(), marks.next()) {
            (None, _) => Ok((text, None)),
            (Some(at), None) => Ok((&text[..at], Some(&text[at + FORMER.len()..]))),
            (Some(_), Some(_)) => Err(InvalidKey::Many),
        }
    }

    /// The one that counts from now on.
    #[must_use]
    pub const fn current(&self) -> &S {
        &self.current
    }

    /// Whether there is a former one.
    #[must_use]
    pub const fn is_changing(&self) -> bool {
        self.former.is_some()
    }

    /// Both, the current one first.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        std::iter::once(&self.current).chain(&self.former)
    }
}

impl Rotating<SigningRoot> {
    /// The key that a node is given now.
    #[must_use]
    pub fn newest_key(&self, node: NodeId) -> NodeKey {
        self.current.node_key(node, self.current.key_id())
    }

    /// The node's keys that can have this id: of the root whose id it is, or of each root for the id
    /// from before roots had any.
    pub fn keys(&self, node: NodeId, id: KeyId) -> impl Iterator<Item = NodeKey> {
        let may_be = move |root: &&SigningRoot| id == FIRST_KEY || id == root.key_id();
        self.iter().filter(may_be).map(move |root| root.node_key(node, id))
    }

    /// Whether a key comes from the root that counts from now on.
    #[must_use]
    pub fn is_current(&self, node: NodeId, key: &NodeKey) -> bool {
        // Not a secret comparison: both keys were derived here.
        self.current.node_key(node, key.id()) == *key
    }
}

impl SigningRoot {
    /// The id of the keys that come from this root. It is derived from the root itself, so that it
    /// tells two roots apart and needs to be kept nowhere.
    #[must_use]
    pub fn key_id(&self) -> KeyId {
        let tag = mac(&self.0, &Encoder::new("closeby key id v1").finish());
        // Never an id that was counted.
        KeyId(u32::from_be_bytes([tag[0], tag[1], tag[2], tag[3]]) | 1 << 31)
    }

    /// A node's own key, of one key id. No node can derive another's.
    #[must_use]
    pub fn node_key(&self, node: NodeId, id: KeyId) -> NodeKey {
        let message = Encoder::new("closeby node key v1").bytes(node.as_bytes()).number(id.0.into()).finish();
        NodeKey { id, bytes: mac(&self.0, &message) }
    }

    /// Central's nonce for a join: its own signature over who asks and when, so that it
    /// need not be kept. `millis` is the ledger's time.
    #[must_use]
    pub fn join_nonce(&self, node: NodeId, node_nonce: &str, millis: i64) -> String {
        let message = Self::join_nonce_message(node, node_nonce, millis);
        format!("{millis}.{}", hex::encode(mac(&self.0, &message)))
    }

    /// Whether this is our nonce for that node, made at most `max_age_ms` before `now_ms`.
    #[must_use]
    pub fn is_join_nonce(
        &self,
        node: NodeId,
        node_nonce: &str,
        nonce: &str,
        now_ms: i64,
        max_age_ms: i64,
    ) -> bool {
        let Some((millis, tag)) = nonce.split_once('.') else { return false };
        let Ok(made_ms) = millis.parse::<i64>() else { return false };
        let age_ms = now_ms.saturating_sub(made_ms);
        (0..=max_age_ms).contains(&age_ms)
            && made_ms.to_string() == millis
            && verify_hex(&self.0, &Self::join_nonce_message(node, node_nonce, made_ms), tag)
    }

    fn join_nonce_message(node: NodeId, node_nonce: &str, millis: i64) -> Vec<u8> {
        Encoder::new("closeby join nonce v1")
            .bytes(node.as_bytes())
            .bytes(node_nonce.as_bytes())
            .bytes(&millis.to_be_bytes())
            .finish()
    }
}

/// What both sides of a join sign.
fn join_message(
    label: &str,
    cluster: ClusterId,
    node: NodeId,
    node_nonce: &str,
    central_nonce: &str,
) -> Vec<u8> {
    Encoder::new(label)
        .bytes(cluster.as_bytes())
        .bytes(node.as_bytes())
        .bytes(node_nonce.as_bytes())
        .bytes(central_nonce.as_bytes())
        .finish()
}

impl JoinSecret {
    /// The node's proof that it knows the join secret; hex.
    #[must_use]
    pub fn prove(&self, cluster: ClusterId, node: NodeId, node_nonce: &str, central_nonce: &str) -> String {
        hex::encode(mac(&self.0, &join_message("closeby join v1", cluster, node, node_nonce, central_nonce)))
    }

    /// Whether that proof is right.
    #[must_use]
    pub fn is_proof(
        &self,
        cluster: ClusterId,
        node: NodeId,
        node_nonce: &str,
        central_nonce: &str,
        proof: &str,
    ) -> bool {
        let message = join_message("closeby join v1", cluster, node, node_nonce, central_nonce);
        verify_hex(&self.0, &message, proof)
    }

    /// The key that seals the answer to a join. It differs with the key id that is sealed:
    /// the same join asked twice, with a rotation between, must not seal two keys under one.
    pub(super) fn sealing_key(
        &self,
        cluster: ClusterId,
        node: NodeId,
        node_nonce: &str,
        central_nonce: &str,
        id: KeyId,
    ) -> [u8; 32] {
        let join = join_message("closeby join seal v1", cluster, node, node_nonce, central_nonce);
        mac(&self.0, &Encoder::new("closeby join seal key v1").bytes(&join).number(id.0.into()).finish())
    }
}

/// One node's own key.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeKey {
    id: KeyId,
    bytes: [u8; 32],
}

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NodeKey({}, hidden)", self.id)
    }
}

impl NodeKey {
    /// From its stored form.
    #[must_use]
    pub const fn from_bytes(id: KeyId, bytes: [u8; 32]) -> Self {
        Self { id, bytes }
    }

    /// To store it; for a file of mode 0600 and nothing else.
    #[must_use]
    pub const fn expose_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Which of the keys that can live at once this is.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// HMAC of a message of this module.
    pub(super) fn mac(&self, message: &[u8]) -> [u8; 32] {
        mac(&self.bytes, message)
    }

    /// Checks it in constant time.
    pub(super) fn verify(&self, message: &[u8], mac: &[u8]) -> bool {
        verify(&self.bytes, message, mac)
    }

    /// The same for a MAC in lower-case hex.
    pub(super) fn verify_hex(&self, message: &[u8], mac: &str) -> bool {
        verify_hex(&self.bytes, message, mac)
    }

    /// The proof of a known node that it has its key, at a join; hex.
    #[must_use]
    pub fn prove_join(
        &self,
        cluster: ClusterId,
        node: NodeId,
        node_nonce: &str,
        central_nonce: &str,
    ) -> String {
        hex::encode(self.mac(&join_message("closeby rejoin v1", cluster, node, node_nonce, central_nonce)))
    }

    /// Whether that proof is right.
    #[must_use]
    pub fn is_join_proof(
        &self,
        cluster: ClusterId,
        node: NodeId,
        node_nonce: &str,
        central_nonce: &str,
        proof: &str,
    ) -> bool {
        let message = join_message("closeby rejoin v1", cluster, node, node_nonce, central_nonce);
        self.verify_hex(&message, proof)
    }

    /// The proof that the key is at the address where central asked for it; hex.
    #[must_use]
    pub fn prove_address(&self, node: NodeId, nonce: &str) -> String {
        hex::encode(self.mac(&Self::address_message(node, nonce)))
    }

    /// Whether that proof is right.
    #[must_use]
    pub fn is_address_proof(&self, node: NodeId, nonce: &str, proof: &str) -> bool {
        self.verify_hex(&Self::address_message(node, nonce), proof)
    }

    fn address_message(node: NodeId, nonce: &str) -> Vec<u8> {
        Encoder::new("closeby address v1").bytes(node.as_bytes()).bytes(nonce.as_bytes()).finish()
    }
}

/// The keys that a node takes tickets of: its own, and while it is changed the ones before it.
#[derive(Debug, Clone, Default)]
pub struct NodeKeys(Vec<NodeKey>);

impl NodeKeys {
    /// With these keys, the newest last.
    #[must_use]
    pub const fn new(keys: Vec<NodeKey>) -> Self {
        Self(keys)
    }

    /// The key of an id.
    #[must_use]
    pub fn get(&self, id: KeyId) -> Option<&NodeKey> {
        self.0.iter().find(|key| key.id == id)
    }

    /// The newest key, which signs.
    #[must_use]
    pub fn newest(&self) -> Option<&NodeKey> {
        self.0.last()
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
