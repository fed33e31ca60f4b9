//! However the bytes are cut into calls, the answer is that of the plain hashes: sizes and cuts around every
//! boundary.

use std::sync::LazyLock;

use closeby_hash::{BlobHasher, Digests};
use proptest::prelude::*;

use crate::reference::{PIECE, content, cut, hashed, plain};

type Answer = (Digests, Vec<[u8; 32]>);

/// Just below, at and above each boundary, with the number of pieces.
const SIZES: [(usize, usize); 9] = [
    (0, 0),
    (1, 1),
    (PIECE - 1, 1),
    (PIECE, 1),
    (PIECE + 1, 2),
    (2 * PIECE - 1, 2),
    (2 * PIECE, 2),
    (2 * PIECE + 1, 3),
    (3 * PIECE, 3),
];

static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| content(3 * PIECE));

/// The plain answers of [`SIZES`], computed once for all cases.
static PLAIN: LazyLock<Vec<(usize, Answer)>> =
    LazyLock::new(|| SIZES.iter().map(|(size, _)| (*size, plain(&CONTENT[..*size]))).collect());

#[test]
fn a_blob_has_as_many_pieces_as_its_size_needs() {
    for (size, count) in SIZES {
        let (digests, pieces) = hashed([&CONTENT[..size]]).unwrap();
        assert_eq!(digests.size, size as u64);
        assert_eq!(pieces.len(), count, "{size} bytes");
    }
}

#[test]
fn one_call_gives_the_plain_answer_at_every_boundary() {
    for (size, expected) in PLAIN.iter() {
        assert_eq!(&hashed([&CONTENT[..*size]]).unwrap(), expected, "{size} bytes");
    }
}

#[test]
fn a_piece_is_given_with_its_last_byte_and_the_size_follows() {
    let mut pieces = Vec::new();
    let mut hasher = BlobHasher::new();
    assert_eq!(hasher.size(), 0);
    hasher.update(&CONTENT[..PIECE - 1], &mut pieces);
    assert_eq!((hasher.size(), pieces.len()), (PIECE as u64 - 1, 0));
    hasher.update(&CONTENT[PIECE - 1..PIECE], &mut pieces);
    assert_eq!((hasher.size(), pieces.len()), (PIECE as u64, 1));
    hasher.update(&[], &mut pieces);
    assert_eq!((hasher.size(), pieces.len()), (PIECE as u64, 1));
    hasher.update(&CONTENT[PIECE..=PIECE], &mut pieces);
    assert_eq!((hasher.size(), pieces.len()), (PIECE as u64 + 1, 1));
}

#[test]
fn pieces_are_appended_to_what_the_caller_holds() {
    let mut pieces = vec![[7; 32]];
    let mut hasher = BlobHasher::new();
    hasher.update(&CONTENT[..=PIECE], &mut pieces);
    hasher.finish(&mut pieces).unwrap();
    assert_eq!(pieces[0], [7; 32]);
    assert_eq!(pieces[1..], plain(&CONTENT[..=PIECE]).1);
}

/// Anywhere, or within two SHA blocks of a boundary, where mistakes live.
fn offset() -> impl Strategy<Value = usize> {
    prop_oneof![
        0..=3 * PIECE,
        (prop_oneof![Just(0), Just(PIECE), Just(2 * PIECE)], -130_i64..=130)
            .prop_map(|(boundary, by)| boundary.saturating_add_signed(by as isize)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_around_the_boundaries_gives_the_plain_answer(
        which in 0..SIZES.len(),
        offsets in prop::collection::vec(offset(), 0..12),
    ) {
        let (size, expected) = &PLAIN[which];
        let answer = hashed(cut(&CONTENT[..*size], &offsets)).unwrap();
        prop_assert_eq!(&answer, expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_any_small_content_gives_the_plain_answer(
        content in prop::collection::vec(any::<u8>(), 0..400),
        offsets in prop::collection::vec(0_usize..400, 0..12),
    ) {
        prop_assert_eq!(hashed(cut(&content, &offsets)).unwrap(), plain(&content));
    }
}
