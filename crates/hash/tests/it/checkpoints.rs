//! A clone is a checkpoint: an upload goes back to it and comes to the same answer.

use closeby_hash::{BlobHasher, PIECE_BYTES};

use crate::reference::{PIECE, content, plain};

#[test]
fn going_back_to_a_checkpoint_gives_the_same_answer() {
    let content = content(2 * PIECE + 1);
    let expected = plain(&content);
    for at in [0, 1, 63, 64, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 2 * PIECE + 1] {
        let mut pieces = Vec::new();
        let mut hasher = BlobHasher::new();
        hasher.update(&content[..at], &mut pieces);
        let checkpoint = hasher.clone();

        // Bytes that were sent and never acknowledged, over the next boundary.
        hasher.update(&vec![0xa5; PIECE + 1], &mut pieces);
        assert!(pieces.len() > at / PIECE);
        drop(hasher);

        let mut resumed = checkpoint.clone();
        pieces.truncate((checkpoint.size() / PIECE_BYTES) as usize);
        resumed.update(&content[at..], &mut pieces);
        let digests = resumed.finish(&mut pieces).unwrap();
        assert_eq!((digests, pieces), expected, "checkpoint at {at}");
        assert_eq!(checkpoint.size(), at as u64, "the checkpoint itself stays where it was");
    }
}

#[test]
fn a_checkpoint_is_small() {
    // Sessions keep several: a state that grows with the blob or holds a block of it would show here.
    assert!(size_of::<BlobHasher>() <= 1536, "{} bytes", size_of::<BlobHasher>());
}
