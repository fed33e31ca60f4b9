//! Plain SHA-1 for the browser: the one of `crates/hash`, behind exports that need no glue.
//!
//! One module has one hasher and one buffer, at fixed places of its memory. The caller copies bytes to `buffer()`,
//! at most `buffer_len()` of them, and calls `update(len)`, again and again; `finish()` tells where the 20 bytes of
//! the digest are. The hasher is `state_len()` bytes at `state()`: to hash several files in turns, save them and
//! put them back. They mean something to this very build only. The memory never grows, so views of it stay good.
#![no_std]

use core::cell::UnsafeCell;

use sha1::Sha1Hasher;

// The same source, not the same crate: that one needs an allocator, and compiles SHA-256 too.
#[path = "../../hash/src/sha1.rs"]
mod sha1;

/// What one copy brings over: it stays in the processor's nearest caches until it is hashed.
const BUFFER_BYTES: usize = 16 << 10;

/// A static place that only the exports below touch.
struct Place<T>(UnsafeCell<T>);

// SAFETY: the module has no shared memory, so it has one thread, and no export calls another.
unsafe impl<T> Sync for Place<T> {}

static HASHER: Place<Sha1Hasher> = Place(UnsafeCell::new(Sha1Hasher::new()));
static BUFFER: Place<[u8; BUFFER_BYTES]> = Place(UnsafeCell::new([0; BUFFER_BYTES]));
static DIGEST: Place<[u8; 20]> = Place(UnsafeCell::new([0; 20]));

/// Where the bytes to hash go.
#[unsafe(no_mangle)]
pub extern "C" fn buffer() -> *mut u8 {
    BUFFER.0.get().cast()
}

/// How many fit there.
#[unsafe(no_mangle)]
pub extern "C" fn buffer_len() -> usize {
    BUFFER_BYTES
}

/// Forgets what was hashed so far.
#[unsafe(no_mangle)]
pub extern "C" fn reset() {
    // SAFETY: see `Place`: nothing else refers to it now.
    unsafe { *HASHER.0.get() = Sha1Hasher::new() }
}

/// Hashes the first `len` bytes of the buffer; more than fit count as all that fit.
#[unsafe(no_mangle)]
pub extern "C" fn update(len: usize) {
    // SAFETY: see `Place`: nothing else refers to them now, and they are two places.
    let (hasher, buffer) = unsafe { (&mut *HASHER.0.get(), &*BUFFER.0.get()) };
    hasher.update(&buffer[..len.min(BUFFER_BYTES)]);
}

/// Ends the digest, and tells where its 20 bytes are. The hasher stays as it was.
#[unsafe(no_mangle)]
pub extern "C" fn finish() -> *const u8 {
    // SAFETY: see `Place`: nothing else refers to them now, and they are two places.
    unsafe { *DIGEST.0.get() = (*HASHER.0.get()).clone().finish() }
    DIGEST.0.get().cast_const().cast()
}

/// Where the hasher is.
#[unsafe(no_mangle)]
pub extern "C" fn state() -> *mut u8 {
    HASHER.0.get().cast()
}

/// How many bytes it has.
#[unsafe(no_mangle)]
pub extern "C" fn state_len() -> usize {
    size_of::<Sha1Hasher>()
}

/// Nothing here panics but by a mistake of ours: the caller sees a trap.
#[cfg(target_family = "wasm")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}
