#![allow(clippy::unwrap_used)]
use super::*;
use crate::domain::{BlobDigests, KeyId, Sha1, Sha256, Timestamp, UploadId};
use proptest::prelude::*;

fn node() -> NodeId {
    NodeId::from_bytes([0xab; 16])
}

fn key(id: u32) -> NodeKey {
    NodeKey::from_bytes(KeyId(id), [u8::try_from(id).unwrap(); 32])
}

fn receipt() -> PrepareAnswer {
    let mut receipt = PrepareAnswer {
        protocol: 1,
        node: node(),
        upload: UploadId::from_bytes([1; 16]),
        digests: BlobDigests { sha1: Sha1::new([2; 20]), sha256: Sha256::new([3; 32]), size: 9 << 20 },
        pieces: vec![Sha256::new([4; 32]), Sha256::new([5; 32]), Sha256::new([6; 32])],
        verified_at: Timestamp::from_millis(1000),
        decide_before: Timestamp::from_millis(2000),
        key_id: KeyId(1),
        receipt: String::new(),
    };
    receipt.receipt = receipt_mac(&key(1), &receipt);
    receipt
}

#[test]
fn a_receipt_is_signed_in_every_field() {
    assert!(verify_receipt(&key(1), &receipt()));
    let changes: [fn(&mut PrepareAnswer); 16] = [
        |receipt| receipt.protocol = 2,
        |receipt| receipt.node = NodeId::from_bytes([0xac; 16]),
        |receipt| receipt.upload = UploadId::from_bytes([2; 16]),
        |receipt| receipt.digests.sha1 = Sha1::new([3; 20]),
        |receipt| receipt.digests.sha256 = Sha256::new([2; 32]),
        |receipt| receipt.digests.size += 1,
        |receipt| receipt.pieces[0] = Sha256::new([9; 32]),
        |receipt| receipt.pieces[2] = Sha256::new([9; 32]),
        |receipt| receipt.pieces.swap(0, 1),
        |receipt| receipt.pieces.truncate(2),
        |receipt| receipt.pieces.push(Sha256::new([0; 32])),
        |receipt| receipt.verified_at = Timestamp::from_millis(1001),
        |receipt| receipt.decide_before = Timestamp::from_millis(2001),
        |receipt| std::mem::swap(&mut receipt.verified_at, &mut receipt.decide_before),
        |receipt| receipt.key_id = KeyId(2),
        |receipt| receipt.receipt.clear(),
    ];
    for (at, change) in changes.iter().enumerate() {
        let mut changed = receipt();
        change(&mut changed);
        assert!(!verify_receipt(&key(1), &changed), "{at}");
        assert!(!verify_receipt(&key(2), &changed), "{at}");
    }
    assert!(!verify_receipt(&key(2), &receipt()));
}

#[test]
fn a_receipts_signature_has_one_spelling() {
    let right = receipt();
    for at in 0..right.receipt.len() {
        for other in ["0", "f", "F", " ", ""] {
            let mut changed = receipt();
            if changed.receipt[at..=at] != *other {
                changed.receipt.replace_range(at..=at, other);
                assert!(!verify_receipt(&key(1), &changed), "{at} {other}");
            }
        }
    }
    for other in [right.receipt.to_uppercase(), right.receipt.clone() + "00", right.receipt[..32].to_owned()]
    {
        assert!(!verify_receipt(&key(1), &PrepareAnswer { receipt: other, ..receipt() }));
    }
}

#[test]
fn a_receipt_survives_the_wire() {
    let json = serde_json::to_string(&receipt()).unwrap();
    assert!(verify_receipt(&key(1), &serde_json::from_str(&json).unwrap()));
}

#[test]
fn a_call_is_signed_with_its_name_its_node_and_its_body() {
    let signature = sign_call(&key(1), "heartbeat", node(), b"body");
    let check = |key: &NodeKey, call, node, body: &[u8]| verify_call(key, call, node, body, &signature);
    assert!(check(&key(1), "heartbeat", node(), b"body"));
    assert!(!check(&key(2), "heartbeat", node(), b"body"));
    assert!(!check(&key(1), "confirm", node(), b"body"));
    assert!(!check(&key(1), "heartbeat", NodeId::from_bytes([1; 16]), b"body"));
    assert!(!check(&key(1), "heartbeat", node(), b"body "));
    assert!(!check(&key(1), "heartbeat", node(), b""));
}

#[test]
fn an_answer_is_signed_for_the_call_that_it_answers() {
    let call = sign_call(&key(1), "heartbeat", node(), b"body");
    let signature = sign_answer(&key(1), "heartbeat", &call, b"answer");
    let check =
        |key: &NodeKey, name, call: &str, body: &[u8]| verify_answer(key, name, call, body, &signature);
    assert!(check(&key(1), "heartbeat", &call, b"answer"));
    assert!(!check(&key(2), "heartbeat", &call, b"answer"));
    assert!(!check(&key(1), "outcome", &call, b"answer"));
    assert!(!check(&key(1), "heartbeat", &call, b"other"));
    // An earlier answer does not serve for a later call.
    let later = sign_call(&key(1), "heartbeat", node(), b"body2");
    assert!(!check(&key(1), "heartbeat", &later, b"answer"));
    // Nor a call's signature for its answer.
    assert!(!verify_answer(&key(1), "heartbeat", &call, b"body", &call));
}

proptest! {
    #[test]
    fn any_change_of_a_signature_is_seen(call in "[a-z]{1,9}", body: Vec<u8>, at: prop::sample::Index, other in "[A-Za-z0-9_=+/ .-]") {
        let signature = sign_call(&key(1), &call, node(), &body);
        let mut changed = signature.clone();
        let at = at.index(changed.len());
        changed.replace_range(at..=at, &other);
        prop_assert!(verify_call(&key(1), &call, node(), &body, &signature));
        prop_assert_eq!(verify_call(&key(1), &call, node(), &body, &changed), changed == signature);
        prop_assert!(!verify_call(&key(1), &call, node(), &body, &signature[..at]));
        let longer = signature + &other;
        prop_assert!(!verify_call(&key(1), &call, node(), &body, &longer));
    }

    #[test]
    fn the_border_between_name_and_body_counts(a in "[a-z]{1,6}", b in "[a-z]{1,6}") {
        let signature = sign_answer(&key(1), &a, &b, b"x");
        let shifted = format!("{a}{b}");
        let longer = format!("{b}x");
        prop_assert!(!verify_answer(&key(1), &shifted, "", b"x", &signature));
        prop_assert!(!verify_answer(&key(1), &a, &longer, b"", &signature));
    }
}
