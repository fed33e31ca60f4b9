// SHA-1 of what comes in pieces, by our own WebAssembly (crates/hash-wasm).
//
// All hashers of a worker share one module, which has room for one: before another goes on, the state of the
// last one is saved and its own is put back. That is a copy of about 100 bytes.

/**
 * What the module offers; see crates/hash-wasm.
 * @typedef {{
 *   memory: WebAssembly.Memory,
 *   buffer: () => number, buffer_len: () => number,
 *   reset: () => void, update: (length: number) => void, finish: () => number,
 *   state: () => number, state_len: () => number,
 * }} Exports
 */

const DIGEST_BYTES = 20;

/** @type {Promise<void> | undefined} */
let loading;
/** @type {Exports} */
let wasm;
/** @type {Uint8Array} where bytes to hash go; its memory never grows, so the views stay good */
let buffer;
/** @type {Uint8Array} the state of the hasher that was last at work */
let current;
/** @type {Sha1 | undefined} which one that is */
let owner;

/** Resolves when hashing can begin. */
export function ready() {
  loading ??= load().catch((error) => {
    // The next one asks anew.
    loading = undefined;
    throw error;
  });
  return loading;
}

async function load() {
  const module = await fetched('sha1-simd.wasm').catch((error) => {
    // A browser without vectors calls that file invalid.
    if (error instanceof WebAssembly.CompileError) return fetched('sha1.wasm');
    throw error;
  });
  const instance = await WebAssembly.instantiate(module);
  wasm = /** @type {Exports} */ (/** @type {unknown} */ (instance.exports));
  buffer = new Uint8Array(wasm.memory.buffer, wasm.buffer(), wasm.buffer_len());
  current = new Uint8Array(wasm.memory.buffer, wasm.state(), wasm.state_len());
}

/** @param {string} name @returns {Promise<WebAssembly.Module>} */
async function fetched(name) {
  const here = new URL(import.meta.url);
  // The version of this file is the version of that one.
  const response = await fetch(new URL(name + here.search, here));
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return WebAssembly.compile(await response.arrayBuffer());
}

/** A SHA-1 on its way. Await {@link ready} before the first one. */
export class Sha1 {
  /** @type {Uint8Array | undefined} the state, while another is at work; undefined before the first byte, too */
  #saved;

  /** @param {Uint8Array} bytes the next ones; how they are cut makes no difference */
  update(bytes) {
    this.#takeTurn();
    for (let at = 0; at < bytes.byteLength; at += buffer.byteLength) {
      const part = bytes.subarray(at, at + buffer.byteLength);
      buffer.set(part);
      wasm.update(part.byteLength);
    }
  }

  /** @returns {string} the digest of all bytes so far, in hex; more may follow */
  digest() {
    this.#takeTurn();
    const digest = new Uint8Array(wasm.memory.buffer, wasm.finish(), DIGEST_BYTES);
    return Array.from(digest, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  /** @returns {Uint8Array} the state, to go on from later or in another worker: for this version of the page only */
  save() {
    this.#takeTurn();
    return current.slice();
  }

  /**
   * @param {Uint8Array} saved what `save` returned
   * @returns {Sha1} one that goes on from there
   */
  static restore(saved) {
    if (saved.byteLength !== current.byteLength) throw new RangeError('not the state of a hasher');
    const hasher = new Sha1();
    hasher.#saved = saved.slice();
    return hasher;
  }

  #takeTurn() {
    if (owner === this) return;
    if (owner) owner.#saved = current.slice();
    if (this.#saved) current.set(this.#saved);
    else wasm.reset();
    owner = this;
  }
}
