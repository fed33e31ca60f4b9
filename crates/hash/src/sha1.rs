//! Plain SHA-1 (FIPS 180-4 §6.1), in safe Rust that needs nothing but `core`.
//!
//! For browsers, which ask by a digest whether a file is here. Where a digest becomes a name, use
//! [`BlobHasher`](crate::BlobHasher): it notices the known attacks, this does not.
//!
//! The 80 rounds are written out, by macros: the five working words then stay in registers and trade places by
//! name, and the schedule is a ring of 16 words whose places are all known. `crates/hash-wasm` compiles this very
//! file to WebAssembly, where that counts most; where vectors may be used there, they make the schedule.

const BLOCK_BYTES: usize = 64;
/// Where the length stands in the last block.
const LENGTH_AT: usize = BLOCK_BYTES - 8;
const INITIAL: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];

/// A plain SHA-1 on its way. A clone is a checkpoint.
///
/// Its layout is fixed and has no pointers, so a copy of its bytes, within one build, is a checkpoint too.
#[derive(Clone, Debug)]
#[repr(C)]
pub struct Sha1Hasher {
    /// Bytes read so far.
    size: u64,
    state: [u32; 5],
    /// The bytes since the last whole block: the first `size % BLOCK_BYTES` count.
    block: [u8; BLOCK_BYTES],
}

impl Sha1Hasher {
    /// A hasher that has read nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 0, state: INITIAL, block: [0; BLOCK_BYTES] }
    }

    /// Reads the next bytes. How they are cut into calls makes no difference.
    pub fn update(&mut self, data: &[u8]) {
        let filled = self.filled();
        // SHA itself ends at 2^61 bytes, which no one lives to see.
        self.size = self.size.wrapping_add(data.len() as u64);

        let mut rest = data;
        if filled > 0 {
            let (now, later) = rest.split_at(rest.len().min(BLOCK_BYTES - filled));
            self.block[filled..filled + now.len()].copy_from_slice(now);
            if filled + now.len() < BLOCK_BYTES {
                return;
            }
            compress(&mut self.state, &self.block);
            rest = later;
        }
        let (blocks, tail) = rest.as_chunks::<BLOCK_BYTES>();
        for block in blocks {
            compress(&mut self.state, block);
        }
        self.block[..tail.len()].copy_from_slice(tail);
    }

    /// The digest of all bytes read.
    #[must_use]
    pub fn finish(mut self) -> [u8; 20] {
        let filled = self.filled();
        self.block[filled] = 0x80;
        self.block[filled + 1..].fill(0);
        // No room for the length behind the mark: it goes into a block of its own.
        if filled >= LENGTH_AT {
            compress(&mut self.state, &self.block);
            self.block.fill(0);
        }
        self.block[LENGTH_AT..].copy_from_slice(&self.size.wrapping_mul(8).to_be_bytes());
        compress(&mut self.state, &self.block);

        let mut digest = [0; 20];
        for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        digest
    }

    /// How much of `block` counts.
    const fn filled(&self) -> usize {
        // Below 64, so nothing is lost.
        (self.size % BLOCK_BYTES as u64) as usize
    }
}

impl Default for Sha1Hasher {
    fn default() -> Self {
        Self::new()
    }
}

/// What a round adds, by the round's number.
const CONSTANTS: [u32; 4] = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6];

/// Rounds 0–19: `c` where `b` is set, else `d`.
macro_rules! choose {
    ($b:ident, $c:ident, $d:ident) => {
        $d ^ ($b & ($c ^ $d))
    };
}

/// Rounds 20–39 and 60–79.
macro_rules! parity {
    ($b:ident, $c:ident, $d:ident) => {
        $b ^ $c ^ $d
    };
}

/// Rounds 40–59: what most of the three say. The halves share no bit, so a sum is as good as an or.
macro_rules! majority {
    ($b:ident, $c:ident, $d:ident) => {
        ($b & $c).wrapping_add($d & ($b ^ $c))
    };
}

/// One round. The words keep their values and change their roles: `$e` becomes the new first.
macro_rules! round {
    ($mix:ident, $a:ident $b:ident $c:ident $d:ident $e:ident, $word:expr) => {
        $e = $e.wrapping_add($word).wrapping_add($mix!($b, $c, $d)).wrapping_add($a.rotate_left(5));
        $b = $b.rotate_left(30);
    };
}

/// Takes one block into the state.
#[cfg(not(all(target_family = "wasm", target_feature = "simd128")))]
#[inline]
fn compress(state: &mut [u32; 5], block: &[u8; BLOCK_BYTES]) {
    /// The word of round `$t`, its constant added. From 16 on, it takes the place of the word of 16 rounds before.
    macro_rules! word {
        ($w:ident, $t:expr) => {{
            if $t >= 16 {
                let mixed = $w[($t + 13) & 15] ^ $w[($t + 8) & 15] ^ $w[($t + 2) & 15] ^ $w[$t & 15];
                $w[$t & 15] = mixed.rotate_left(1);
            }
            $w[$t & 15].wrapping_add(CONSTANTS[$t / 20])
        }};
    }
    /// Five rounds, after which every word has its old role again.
    macro_rules! five {
        ($mix:ident, $a:ident $b:ident $c:ident $d:ident $e:ident, $w:ident, $t:expr) => {
            round!($mix, $a $b $c $d $e, word!($w, $t));
            round!($mix, $e $a $b $c $d, word!($w, $t + 1));
            round!($mix, $d $e $a $b $c, word!($w, $t + 2));
            round!($mix, $c $d $e $a $b, word!($w, $t + 3));
            round!($mix, $b $c $d $e $a, word!($w, $t + 4));
        };
    }

    let mut w = [0_u32; 16];
    for (word, bytes) in w.iter_mut().zip(block.as_chunks::<4>().0) {
        *word = u32::from_be_bytes(*bytes);
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    five!(choose, a b c d e, w, 0);
    five!(choose, a b c d e, w, 5);
    five!(choose, a b c d e, w, 10);
    five!(choose, a b c d e, w, 15);
    five!(parity, a b c d e, w, 20);
    five!(parity, a b c d e, w, 25);
    five!(parity, a b c d e, w, 30);
    five!(parity, a b c d e, w, 35);
    five!(majority, a b c d e, w, 40);
    five!(majority, a b c d e, w, 45);
    five!(majority, a b c d e, w, 50);
    five!(majority, a b c d e, w, 55);
    five!(parity, a b c d e, w, 60);
    five!(parity, a b c d e, w, 65);
    five!(parity, a b c d e, w, 70);
    five!(parity, a b c d e, w, 75);
    for (word, add) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(add);
    }
}

/// Takes one block into the state. The schedule is made four words at a time and 16 rounds ahead, so that the
/// processor has both the vectors and the rounds to work on.
///
/// Never inlined: in the loop over the blocks, V8 runs out of registers, and a quarter of the speed is gone.
#[cfg(all(target_family = "wasm", target_feature = "simd128"))]
#[inline(never)]
fn compress(state: &mut [u32; 5], block: &[u8; BLOCK_BYTES]) {
    use simd::{from_big_endian, later, next, sums};

    /// Four rounds, after which the roles have moved by four places.
    macro_rules! four {
        ($mix:ident, $a:ident $b:ident $c:ident $d:ident $e:ident, $four:ident, $constant:expr) => {
            let words = sums($four, $constant);
            round!($mix, $a $b $c $d $e, words[0]);
            round!($mix, $e $a $b $c $d, words[1]);
            round!($mix, $d $e $a $b $c, words[2]);
            round!($mix, $c $d $e $a $b, words[3]);
        };
    }

    let [w0, w1, w2, w3] = from_big_endian(block);
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    let w4 = next(w0, w1, w2, w3);
    four!(choose, a b c d e, w0, CONSTANTS[0]);
    let w5 = next(w1, w2, w3, w4);
    four!(choose, b c d e a, w1, CONSTANTS[0]);
    let w6 = next(w2, w3, w4, w5);
    four!(choose, c d e a b, w2, CONSTANTS[0]);
    let w7 = next(w3, w4, w5, w6);
    four!(choose, d e a b c, w3, CONSTANTS[0]);
    let w8 = later(w0, w1, w4, w6, w7);
    four!(choose, e a b c d, w4, CONSTANTS[0]);
    let w9 = later(w1, w2, w5, w7, w8);
    four!(parity, a b c d e, w5, CONSTANTS[1]);
    let w10 = later(w2, w3, w6, w8, w9);
    four!(parity, b c d e a, w6, CONSTANTS[1]);
    let w11 = later(w3, w4, w7, w9, w10);
    four!(parity, c d e a b, w7, CONSTANTS[1]);
    let w12 = later(w4, w5, w8, w10, w11);
    four!(parity, d e a b c, w8, CONSTANTS[1]);
    let w13 = later(w5, w6, w9, w11, w12);
    four!(parity, e a b c d, w9, CONSTANTS[1]);
    let w14 = later(w6, w7, w10, w12, w13);
    four!(majority, a b c d e, w10, CONSTANTS[2]);
    let w15 = later(w7, w8, w11, w13, w14);
    four!(majority, b c d e a, w11, CONSTANTS[2]);
    let w16 = later(w8, w9, w12, w14, w15);
    four!(majority, c d e a b, w12, CONSTANTS[2]);
    let w17 = later(w9, w10, w13, w15, w16);
    four!(majority, d e a b c, w13, CONSTANTS[2]);
    let w18 = later(w10, w11, w14, w16, w17);
    four!(majority, e a b c d, w14, CONSTANTS[2]);
    let w19 = later(w11, w12, w15, w17, w18);
    four!(parity, a b c d e, w15, CONSTANTS[3]);
    four!(parity, b c d e a, w16, CONSTANTS[3]);
    four!(parity, c d e a b, w17, CONSTANTS[3]);
    four!(parity, d e a b c, w18, CONSTANTS[3]);
    four!(parity, e a b c d, w19, CONSTANTS[3]);
    for (word, add) in state.iter_mut().zip([a, b, c, d, e]) {
        *word = word.wrapping_add(add);
    }
}

/// The schedule, four words at a time, with the 128-bit vectors of WebAssembly.
#[cfg(all(target_family = "wasm", target_feature = "simd128"))]
mod simd {
    use core::arch::wasm32::{
        i8x16_shuffle, i32x4_shuffle, u32x4_add, u32x4_extract_lane, u32x4_shl, u32x4_shr, u32x4_splat,
        u64x2, v128, v128_or, v128_xor,
    };

    use super::BLOCK_BYTES;

    /// The first 16 words.
    #[inline]
    pub fn from_big_endian(block: &[u8; BLOCK_BYTES]) -> [v128; 4] {
        let [w0, w1, w2, w3, ..] = block.as_chunks::<16>().0 else { return [u32x4_splat(0); 4] };
        [w0, w1, w2, w3].map(|bytes| {
            let bytes = u128::from_le_bytes(*bytes);
            let four = u64x2(bytes as u64, (bytes >> 64) as u64);
            i8x16_shuffle::<3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12>(four, four)
        })
    }

    /// The four words after 16.
    #[inline]
    pub fn next(w0: v128, w1: v128, w2: v128, w3: v128) -> v128 {
        let zero = u32x4_splat(0);
        let fourteen_before = i32x4_shuffle::<2, 3, 4, 5>(w0, w1);
        let three_before = i32x4_shuffle::<1, 2, 3, 4>(w3, zero);
        let mixed = v128_xor(v128_xor(w0, fourteen_before), v128_xor(w2, three_before));
        // The last one misses what is 3 before it: the first of these very four.
        let missing = i32x4_shuffle::<0, 1, 2, 4>(zero, mixed);
        v128_xor(rotate::<1, 31>(mixed), rotate::<2, 30>(missing))
    }

    /// The four words after 32, by the same recurrence applied to itself: it reaches back by 32, 28, 16 and 6, so no
    /// word needs one of its own four.
    #[inline]
    pub fn later(w0: v128, w1: v128, w4: v128, w6: v128, w7: v128) -> v128 {
        let six_before = i32x4_shuffle::<2, 3, 4, 5>(w6, w7);
        rotate::<2, 30>(v128_xor(v128_xor(w0, w1), v128_xor(w4, six_before)))
    }

    /// Four words with the round's constant added.
    ///
    /// Taken out of the vector lane by lane. Through memory was tried: it was faster in V8 of 2023, and is slower by a
    /// fifth in V8 of 2026.
    #[inline]
    pub fn sums(four: v128, constant: u32) -> [u32; 4] {
        let four = u32x4_add(four, u32x4_splat(constant));
        [
            u32x4_extract_lane::<0>(four),
            u32x4_extract_lane::<1>(four),
            u32x4_extract_lane::<2>(four),
            u32x4_extract_lane::<3>(four),
        ]
    }

    /// To the left by `L` bits; `R` is 32 less those.
    #[inline]
    fn rotate<const L: u32, const R: u32>(four: v128) -> v128 {
        v128_or(u32x4_shl(four, L), u32x4_shr(four, R))
    }
}
