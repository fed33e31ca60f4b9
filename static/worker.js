// Reads files and hashes them, away from the page. Memory is a few buffers a file, whatever its size.
//
// Two jobs. `hash` reads a whole file and answers its SHA-1. `open` makes a reader: each `part` message
// is answered with those bytes, hashed in passing, and the part that ends the file brings the SHA-1. So a
// file that is sent at once is read once. Jobs of one worker take turns between buffers.

import { Sha1, ready } from './hash.js';

const BUFFER_BYTES = 4 << 20;
const PROGRESS_EVERY_MS = 100;

/** @typedef {{file: File, hasher?: Sha1, hashed: number, sha1?: string, isCancelled: boolean, last: Promise<void>}} Job */

/** @type {Map<number, Job>} */
const jobs = new Map();

/**
 * Readers at work. A file's stream does not hold itself: what only a read under way refers to, Chromium's
 * collector takes for garbage, and then that read never ends.
 * @type {Set<ReadableStreamBYOBReader>}
 */
const readers = new Set();

/** The file is not what it was when it was chosen. */
class Changed extends Error {}

/** @param {MessageEvent} event */
self.onmessage = ({ data }) => {
  if (data.kind === 'hash' || data.kind === 'open') {
    const job = { file: data.file, hashed: 0, isCancelled: false, last: Promise.resolve() };
    jobs.set(data.id, job);
    if (data.kind === 'hash') void answer(data.id, () => hash(data.id, job));
  } else if (data.kind === 'part') {
    const job = jobs.get(data.id);
    if (!job) return;
    // One part after the other: the digest needs them in order.
    job.last = job.last.then(() => answer(data.id, () => part(data.id, job, data.offset, data.length)));
  } else if (data.kind === 'close') {
    const job = jobs.get(data.id);
    if (job) job.isCancelled = true;
    jobs.delete(data.id);
  }
};

/** @param {number} id @param {() => Promise<void>} what */
async function answer(id, what) {
  try {
    await what();
  } catch (error) {
    // A file that changed cannot be read any more: browsers say NotReadableError.
    const reason =
      error instanceof Changed ? 'changed'
      : error instanceof DOMException && ['NotReadableError', 'NotFoundError'].includes(error.name) ? 'unreadable'
      : 'broken';
    self.postMessage({ id, kind: 'failed', reason, message: String(error) });
  }
}

/** @param {number} id @param {Job} job */
async function hash(id, job) {
  await ready();
  const hasher = new Sha1();
  let done = 0;
  let told = 0;
  for await (const bytes of buffersOf(job.file)) {
    if (job.isCancelled) return;
    hasher.update(bytes);
    done += bytes.byteLength;
    const now = performance.now();
    if (now - told > PROGRESS_EVERY_MS) {
      told = now;
      self.postMessage({ id, kind: 'progress', done });
    }
  }
  check(job.file, done);
  jobs.delete(id);
  self.postMessage({ id, kind: 'done', sha1: hasher.digest() });
}

/**
 * @param {number} id
 * @param {Job} job
 * @param {number} offset
 * @param {number} length
 */
async function part(id, job, offset, length) {
  await ready();
  if (job.isCancelled) return;
  job.hasher ??= new Sha1();
  // What lies before was sent earlier, perhaps before a reload: it belongs to the digest all the same.
  if (job.hashed < offset) {
    for await (const bytes of buffersOf(job.file.slice(job.hashed, offset))) {
      if (job.isCancelled) return;
      job.hasher.update(bytes);
      job.hashed += bytes.byteLength;
      self.postMessage({ id, kind: 'progress', done: job.hashed });
    }
    if (job.hashed !== offset) throw new Changed('the file became shorter');
  }
  const end = Math.min(job.file.size, offset + length);
  const bytes = await slice(job.file, offset, end);
  if (job.isCancelled) return;
  // A part may be asked for again; its bytes count once.
  if (end > job.hashed || job.file.size === 0) {
    job.hasher.update(bytes.subarray(job.hashed - offset));
    job.hashed = end;
  }
  if (job.hashed === job.file.size) job.sha1 ??= job.hasher.digest();
  const sha1 = end === job.file.size ? job.sha1 : undefined;
  self.postMessage({ id, kind: 'part', offset, bytes: bytes.buffer, sha1 }, { transfer: [bytes.buffer] });
}

/** @param {Blob} file @param {number} start @param {number} end @returns {Promise<Uint8Array>} */
async function slice(file, start, end) {
  const bytes = new Uint8Array(await file.slice(start, end).arrayBuffer());
  if (bytes.byteLength !== end - start) throw new Changed('the file became shorter');
  return bytes;
}

/** @param {File} file @param {number} read */
function check(file, read) {
  if (read !== file.size) throw new Changed('the file has another length now');
}

/**
 * The file in buffers of 4 MiB. The next one is being filled while the caller works on this one.
 * @param {Blob} file
 * @returns {AsyncGenerator<Uint8Array>}
 */
async function* buffersOf(file) {
  const reader = byobReader(file);
  if (reader) readers.add(reader);
  const fill = reader ? filling(reader) : slicing(file);
  const spare = [new ArrayBuffer(BUFFER_BYTES), new ArrayBuffer(BUFFER_BYTES)];
  let next = fill(/** @type {ArrayBuffer} */ (spare.pop()));
  try {
    for (;;) {
      const bytes = await next;
      if (bytes.byteLength === 0) return;
      next = fill(/** @type {ArrayBuffer} */ (spare.pop()));
      next.catch(() => {});
      yield bytes;
      spare.push(/** @type {ArrayBuffer} */ (bytes.buffer));
    }
  } finally {
    if (reader) readers.delete(reader);
    void reader?.cancel().catch(() => {});
  }
}

/** @param {Blob} file @returns {ReadableStreamBYOBReader | undefined} reads into our buffers, where the browser can */
function byobReader(file) {
  try {
    return file.stream().getReader({ mode: 'byob' });
  } catch {
    return undefined;
  }
}

/** @param {ReadableStreamBYOBReader} reader @returns {(buffer: ArrayBuffer) => Promise<Uint8Array>} */
function filling(reader) {
  return async (buffer) => {
    let filled = 0;
    while (filled < BUFFER_BYTES) {
      const { value, done } = await reader.read(new Uint8Array(buffer, filled, BUFFER_BYTES - filled));
      if (!value) return new Uint8Array(0);
      buffer = /** @type {ArrayBuffer} */ (value.buffer);
      filled += value.byteLength;
      if (done) break;
    }
    return new Uint8Array(buffer, 0, filled);
  };
}

/** @param {Blob} file @returns {(buffer: ArrayBuffer) => Promise<Uint8Array>} */
function slicing(file) {
  let start = 0;
  return async () => {
    const end = Math.min(file.size, start + BUFFER_BYTES);
    const bytes = await slice(file, start, end);
    start = end;
    return bytes;
  };
}
