//! A node's key on its way to the node: sealed with ChaCha20-Poly1305 (RFC 8439) under a
//! key that only the two sides of this one join can derive.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

use super::key::{JoinSecret, NodeKey};
use crate::domain::{ClusterId, KeyId, NodeId};

/// A sealed key that cannot be opened: the join secrets differ, or it was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the sealed key cannot be opened: do both sides have the same join secret?")]
pub struct SealError;

/// A sealing key serves for one message (one join, one key id), so the nonce can be fixed
/// (RFC 8439 §4).
fn aead(key: &[u8; 32]) -> Result<LessSafeKey, SealError> {
    UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new).map_err(|_| SealError)
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Seals a node's key; hex.
///
/// # Errors
/// When the cipher refuses, which it has no reason to.
pub fn seal_key(
    secret: &JoinSecret,
    cluster: ClusterId,
    node: NodeId,
    node_nonce: &str,
    central_nonce: &str,
    key: &NodeKey,
) -> Result<String, SealError> {
    let sealing = aead(&secret.sealing_key(cluster, node, node_nonce, central_nonce, key.id()))?;
    let mut bytes = key.expose_bytes().to_vec();
    let aad = key.id().0.to_be_bytes();
    sealing.seal_in_place_append_tag(nonce(), Aad::from(aad), &mut bytes).map_err(|_| SealError)?;
    Ok(hex::encode(bytes))
}

/// Opens a sealed key.
///
/// # Errors
/// When it was sealed under another secret, for another join or another key id.
pub fn open_key(
    secret: &JoinSecret,
    cluster: ClusterId,
    node: NodeId,
    node_nonce: &str,
    central_nonce: &str,
    id: KeyId,
    sealed: &str,
) -> Result<NodeKey, SealError> {
    let opening = aead(&secret.sealing_key(cluster, node, node_nonce, central_nonce, id))?;
    let mut bytes = hex::decode(sealed).map_err(|_| SealError)?;
    let key =
        opening.open_in_place(nonce(), Aad::from(id.0.to_be_bytes()), &mut bytes).map_err(|_| SealError)?;
    Ok(NodeKey::from_bytes(id, (&*key).try_into().map_err(|_| SealError)?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_sealed_key_opens_for_this_join_alone() {
        let secret: JoinSecret = "s".repeat(32).parse().unwrap();
        let (cluster, node) = (ClusterId::random(), NodeId::random());
        let key = NodeKey::from_bytes(KeyId(3), [7; 32]);
        let sealed = seal_key(&secret, cluster, node, "a", "b", &key).unwrap();
        let open = |secret: &JoinSecret, cluster, node, a, b, id, sealed: &str| {
            open_key(secret, cluster, node, a, b, id, sealed)
        };
        assert_eq!(open(&secret, cluster, node, "a", "b", KeyId(3), &sealed).unwrap(), key);
        let other: JoinSecret = "t".repeat(32).parse().unwrap();
        assert!(open(&other, cluster, node, "a", "b", KeyId(3), &sealed).is_err());
        assert!(open(&secret, ClusterId::random(), node, "a", "b", KeyId(3), &sealed).is_err());
        assert!(open(&secret, cluster, NodeId::random(), "a", "b", KeyId(3), &sealed).is_err());
        assert!(open(&secret, cluster, node, "c", "b", KeyId(3), &sealed).is_err());
        assert!(open(&secret, cluster, node, "a", "c", KeyId(3), &sealed).is_err());
        assert!(open(&secret, cluster, node, "a", "b", KeyId(4), &sealed).is_err());
        assert!(open(&secret, cluster, node, "a", "b", KeyId(3), "00").is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(open(&secret, cluster, node, "a", "b", KeyId(3), &changed).is_err(), "{at}");
        }
    }

    #[test]
    fn two_keys_of_one_join_are_not_sealed_alike() {
        // The same join asked again after a rotation: under one sealing key and one nonce,
        // the two texts would tell the difference of the two keys.
        let secret: JoinSecret = "s".repeat(32).parse().unwrap();
        let (cluster, node) = (ClusterId::random(), NodeId::random());
        let seal = |id| {
            let key = NodeKey::from_bytes(KeyId(id), [7; 32]);
            seal_key(&secret, cluster, node, "a", "b", &key).unwrap()
        };
        assert_ne!(seal(1)[..64], seal(2)[..64]);
    }
}
