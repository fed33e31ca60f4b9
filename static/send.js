// Sending one file: in one request, or resumably (tus 1.0) in parts. Both go on after a lost connection
// and a restarted server; both end with what the server says of the file.

import { Problem, calm, persistently, request } from './api.js';
import { alone, forget, recall, remember } from './resume.js';
import { Patience, isAbort } from './waits.js';

/** Files up to this size go in one request. */
export const WHOLE_BYTES = 8 << 20;
const PART_BYTES = 8 << 20;
const LONG_PART_BYTES = 16 << 20;
/** A part that took less than this is followed by longer ones. */
const QUICK_MS = 1000;
/** So often an upload may vanish from the server and be begun anew. */
const MOST_STARTS = 3;
const POLL_MS = 500;

const TUS = { 'tus-resumable': '1.0.0' };

/** @typedef {import('./hashing.js').Hashing} Hashing */
/** @typedef {import('./waits.js').Gate} Gate */
/** @typedef {{status: string, sha1?: string, url?: string, replicas?: string[], problem?: {type: string, title: string, status: number, detail: string}}} Result */

/**
 * @typedef {object} Sending
 * @property {File} file
 * @property {string} name
 * @property {string} [sha1] where it is known already
 * @property {Hashing} hashing
 * @property {AbortSignal} signal
 * @property {Gate} gate closed while the person pauses
 * @property {(sentBytes: number) => void} onSent
 * @property {(state: 'sending' | 'checking' | 'catching-up' | 'paused') => void} onState
 * @property {(error: Error) => void} onTrouble a wait begins
 */

/** @param {string} hex @returns {string} */
function reprDigest(hex) {
  const bytes = hex.match(/../g)?.map((pair) => String.fromCharCode(parseInt(pair, 16))).join('') ?? '';
  return `sha=:${btoa(bytes)}:`;
}

/** @param {string} text @returns {string} UTF-8 in base64 */
function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

/** @param {Result} result @returns {Result} @throws {Problem} where the server did not take it */
function ended(result) {
  if (result.status !== 'error') return result;
  const problem = result.problem;
  throw new Problem(problem?.status ?? 500, problem ?? {}, 0);
}

/**
 * In one request, for a file of at most {@link WHOLE_BYTES}: it is read and hashed once, before.
 * @param {Sending} sending
 * @returns {Promise<Result>}
 */
export async function sendWhole({ file, name, sha1, hashing, signal, gate, onSent, onState, onTrouble }) {
  const reader = hashing.reader(file);
  try {
    const { bytes, sha1: found } = await reader.part(0, WHOLE_BYTES, signal);
    const digest = found ?? sha1;
    const url = `/api/v1/files?name=${encodeURIComponent(name)}`;
    /** @type {Record<string, string>} */
    const headers = { 'content-type': file.type || 'application/octet-stream' };
    if (digest) headers['repr-digest'] = reprDigest(digest);
    const attempt = async () => {
      await gate.passed(signal);
      onState('sending');
      onSent(0);
      const progress = (/** @type {number} */ sent) => {
        onSent(sent);
        if (sent >= file.size) onState('checking');
      };
      return request('POST', url, { headers, body: bytes, signals: [signal], onSent: progress });
    };
    return ended((await persistently(signal, attempt, onTrouble)).json());
  } finally {
    reader.close();
  }
}

/**
 * Resumably. Goes on with an upload that an earlier page began with the same file.
 * @param {Sending} sending
 * @returns {Promise<Result>}
 */
export async function sendParts(sending) {
  for (const { url } of recall(sending.file)) {
    const result = await alone(url, (isOurs) => (isOurs ? goOn(sending, url) : Promise.resolve(undefined)));
    if (result) return result;
  }
  for (let start = 1; ; start += 1) {
    const { url, expires } = await create(sending);
    const result = await alone(url, () => {
      // Not before it is ours alone: another tab with the same file would take it.
      remember(sending.file, url, expires);
      return goOn(sending, url);
    });
    if (result) return result;
    if (start === MOST_STARTS) throw new Problem(404, { title: 'The server lost what was sent', detail: 'Send it again.' }, 0);
  }
}

/** @param {Sending} sending @returns {Promise<{url: string, expires: string | null}>} the new upload */
async function create({ file, name, sha1, signal, gate, onTrouble }) {
  const metadata = [`filename ${base64(name)}`];
  if (file.type) metadata.push(`filetype ${base64(file.type)}`);
  if (sha1) metadata.push(`sha1 ${base64(sha1)}`);
  const headers = { ...TUS, 'upload-length': String(file.size), 'upload-metadata': metadata.join(',') };
  const attempt = async () => {
    await gate.passed(signal);
    return request('POST', '/api/v1/uploads', { headers, signals: [signal] });
  };
  const answer = await persistently(signal, attempt, onTrouble);
  return { url: new URL(answer.header('location') ?? '', location.href).href, expires: answer.header('upload-expires') };
}

/**
 * Sends what is missing of one upload.
 * @param {Sending} sending
 * @param {string} url
 * @returns {Promise<Result | undefined>} nothing where the server no longer knows it
 */
async function goOn(sending, url) {
  const { file, hashing, signal, gate, onSent, onState, onTrouble } = sending;
  const reader = hashing.reader(file);
  const patience = new Patience();
  /** @type {number | undefined} what the server has; unknown after trouble */
  let offset;
  let length = PART_BYTES;
  try {
    for (;;) {
      try {
        if (!gate.isOpen) onState('paused');
        await gate.passed(signal);
        if (offset === undefined) {
          const head = await request('HEAD', url, { headers: TUS, signals: [signal] });
          offset = Number(head.header('upload-offset'));
          onSent(offset);
        }
        if (offset === file.size) {
          const result = await outcome(url, sending);
          forget(url);
          return result;
        }
        const part = await reader.part(offset, length, signal, () => onState('catching-up'));
        if (!gate.isOpen) continue;
        onState('sending');
        reader.readAhead(offset + part.bytes.byteLength, length, signal);
        const began = performance.now();
        offset = await sendPart(url, part, sending);
        if (performance.now() - began < QUICK_MS) length = LONG_PART_BYTES;
        patience.reset();
        onSent(offset);
      } catch (error) {
        offset = undefined;
        if (isAbort(error) && !signal.aborted) continue; // Pause cut it short.
        if (error instanceof Problem) {
          if ([404, 410].includes(error.status)) {
            forget(url);
            return undefined;
          }
          // Our offset was not the server's, or another request still holds the upload: ask again.
          if ((error.status === 409 && error.code !== 'collision') || error.status === 460) {
            await patience.wait(signal);
            continue;
          }
        }
        await calm(error, patience, signal, onTrouble);
      }
    }
  } catch (error) {
    // What the server refused for good is of no use to a later page; a cancelled one is removed there.
    // A fault of the server's own is no refusal: what it has by now is of use to the next try.
    if ((error instanceof Problem && error.status < 500) || signal.aborted) {
      forget(url);
      void request('DELETE', url, { headers: TUS, waits: false }).catch(() => {});
    }
    throw error;
  } finally {
    reader.close();
  }
}

/**
 * @param {string} url
 * @param {import('./hashing.js').Part} part
 * @param {Sending} sending
 * @returns {Promise<number>} the server's offset after it
 */
async function sendPart(url, part, { file, signal, gate, onSent, onState }) {
  /** @type {Record<string, string>} */
  const headers = { ...TUS, 'upload-offset': String(part.offset), 'content-type': 'application/offset+octet-stream' };
  if (part.sha1) headers['repr-digest'] = reprDigest(part.sha1);
  const progress = (/** @type {number} */ sent) => {
    onSent(part.offset + sent);
    if (part.offset + sent >= file.size) onState('checking');
  };
  const answer = await request('PATCH', url, {
    headers,
    body: part.bytes,
    signals: [signal, gate.closing],
    onSent: progress,
  });
  return Number(answer.header('upload-offset'));
}

/**
 * What became of an upload whose bytes are all there.
 * @param {string} url
 * @param {Sending} sending
 * @returns {Promise<Result>}
 */
async function outcome(url, { signal, onState }) {
  for (;;) {
    onState('checking');
    /** @type {Result} */
    const result = (await request('GET', url, { signals: [signal] })).json();
    if (result.status !== 'receiving') return ended(result);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
