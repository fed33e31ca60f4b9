#![allow(clippy::unwrap_used)]
use super::*;
use std::collections::BTreeSet;

fn root() -> SigningRoot {
    "0123456789abcdef0123456789abcdef".parse().unwrap()
}

fn node() -> NodeId {
    NodeId::from_bytes([0xab; 16])
}

fn other() -> NodeId {
    NodeId::from_bytes([0xac; 16])
}

fn cluster() -> ClusterId {
    ClusterId::from_bytes([1; 16])
}

#[test]
fn hmac_gives_the_answers_of_rfc_4231() {
    let tag = mac(&[0x0b; 20], b"Hi There");
    assert_eq!(hex::encode(tag), "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    let tag = mac(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First");
    assert_eq!(hex::encode(tag), "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
    assert!(verify(&[0x0b; 20], b"Hi There", &mac(&[0x0b; 20], b"Hi There")));
    for length in 0..32 {
        let tag = mac(&[0x0b; 20], b"Hi There");
        assert!(!verify(&[0x0b; 20], b"Hi There", &tag[..length]), "a part of a MAC is none");
    }
}

#[test]
fn each_node_and_key_id_has_its_own_key() {
    let foreign: SigningRoot = "fedcba9876543210fedcba9876543210".parse().unwrap();
    let mut keys = BTreeSet::new();
    for root in [root(), foreign] {
        for node in [node(), other()] {
            for id in [0, 1, 2, u32::MAX] {
                let key = root.node_key(node, KeyId(id));
                assert_eq!(key, root.node_key(node, KeyId(id)));
                assert_eq!(NodeKey::from_bytes(key.id(), *key.expose_bytes()), key);
                keys.insert(*key.expose_bytes());
            }
        }
    }
    assert_eq!(keys.len(), 16);
}

#[test]
fn a_secret_is_long_enough_and_never_printed() {
    assert_eq!("x".repeat(31).parse::<SigningRoot>().unwrap_err(), InvalidKey::Short);
    assert_eq!(format!(" {} ", "x".repeat(31)).parse::<JoinSecret>().unwrap_err(), InvalidKey::Short);
    // The line break at the end of a file does not make another secret.
    let (plain, file) = ("s".repeat(32), format!("{}\n", "s".repeat(32)));
    let nonce = |text: &str| text.parse::<SigningRoot>().unwrap().join_nonce(node(), "n", 1);
    assert_eq!(nonce(&plain), nonce(&file));
    let key = root().node_key(node(), KeyId(7));
    let printed = format!("{:?} {:?} {key:?}", root(), "j".repeat(32).parse::<JoinSecret>().unwrap());
    assert!(!printed.contains("0123") && !printed.contains("jjj"), "{printed}");
    assert!(!printed.contains(&hex::encode(key.expose_bytes())[..8]));
}

#[test]
fn a_join_nonce_lives_from_its_making_to_its_age() {
    let nonce = root().join_nonce(node(), "aa", 1_000_000);
    let at = |now_ms| root().is_join_nonce(node(), "aa", &nonce, now_ms, 60_000);
    assert!(at(1_000_000) && at(1_060_000));
    assert!(!at(999_999), "from the future");
    assert!(!at(1_060_001));
    assert!(!at(i64::MAX) && !at(i64::MIN));
}

#[test]
fn a_join_nonce_is_for_one_node_and_cannot_be_changed() {
    let nonce = root().join_nonce(node(), "aa", 1_000_000);
    let is = |node, node_nonce, nonce: &str| root().is_join_nonce(node, node_nonce, nonce, 1_000_001, 60_000);
    assert!(is(node(), "aa", &nonce));
    assert!(!is(other(), "aa", &nonce));
    assert!(!is(node(), "ab", &nonce));
    let foreign: SigningRoot = "fedcba9876543210fedcba9876543210".parse().unwrap();
    assert!(!foreign.is_join_nonce(node(), "aa", &nonce, 1_000_001, 60_000));
    for at in 0..nonce.len() {
        for changed in "01aF+- .".chars() {
            let mut text = nonce.clone();
            text.replace_range(at..=at, &changed.to_string());
            assert!(text == nonce || !is(node(), "aa", &text), "{text}");
        }
        assert!(!is(node(), "aa", &nonce[..at]));
    }
    let (millis, tag) = nonce.split_once('.').unwrap();
    for text in [
        format!("+{nonce}"),
        format!("0{nonce}"),
        format!("{nonce}00"),
        format!("{millis}.{}", tag.to_uppercase()),
        format!("{}.{tag}", i64::MAX),
        format!("{}.{tag}", i64::MIN),
        ".".to_owned(),
        String::new(),
    ] {
        assert!(!is(node(), "aa", &text), "{text}");
    }
}

/// Checks a proof against the same with one of its parts changed.
fn is_for_these_parts_alone(
    prove: impl Fn(ClusterId, NodeId, &str, &str) -> String,
    is: impl Fn(ClusterId, NodeId, &str, &str, &str) -> bool,
) {
    let proof = prove(cluster(), node(), "aa", "bb");
    assert!(is(cluster(), node(), "aa", "bb", &proof));
    assert!(!is(ClusterId::from_bytes([2; 16]), node(), "aa", "bb", &proof));
    assert!(!is(cluster(), other(), "aa", "bb", &proof));
    assert!(!is(cluster(), node(), "ab", "bb", &proof));
    assert!(!is(cluster(), node(), "aa", "ba", &proof));
    assert!(!is(cluster(), node(), "aab", "b", &proof), "the border between the nonces counts");
    for at in 0..proof.len() {
        let mut changed = proof.clone();
        changed.replace_range(at..=at, if proof[at..].starts_with('0') { "1" } else { "0" });
        assert!(!is(cluster(), node(), "aa", "bb", &changed));
        assert!(!is(cluster(), node(), "aa", "bb", &proof[..at]));
    }
    assert!(!is(cluster(), node(), "aa", "bb", &proof.to_uppercase()));
}

#[test]
fn the_proofs_of_a_join_are_for_this_join_alone() {
    let secret: JoinSecret = "j".repeat(32).parse().unwrap();
    let key = root().node_key(node(), KeyId(1));
    is_for_these_parts_alone(
        |cluster, node, a, b| secret.prove(cluster, node, a, b),
        |cluster, node, a, b, proof| secret.is_proof(cluster, node, a, b, proof),
    );
    is_for_these_parts_alone(
        |cluster, node, a, b| key.prove_join(cluster, node, a, b),
        |cluster, node, a, b, proof| key.is_join_proof(cluster, node, a, b, proof),
    );
    // Another secret, another key id: another proof.
    let wrong: JoinSecret = "k".repeat(32).parse().unwrap();
    assert!(!wrong.is_proof(cluster(), node(), "aa", "bb", &secret.prove(cluster(), node(), "aa", "bb")));
    let next = root().node_key(node(), KeyId(2));
    assert!(!next.is_join_proof(
        cluster(),
        node(),
        "aa",
        "bb",
        &key.prove_join(cluster(), node(), "aa", "bb")
    ));
}

#[test]
fn the_proof_of_an_address_is_no_proof_of_anything_else() {
    let key = root().node_key(node(), KeyId(1));
    let proof = key.prove_address(node(), "aa");
    assert!(key.is_address_proof(node(), "aa", &proof));
    assert!(!key.is_address_proof(other(), "aa", &proof));
    assert!(!key.is_address_proof(node(), "ab", &proof));
    assert!(!key.is_address_proof(node(), "aa", &proof.to_uppercase()));
    assert!(!key.is_address_proof(node(), "aa", &key.prove_join(cluster(), node(), "aa", "")));
}

#[test]
fn a_secret_may_have_a_former_one_below_it() {
    let (new, old) = ("n".repeat(32), "o".repeat(40));
    let one: SigningRoot = new.parse().unwrap();
    let other: SigningRoot = old.parse().unwrap();
    let read = |text: &str| text.parse::<Rotating<SigningRoot>>();
    assert_eq!(read(&format!("{new}\n")).unwrap(), Rotating::from(one.clone()));
    for text in [
        format!("{new}\nformer: {old}\n"),
        format!("  {new}\r\n\n \tformer:{old}"),
        format!("{new}\nformer:\n{old}\n\n"),
    ] {
        let both = read(&text).unwrap();
        assert_eq!((both.current(), both.is_changing()), (&one, true), "{text:?}");
        assert_eq!(both.iter().collect::<Vec<_>>(), [&one, &other], "{text:?}");
    }
    // As before, a secret may have several lines, and any word in them.
    for text in [format!("{new}\n{old}\n"), format!("{new} former: {old}"), format!("former: {new}")] {
        let whole: SigningRoot = text.parse().unwrap();
        assert_eq!(read(&text).unwrap(), Rotating::from(whole), "{text:?}");
    }
    assert_eq!(read(&format!("{new}\nformer: short")), Err(InvalidKey::Short));
    assert_eq!(read(&format!("short\nformer: {old}")), Err(InvalidKey::Short));
    assert_eq!(read(&format!("{new}\nformer: {old}\nformer: {old}")), Err(InvalidKey::Many));
}

#[test]
fn a_key_is_found_by_its_id_under_both_roots() {
    let (new, old) = ("n".repeat(32), "o".repeat(32));
    let (one, other): (SigningRoot, SigningRoot) = (new.parse().unwrap(), old.parse().unwrap());
    let both: Rotating<SigningRoot> = format!("{new}\nformer: {old}").parse().unwrap();
    let found = |id| both.keys(node(), id).collect::<Vec<_>>();
    assert_ne!(one.key_id(), other.key_id());
    assert!(one.key_id() > KeyId(1 << 30), "no id that was counted");
    assert_eq!(found(one.key_id()), [one.node_key(node(), one.key_id())]);
    assert_eq!(found(other.key_id()), [other.node_key(node(), other.key_id())]);
    // The id of all keys before: it may be either's.
    let first = [one.node_key(node(), KeyId(1)), other.node_key(node(), KeyId(1))];
    assert_eq!(found(KeyId(1)), first);
    assert_eq!((both.is_current(node(), &first[0]), both.is_current(node(), &first[1])), (true, false));
    assert!(found(KeyId(2)).is_empty());
    assert_eq!(both.newest_key(node()), one.node_key(node(), one.key_id()));
    assert!(both.is_current(node(), &both.newest_key(node())));
}
