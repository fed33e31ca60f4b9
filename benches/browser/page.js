// The page of scripts/bench-browser: reads the chosen file in one of several ways.

const PART_BYTES = 8 << 20;

/** @type {Record<string, Promise<any>>} a Hashing of each copy of static/ */
const copies = {};

/** @param {string} copy */
function hashing(copy) {
  copies[copy] ??= import(`./${copy}/hashing.js`).then(({ Hashing }) => new Hashing());
  return copies[copy];
}

/** @param {string} way @param {File} file @returns {Promise<string | undefined>} the SHA-1, where the way finds one */
async function once(way, file) {
  const [, copy, rest] = /^(simd|plain|beside|)-?(parts|resumed|)$/.exec(way) ?? [];
  if (rest) return inParts(await hashing(copy || 'simd'), file, rest === 'parts' ? 0 : Math.max(0, file.size - PART_BYTES));
  if (copy) return (await hashing(copy)).digest(file, new AbortController().signal, () => {});
  return new Promise((resolve, reject) => {
    const worker = new Worker('rival.js', { type: 'module' });
    worker.onerror = (event) => reject(new Error(event.message));
    worker.onmessage = ({ data }) => {
      worker.terminate();
      resolve(data);
    };
    worker.postMessage({ way, file });
  });
}

/**
 * As a file is sent, on a line that takes each part at once.
 * @param {any} hashing
 * @param {File} file
 * @param {number} offset up to where it was sent before; the worker hashes that part, too
 */
async function inParts(hashing, file, offset) {
  const reader = hashing.reader(file);
  const { signal } = new AbortController();
  try {
    for (;;) {
      const { bytes, sha1 } = await reader.part(offset, PART_BYTES, signal);
      offset += bytes.byteLength;
      if (offset === file.size) return sha1;
      reader.readAhead(offset, PART_BYTES, signal);
    }
  } finally {
    reader.close();
  }
}

/** @param {string} way @param {number | null} most bytes of the file's beginning; null for all */
globalThis.measure = async (way, most) => {
  const whole = document.querySelector('input').files[0];
  const file = most ? whole.slice(0, most) : whole;
  const began = performance.now();
  const sha1 = await once(way, file);
  return { seconds: (performance.now() - began) / 1000, sha1 };
};
