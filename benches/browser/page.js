// The page of scripts/bench-browser: hashes the chosen file in several ways, in turns.

import { Hashing } from './static/hashing.js';

const hashing = new Hashing();

/** @param {string} way @param {File} file @returns {Promise<string | undefined>} */
function once(way, file) {
  if (way === 'ours') return hashing.digest(file, new AbortController().signal, () => {});
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

/** @param {string[]} ways @param {number} rounds @param {string | null} digest */
globalThis.measure = async (ways, rounds, digest) => {
  const file = document.querySelector('input').files[0];
  /** @type {Record<string, number[]>} */
  const figures = Object.fromEntries(ways.map((way) => [way, []]));
  for (let round = 0; round < rounds; round += 1) {
    for (const way of ways) {
      const began = performance.now();
      const found = await once(way, file);
      figures[way].push((file.size * 1000) / (performance.now() - began));
      if (digest && way !== 'read' && found !== digest) throw new Error(`${way}: a wrong digest, ${found}`);
    }
  }
  return figures;
};
