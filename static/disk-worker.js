// Writes one file of this site's own in the browser, in place, and marks which of its pieces are good.

import { lengthOf, sha256 } from './plan.js';

/** @type {any} FileSystemSyncAccessHandle */
let data;
/** @type {any} a byte for each piece, 1 where it is good */
let marks;

/**
 * @param {{folder: string, plan: import('./plan.js').Plan}} about
 * @returns {Promise<number[]>} the pieces that are there
 */
async function open({ folder, plan }) {
  const { sha1, size, digests } = plan;
  const root = await navigator.storage.getDirectory();
  const here = await root.getDirectoryHandle(folder, { create: true });
  const handle = async (/** @type {string} */ name) =>
    /** @type {any} */ (await here.getFileHandle(name, { create: true })).createSyncAccessHandle();
  data = await handle(`${sha1}.data`);
  try {
    marks = await handle(`${sha1}.marks`);
  } catch (error) {
    // Or the next try would meet this one.
    data.close();
    throw error;
  }
  if (marks.getSize() !== digests.length || data.getSize() !== size) {
    marks.truncate(0);
    data.truncate(0);
    // A disk that is too small says so now.
    data.truncate(size);
    marks.truncate(digests.length);
    marks.flush();
    return [];
  }
  const marked = new Uint8Array(digests.length);
  marks.read(marked, { at: 0 });
  const kept = [];
  for (const [index, mark] of marked.entries()) {
    if (!mark) continue;
    // A mark is a hint: the machine may have stopped before the bytes were on its disk.
    const piece = new Uint8Array(lengthOf(plan, index));
    const read = data.read(piece, { at: index * plan.pieceBytes });
    if (read === piece.byteLength && (await sha256(piece)) === digests[index]) kept.push(index);
    else marks.write(Uint8Array.of(0), { at: index });
  }
  return kept;
}

/** @param {{position: number, bytes: Uint8Array, index: number}} piece */
function write({ position, bytes, index }) {
  const written = data.write(bytes, { at: position });
  if (written !== bytes.byteLength) throw new DOMException('not all of it was written', 'QuotaExceededError');
  marks.write(Uint8Array.of(1), { at: index });
}

function close() {
  for (const file of [data, marks]) {
    file?.flush();
    file?.close();
  }
}

/** @type {Record<string, (about: any) => any>} */
const ACTS = { open, write, close };

addEventListener('message', async ({ data: { id, act, ...about } }) => {
  try {
    postMessage({ id, value: await ACTS[act](about) });
  } catch (error) {
    const { name = 'Error', message = '' } = /** @type {Error} */ (error);
    postMessage({ id, error: { name, message } });
  }
});
