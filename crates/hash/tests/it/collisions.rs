//! The two public SHA-1 collisions are refused, whatever follows them and however they arrive.

use closeby_hash::{BlobHasher, Collision};

use crate::reference::{PIECE, hashed, plain};

const PAIRS: [(&str, [&[u8]; 2]); 2] = [
    ("SHAttered", [include_bytes!("../data/shattered-1.bin"), include_bytes!("../data/shattered-2.bin")]),
    ("SHA-mbles", [include_bytes!("../data/sha-mbles-1.bin"), include_bytes!("../data/sha-mbles-2.bin")]),
];

#[test]
fn the_samples_do_collide() {
    for (attack, [one, two]) in PAIRS {
        let (one, two) = (plain(one).0, plain(two).0);
        assert_eq!(one.sha1, two.sha1, "{attack}");
        assert_ne!(one.sha256, two.sha256, "{attack}");
    }
}

#[test]
fn both_halves_are_refused_alone_and_with_more_behind_them() {
    for (attack, pair) in PAIRS {
        for half in pair {
            for more in [0, 1, 63, 64, 65, PIECE - half.len(), PIECE] {
                let tail = vec![0x2e; more];
                assert_eq!(hashed([half, &tail]), Err(Collision), "{attack} and {more} bytes");
            }
        }
    }
}

#[test]
fn an_attack_is_refused_however_it_is_cut() {
    for (attack, pair) in PAIRS {
        for half in pair {
            assert_eq!(hashed(half.chunks(1)), Err(Collision), "{attack}");
            assert_eq!(hashed(half.chunks(65)), Err(Collision), "{attack}");
        }
    }
}

#[test]
fn a_checkpoint_does_not_forget_an_attack() {
    for (attack, [half, _]) in PAIRS {
        for at in [half.len() - 1, half.len()] {
            let mut pieces = Vec::new();
            let mut hasher = BlobHasher::new();
            hasher.update(&half[..at], &mut pieces);
            let mut resumed = hasher.clone();
            resumed.update(&half[at..], &mut pieces);
            resumed.update(b"more", &mut pieces);
            assert_eq!(resumed.finish(&mut pieces), Err(Collision), "{attack} cut at {at}");
        }
    }
}

#[test]
fn a_refusal_adds_no_piece() {
    let mut pieces = vec![[7; 32]];
    let mut hasher = BlobHasher::new();
    hasher.update(PAIRS[0].1[0], &mut pieces);
    assert_eq!(hasher.finish(&mut pieces), Err(Collision));
    assert_eq!(pieces, [[7; 32]]);
}

/// What only resembles an attack has a sound SHA-1 and is welcome.
#[test]
fn an_attack_that_is_incomplete_or_out_of_place_is_accepted() {
    for (attack, pair) in PAIRS {
        for half in pair {
            let cut_short = &half[..half.len() - 1];
            assert_eq!(hashed([cut_short]), Ok(plain(cut_short)), "{attack} without its last byte");

            for before in [1, 64] {
                let moved = [&vec![0; before][..], half].concat();
                assert_eq!(hashed([&moved[..]]), Ok(plain(&moved)), "{attack} after {before} bytes");
            }
        }
    }
}

#[test]
fn the_refusal_says_why() {
    let error: Box<dyn core::error::Error> = Box::new(Collision);
    let message = error.to_string();
    assert!(message.contains("known SHA-1 collision attack") && message.contains("refused"), "{message}");
}
