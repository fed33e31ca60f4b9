//! What a blob's digests cost beside each hash alone: `cargo bench -p closeby-hash`.

use closeby_hash::BlobHasher;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use sha2::Digest as _;

/// Four pieces: the whole and the pieces are hashed apart for three of them.
const BLOB_BYTES: usize = 16 << 20;
/// One piece: SHA-256 runs once.
const SMALL_BYTES: usize = 4 << 20;
/// What a server hands over at a time.
const CHUNK_BYTES: usize = 256 << 10;

fn main() {
    divan::main();
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[divan::bench(args = [SMALL_BYTES, BLOB_BYTES], sample_count = 20)]
fn blob_hasher(bencher: Bencher, bytes: usize) {
    let data = content(bytes);
    bencher.counter(BytesCount::new(bytes)).bench(|| {
        let mut pieces = Vec::new();
        let mut hasher = BlobHasher::new();
        for chunk in black_box(&data).chunks(CHUNK_BYTES) {
            hasher.update(chunk, &mut pieces);
        }
        (hasher.finish(&mut pieces), pieces)
    });
}

#[divan::bench(sample_count = 20)]
fn sha1_plain(bencher: Bencher) {
    let data = content(BLOB_BYTES);
    bencher.counter(BytesCount::new(BLOB_BYTES)).bench(|| sha1::Sha1::digest(black_box(&data)));
}

#[divan::bench(sample_count = 20)]
fn sha1_checked(bencher: Bencher) {
    let data = content(BLOB_BYTES);
    bencher.counter(BytesCount::new(BLOB_BYTES)).bench(|| sha1_checked::Sha1::try_digest(black_box(&data)));
}

#[divan::bench(sample_count = 20)]
fn sha2_256(bencher: Bencher) {
    let data = content(BLOB_BYTES);
    bencher.counter(BytesCount::new(BLOB_BYTES)).bench(|| sha2::Sha256::digest(black_box(&data)));
}
