// This site's HTTP API, as the page asks it: one request at a time, and the two ways in which it fails.

import { another, token } from './token.js';
import { Patience, aborted, isAbort } from './waits.js';

/** The server cannot be reached. It passes. */
export class Unreachable extends Error {
  name = 'Unreachable';
}

/** The server said no, with a problem document (RFC 9457). */
export class Problem extends Error {
  name = 'Problem';

  /** Whether the server wants to see a token, or another one. */
  wantsToken = false;

  /** @param {number} status @param {{type?: string, title?: string, detail?: string}} document @param {number} retryAfterMs */
  constructor(status, document, retryAfterMs) {
    super(document.detail || document.title || `The server answered ${status}.`);
    this.status = status;
    /** The last part of its type, such as `wrong-digest`. */
    this.code = (document.type ?? '').split('/').at(-1) ?? '';
    this.title = document.title ?? 'The server did not take it';
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether asking again later can help. `507` is a full store: people have to act first. */
  get passes() {
    return [408, 423, 425, 429].includes(this.status) || (this.status >= 500 && ![501, 505, 507].includes(this.status));
  }
}

/** @typedef {{status: number, header: (name: string) => string | null, json: () => any}} Answer */

/**
 * @typedef {object} How
 * @property {Record<string, string>} [headers]
 * @property {XMLHttpRequestBodyInit | null} [body]
 * @property {AbortSignal[]} [signals] any of them ends it
 * @property {(sentBytes: number) => void} [onSent]
 */

/**
 * One request with the person's token. Where that is missing or not taken, it waits for another, and asks again.
 * @param {string} method
 * @param {string} url
 * @param {How & {waits?: boolean}} [how] `waits` is false for what nobody waits for
 * @returns {Promise<Answer>} of a status below 400
 */
export async function request(method, url, { waits = true, headers = {}, ...how } = {}) {
  // Elsewhere than at its field a token is the browser's to show, as the password it asked for.
  const hasField = document.getElementById('token') !== null;
  for (;;) {
    const shown = hasField ? token() : '';
    try {
      return await once(method, url, { ...how, headers: { ...headers, ...bearer(url, shown) } });
    } catch (error) {
      if (!(error instanceof Problem && error.wantsToken && hasField && waits)) throw error;
      await another(shown, reason(error, shown), how.signals ?? []);
    }
  }
}

/** @param {string} url @param {string} shown @returns {Record<string, string>} for this site, and for no other */
function bearer(url, shown) {
  return shown && new URL(url, location.href).origin === location.origin ? { authorization: `Bearer ${shown}` } : {};
}

/** @param {Problem} error @param {string} shown @returns {string} why another token is wanted */
function reason(error, shown) {
  if (!shown) return 'Enter a token. The files wait for it.';
  if (error.status === 403) return 'This token is not good for uploading. The files wait for another one.';
  return 'This token does not count: it may be mistyped, revoked or expired. The files wait for another one.';
}

/**
 * One request. XMLHttpRequest rather than fetch: it alone tells how much of a body is sent.
 * @param {string} method
 * @param {string} url
 * @param {How} how
 * @returns {Promise<Answer>} of a status below 400
 */
function once(method, url, { headers = {}, body = null, signals = [], onSent }) {
  return new Promise((resolve, reject) => {
    if (signals.some((signal) => signal.aborted)) return reject(aborted());
    const xhr = new XMLHttpRequest();
    const stop = () => xhr.abort();
    for (const signal of signals) signal.addEventListener('abort', stop);
    xhr.onloadend = () => signals.forEach((signal) => signal.removeEventListener('abort', stop));
    xhr.onabort = () => reject(aborted());
    xhr.onerror = () => reject(new Unreachable('The server cannot be reached.'));
    xhr.ontimeout = xhr.onerror;
    xhr.onload = () => {
      if (xhr.status >= 400) return reject(problemOf(xhr));
      resolve({
        status: xhr.status,
        header: (name) => xhr.getResponseHeader(name),
        json: () => JSON.parse(xhr.responseText),
      });
    };
    if (onSent) xhr.upload.onprogress = (event) => onSent(event.loaded);
    xhr.open(method, url);
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    xhr.send(body);
  });
}

/** @param {XMLHttpRequest} xhr */
function problemOf(xhr) {
  let document = {};
  try {
    document = JSON.parse(xhr.responseText);
  } catch {
    // A proxy's page, or nothing: the status says enough.
  }
  const after = Number(xhr.getResponseHeader('retry-after'));
  const problem = new Problem(xhr.status, document, after > 0 ? after * 1000 : 0);
  problem.wantsToken = [401, 403].includes(xhr.status) && xhr.getResponseHeader('www-authenticate') !== null;
  return problem;
}

/**
 * Does something until it succeeds, fails for good, or is given up.
 * @template T
 * @param {AbortSignal} signal
 * @param {() => Promise<T>} what
 * @param {(error: Unreachable | Problem) => void} [onTrouble] before each wait
 * @returns {Promise<T>}
 */
export async function persistently(signal, what, onTrouble) {
  const patience = new Patience();
  for (;;) {
    try {
      return await what();
    } catch (error) {
      await calm(error, patience, signal, onTrouble);
    }
  }
}

/** So many faults of the server itself in a row, and the person should know. */
const MOST_FAULTS = 6;

/**
 * Waits where trying again can help; throws the error where it cannot.
 * @param {unknown} error
 * @param {Patience} patience
 * @param {AbortSignal} signal
 * @param {(error: Unreachable | Problem) => void} [onTrouble]
 */
export async function calm(error, patience, signal, onTrouble) {
  const passes = error instanceof Unreachable || (error instanceof Problem && error.passes);
  if (isAbort(error) || !passes) throw error;
  if (error instanceof Problem && error.status === 500 && patience.attempts >= MOST_FAULTS) throw error;
  onTrouble?.(/** @type {Unreachable | Problem} */ (error));
  await patience.wait(signal, error instanceof Problem ? error.retryAfterMs : 0);
}

/** @typedef {{state: 'send' | 'hash' | 'exists', url?: string}} Verdict */

const MOST_QUESTIONS = 1000;

/**
 * Asks which files need not be sent. While one question is on its way the next ones gather, so a
 * thousand files are a few requests.
 */
export class Precheck {
  /** @type {{question: {size: number, sha1?: string}, answer: (verdict: Verdict) => void, fail: (error: unknown) => void}[]} */
  #waiting = [];
  #isAsking = false;

  /**
   * @param {{size: number, sha1?: string}} question
   * @param {AbortSignal} signal
   * @returns {Promise<Verdict>}
   */
  ask(question, signal) {
    return new Promise((answer, fail) => {
      if (signal.aborted) return fail(aborted());
      signal.addEventListener('abort', () => fail(aborted()), { once: true });
      this.#waiting.push({ question, answer, fail });
      if (!this.#isAsking) {
        this.#isAsking = true;
        // After this turn: files that are given together are asked about together.
        queueMicrotask(() => void this.#drain());
      }
    });
  }

  async #drain() {
    const nobody = new AbortController().signal;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MOST_QUESTIONS);
      const body = JSON.stringify({ files: batch.map((entry) => entry.question) });
      try {
        const headers = { 'content-type': 'application/json' };
        const answer = await persistently(nobody, () => request('POST', '/api/v1/precheck', { headers, body }));
        const { files } = answer.json();
        batch.forEach((entry, index) => entry.answer(files[index]));
      } catch (error) {
        for (const entry of batch) entry.fail(error);
      }
    }
    this.#isAsking = false;
  }
}

/**
 * Where a blob's copies are.
 * @param {string} sha1
 * @param {AbortSignal} signal
 * @returns {Promise<string[]>} names of places, in alphabetical order; none if it cannot be said
 */
export async function placesOf(sha1, signal) {
  try {
    // Without the browser's own credentials: it would ask the person for a password that this is not worth.
    const url = `/api/v1/blobs/${sha1}`;
    const answer = await fetch(url, { signal, credentials: 'omit', headers: bearer(url, token()) });
    const blob = await answer.json();
    const usable = blob.replicas.filter((/** @type {any} */ replica) => replica.state === 'stored');
    return usable.map((/** @type {any} */ replica) => replica.place.name).sort();
  } catch {
    return [];
  }
}
