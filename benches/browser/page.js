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
  const signal = new AbortController().signal;
  if (['simd', 'plain', 'beside'].includes(way)) return (await hashing(way)).digest(file, signal, () => {});
  if (way === 'parts' || way === 'beside-parts') {
    return inParts(await hashing(way === 'parts' ? 'simd' : 'beside'), file, signal);
  }
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

/** As a file is sent, on a line that takes each part at once. */
async function inParts(hashing, file, signal) {
  const reader = hashing.reader(file);
  try {
    for (let offset = 0; ; ) {
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
