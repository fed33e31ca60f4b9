//! What the answer must be, computed the plain way over the whole content at once.

use closeby_hash::{BlobHasher, Collision, Digests, PIECE_BYTES};
use sha2::{Digest as _, Sha256};

/// [`PIECE_BYTES`] as a length in memory.
pub const PIECE: usize = PIECE_BYTES as usize;

/// The digests and the pieces' digests by the plain hashes, without any of our code.
pub fn plain(content: &[u8]) -> (Digests, Vec<[u8; 32]>) {
    let digests = Digests {
        sha1: sha1::Sha1::digest(content).into(),
        sha256: Sha256::digest(content).into(),
        size: content.len() as u64,
    };
    (digests, content.chunks(PIECE).map(|piece| Sha256::digest(piece).into()).collect())
}

/// The same by [`BlobHasher`], fed with one call a part.
pub fn hashed<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<(Digests, Vec<[u8; 32]>), Collision> {
    let mut pieces = Vec::new();
    let mut hasher = BlobHasher::new();
    for part in parts {
        hasher.update(part, &mut pieces);
    }
    let digests = hasher.finish(&mut pieces)?;
    Ok((digests, pieces))
}

/// Bytes that look random and are the same in every run (xorshift64), so that no two pieces are alike.
pub fn content(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

/// Cuts `content` at the given offsets, in whatever order they come; those past the end are left out.
pub fn cut<'a>(content: &'a [u8], offsets: &[usize]) -> Vec<&'a [u8]> {
    let mut offsets: Vec<usize> = offsets.iter().copied().filter(|at| *at <= content.len()).collect();
    offsets.sort_unstable();
    let mut parts = Vec::new();
    let mut from = 0;
    for to in offsets.into_iter().chain([content.len()]) {
        parts.push(&content[from..to]);
        from = to;
    }
    parts
}
