//! The example messages of FIPS 180 with the values that NIST publishes for them.

use crate::reference::hashed;

#[track_caller]
fn check(message: &[u8], sha1: &str, sha256: &str) {
    let (digests, pieces) = hashed([message]).unwrap();
    assert_eq!(hex(&digests.sha1), sha1);
    assert_eq!(hex(&digests.sha256), sha256);
    assert_eq!(digests.size, message.len() as u64);
    let expected: &[[u8; 32]] = if message.is_empty() { &[] } else { &[digests.sha256] };
    assert_eq!(pieces, expected);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn empty_message() {
    check(
        b"",
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    );
}

#[test]
fn abc() {
    check(
        b"abc",
        "a9993e364706816aba3e25717850c26c9cd0d89d",
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    );
}

#[test]
fn message_of_448_bits() {
    check(
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
    );
}

#[test]
fn message_of_896_bits() {
    check(
        b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        "a49b2446a02c645bf419f995b67091253a04a259",
        "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1",
    );
}

#[test]
fn a_million_times_a() {
    check(
        &[b'a'; 1_000_000],
        "34aa973cd4c4daa4f61eeb2bdbad27316534016f",
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    );
}
