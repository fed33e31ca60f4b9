//! The plain SHA-1 against the published answers and against the `sha1` crate.

use closeby_hash::Sha1Hasher;
use proptest::prelude::*;

use crate::reference::content;

fn digest(message: &[u8]) -> [u8; 20] {
    let mut hasher = Sha1Hasher::new();
    hasher.update(message);
    hasher.finish()
}

fn plain(message: &[u8]) -> [u8; 20] {
    use sha1::Digest as _;
    sha1::Sha1::digest(message).into()
}

#[track_caller]
fn check(message: &[u8], expected: &str) {
    let hex: String = digest(message).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected);
}

#[test]
fn published_answers() {
    check(b"", "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    check(b"abc", "a9993e364706816aba3e25717850c26c9cd0d89d");
    check(
        b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
        "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
    );
    check(
        b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
        "a49b2446a02c645bf419f995b67091253a04a259",
    );
    check(&[b'a'; 1_000_000], "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

#[test]
fn every_length_around_a_few_blocks() {
    let content = content(300);
    for length in 0..=content.len() {
        assert_eq!(digest(&content[..length]), plain(&content[..length]), "{length} bytes");
    }
}

#[test]
fn a_length_of_more_than_32_bits() {
    let zeros = vec![0; 1 << 20];
    let (mut ours, mut theirs) = (Sha1Hasher::default(), <sha1::Sha1 as sha1::Digest>::new());
    // 513 MiB: more bits than fit into 32.
    for _ in 0..513 {
        ours.update(&zeros);
        sha1::Digest::update(&mut theirs, &zeros);
    }
    assert_eq!(ours.finish(), <[u8; 20]>::from(sha1::Digest::finalize(theirs)));
}

proptest! {
    #[test]
    fn equals_the_sha1_crate(content in prop::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert_eq!(digest(&content), plain(&content));
    }

    #[test]
    fn cuts_make_no_difference(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)) {
        let mut hasher = Sha1Hasher::new();
        for part in &parts {
            hasher.update(part);
        }
        prop_assert_eq!(hasher.finish(), plain(&parts.concat()));
    }

    #[test]
    fn a_clone_is_a_checkpoint(before in prop::collection::vec(any::<u8>(), 0..300), after in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut hasher = Sha1Hasher::new();
        hasher.update(&before);
        let mut checkpoint = hasher.clone();
        hasher.update(b"elsewhere");
        checkpoint.update(&after);
        prop_assert_eq!(checkpoint.finish(), plain(&[before, after].concat()));
    }
}
