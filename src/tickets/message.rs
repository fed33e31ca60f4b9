//! Receipts, and the signatures on what nodes and central say to each other.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::encode::Encoder;
use super::key::NodeKey;
use crate::domain::NodeId;
use crate::wire::node::PrepareAnswer;

/// Signs a call of a node to central (`call` is its name, such as `heartbeat`); base64url.
#[must_use]
pub fn sign_call(key: &NodeKey, call: &str, node: NodeId, body: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(key.mac(&call_message(call, node, body)))
}

/// Whether a call's signature is right.
#[must_use]
pub fn verify_call(key: &NodeKey, call: &str, node: NodeId, body: &[u8], signature: &str) -> bool {
    verify(key, &call_message(call, node, body), signature)
}

/// Signs central's answer to the call that had this signature; base64url.
#[must_use]
pub fn sign_answer(key: &NodeKey, call: &str, call_signature: &str, body: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(key.mac(&answer_message(call, call_signature, body)))
}

/// Whether an answer's signature is right.
#[must_use]
pub fn verify_answer(key: &NodeKey, call: &str, call_signature: &str, body: &[u8], signature: &str) -> bool {
    verify(key, &answer_message(call, call_signature, body), signature)
}

fn verify(key: &NodeKey, message: &[u8], signature: &str) -> bool {
    URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| key.verify(message, &signature))
}

fn call_message(call: &str, node: NodeId, body: &[u8]) -> Vec<u8> {
    Encoder::new("closeby call v1").bytes(call.as_bytes()).bytes(node.as_bytes()).bytes(body).finish()
}

fn answer_message(call: &str, call_signature: &str, body: &[u8]) -> Vec<u8> {
    Encoder::new("closeby answer v1")
        .bytes(call.as_bytes())
        .bytes(call_signature.as_bytes())
        .bytes(body)
        .finish()
}

/// Signs a receipt: everything in it but the signature; hex.
#[must_use]
pub fn receipt_mac(key: &NodeKey, receipt: &PrepareAnswer) -> String {
    hex::encode(key.mac(&receipt_message(receipt)))
}

/// Whether a receipt is signed with this key.
#[must_use]
pub fn verify_receipt(key: &NodeKey, receipt: &PrepareAnswer) -> bool {
    key.id() == receipt.key_id && key.verify_hex(&receipt_message(receipt), &receipt.receipt)
}

fn receipt_message(receipt: &PrepareAnswer) -> Vec<u8> {
    let mut pieces = Vec::with_capacity(receipt.pieces.len() * 32);
    for piece in &receipt.pieces {
        pieces.extend_from_slice(piece.as_bytes());
    }
    Encoder::new("closeby receipt v1")
        .number(receipt.protocol.into())
        .bytes(receipt.node.as_bytes())
        .bytes(receipt.upload.as_bytes())
        .bytes(receipt.digests.sha1.as_bytes())
        .bytes(receipt.digests.sha256.as_bytes())
        .number(receipt.digests.size)
        .bytes(&pieces)
        .bytes(&receipt.verified_at.as_millis().to_be_bytes())
        .bytes(&receipt.decide_before.as_millis().to_be_bytes())
        .number(receipt.key_id.0.into())
        .finish()
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
