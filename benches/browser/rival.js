// What ours is compared with. `read` reads and does nothing. `straight` is what one writes first: a slice,
// then its hash. `overlapped` reads the next buffer, into memory that is used again, while one is hashed.

const PIECE_BYTES = 4 << 20;

const readers = new Set();

self.onmessage = async ({ data: { way, file } }) => {
  if (way === 'read') {
    for await (const bytes of overlapped(file)) void bytes;
    return self.postMessage(undefined);
  }
  const { createSHA1 } = await import('./hash-wasm/index.esm.min.js');
  const hasher = await createSHA1();
  hasher.init();
  for await (const bytes of way === 'straight' ? slices(file) : overlapped(file)) hasher.update(bytes);
  self.postMessage(hasher.digest('hex'));
};

/** @param {File} file */
async function* slices(file) {
  for (let at = 0; at < file.size; at += PIECE_BYTES) {
    yield new Uint8Array(await file.slice(at, at + PIECE_BYTES).arrayBuffer());
  }
}

/** @param {File} file */
async function* overlapped(file) {
  const reader = file.stream().getReader({ mode: 'byob' });
  // Held, because Chromium collects a reader that only a read under way refers to: see worker.js.
  readers.add(reader);
  const fill = async (/** @type {ArrayBuffer} */ buffer) => {
    let filled = 0;
    while (filled < PIECE_BYTES) {
      const { value, done } = await reader.read(new Uint8Array(buffer, filled));
      buffer = value.buffer;
      filled += value.byteLength;
      if (done) break;
    }
    return new Uint8Array(buffer, 0, filled);
  };
  const spare = [new ArrayBuffer(PIECE_BYTES), new ArrayBuffer(PIECE_BYTES)];
  let next = fill(spare.pop());
  for (;;) {
    const bytes = await next;
    if (bytes.byteLength === 0) return readers.delete(reader);
    next = fill(spare.pop());
    yield bytes;
    spare.push(bytes.buffer);
  }
}
