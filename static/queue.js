// The upload queue: each file's way from chosen to kept, several side by side. It knows nothing of the
// page; view.js shows what it says.

import { Problem, Unreachable, placesOf } from './api.js';
import { ReadError } from './hashing.js';
import { WHOLE_BYTES, sendParts, sendWhole } from './send.js';
import { humanBytes, placeName } from './text.js';
import { Gate, Lanes, isAbort } from './waits.js';

/** Requests at once. Big files take half of them at most, so small ones always have a way. */
const MOST_SENT = 4;
const MOST_BIG_SENT = 2;
/** Files hashed at once before they are asked about. */
const MOST_HASHED = 2;

/**
 * `waiting`, `asking`, `hashing`, `sending`, `checking`, `catching-up` (the part that is there already is
 * hashed again), `paused`, `retrying`; and the ends: `stored`, `here`, `failed`, `cancelled`.
 * @typedef {string} State
 */

const ENDS = ['stored', 'here', 'failed', 'cancelled'];

/** One file on its way. */
export class Item {
  /** @type {State} */
  state = 'waiting';
  sentBytes = 0;
  hashedBytes = 0;
  /** What went wrong and what to do, in words. */
  trouble = '';
  /** @type {string | undefined} */
  sha1;
  /** The lasting link, once there is one. @type {string | undefined} */
  url;
  /** Names of the places that keep it. @type {string[]} */
  places = [];
  isHealed = false;
  cancelling = new AbortController();

  /** @param {number} id @param {File} file @param {string} path with its folders, as it was given */
  constructor(id, file, path) {
    this.id = id;
    this.file = file;
    this.path = path;
    this.name = file.name;
  }

  get isOver() {
    return ENDS.includes(this.state);
  }

  get isKept() {
    return this.state === 'stored' || this.state === 'here';
  }

  get isBig() {
    return this.file.size > WHOLE_BYTES;
  }

  /** How much of it needs no more work. */
  get doneBytes() {
    return this.isKept ? this.file.size : Math.min(this.sentBytes, this.file.size);
  }
}

/** The files that this page was given, in order. */
export class Queue extends EventTarget {
  /** @type {Item[]} */
  items = [];
  #nextId = 1;
  #gate = new Gate();
  #hashLanes = new Lanes(MOST_HASHED, { all: MOST_HASHED });
  #sendLanes = new Lanes(MOST_SENT, { big: MOST_BIG_SENT, small: MOST_SENT });

  /**
   * @param {object} collaborators
   * @param {import('./hashing.js').Hashing} collaborators.hashing
   * @param {import('./api.js').Precheck} collaborators.precheck
   * @param {number} collaborators.maxFileBytes
   */
  constructor({ hashing, precheck, maxFileBytes }) {
    super();
    this.hashing = hashing;
    this.precheck = precheck;
    this.maxFileBytes = maxFileBytes;
  }

  get isPaused() {
    return !this.#gate.isOpen;
  }

  /** Whether something is lost by leaving the page now. */
  get isBusy() {
    return this.items.some((item) => !item.isOver);
  }

  /** @param {{file: File, path: string}[]} files */
  add(files) {
    const items = files.map(({ file, path }) => new Item(this.#nextId++, file, path));
    this.items.push(...items);
    this.dispatchEvent(new CustomEvent('added', { detail: items }));
    for (const item of items) void this.#run(item);
  }

  pause() {
    this.#gate.close();
    this.#hold(true);
  }

  resume() {
    this.#gate.open();
    this.#hold(false);
  }

  /** @param {Item} item */
  cancel(item) {
    if (item.isOver) return;
    item.cancelling.abort();
    this.#set(item, 'cancelled');
  }

  cancelAll() {
    for (const item of this.items) this.cancel(item);
    this.resume();
  }

  /** @param {Item} item one that failed or was cancelled */
  retry(item) {
    if (item.state !== 'failed' && item.state !== 'cancelled') return;
    item.cancelling = new AbortController();
    item.sentBytes = item.hashedBytes = 0;
    this.#set(item, 'waiting');
    void this.#run(item);
  }

  retryFailed() {
    for (const item of this.items) if (item.state === 'failed') this.retry(item);
  }

  /** Takes what is over out of the list. */
  clear() {
    this.items = this.items.filter((item) => !item.isOver);
    this.dispatchEvent(new CustomEvent('cleared'));
  }

  /** @param {boolean} held */
  #hold(held) {
    this.#hashLanes.held = held;
    this.#sendLanes.held = held;
    this.dispatchEvent(new CustomEvent('paused'));
  }

  /** @param {Item} item @param {State} [state] @param {string} [trouble] */
  #set(item, state = item.state, trouble = '') {
    const was = item.state;
    item.state = state;
    item.trouble = trouble;
    this.dispatchEvent(new CustomEvent('changed', { detail: { item, was } }));
  }

  /** @param {Item} item */
  async #run(item) {
    const { signal } = item.cancelling;
    try {
      if (item.file.size > this.maxFileBytes) {
        throw new Problem(413, { detail: `It is larger than the ${humanBytes(this.maxFileBytes)} that are taken here.` }, 0);
      }
      await this.#toKept(item, signal);
    } catch (error) {
      if (signal.aborted || isAbort(error)) return;
      this.#set(item, 'failed', advice(error));
    }
  }

  /** @param {Item} item @param {AbortSignal} signal */
  async #toKept(item, signal) {
    this.#set(item, 'asking');
    let verdict = await this.precheck.ask({ size: item.file.size }, signal);
    if (verdict.state === 'hash') {
      this.#set(item, 'waiting');
      item.sha1 = await this.#hashLanes.run('all', signal, () => {
        this.#set(item, 'hashing');
        return this.hashing.digest(item.file, signal, (done) => {
          item.hashedBytes = done;
          this.#set(item);
        });
      });
      this.#set(item, 'asking');
      verdict = await this.precheck.ask({ size: item.file.size, sha1: item.sha1 }, signal);
    }
    if (verdict.state === 'exists') {
      item.url = verdict.url;
      item.places = await placesOf(/** @type {string} */ (item.sha1), signal);
      if (!signal.aborted) this.#set(item, 'here');
      return;
    }
    this.#set(item, 'waiting');
    const sending = {
      file: item.file,
      name: item.name,
      sha1: item.sha1,
      hashing: this.hashing,
      signal,
      gate: this.#gate,
      onSent: (/** @type {number} */ sent) => {
        item.sentBytes = sent;
        this.#set(item, item.state, item.trouble);
      },
      onState: (/** @type {State} */ state) => {
        if (!signal.aborted && (item.state !== state || item.trouble)) this.#set(item, state);
      },
      onTrouble: (/** @type {Error} */ error) => this.#set(item, 'retrying', passing(error)),
    };
    const send = item.isBig ? sendParts : sendWhole;
    const result = await this.#sendLanes.run(item.isBig ? 'big' : 'small', signal, () => send(sending));
    if (signal.aborted) return;
    item.sha1 = result.sha1;
    item.url = result.url;
    item.places = (result.replicas ?? []).map(placeName);
    item.isHealed = /** @type {any} */ (result).healed === true;
    this.#set(item, result.status === 'stored' ? 'stored' : 'here');
  }
}

/** @param {Error} error @returns {string} why it waits */
function passing(error) {
  if (error instanceof Unreachable) {
    return navigator.onLine ? 'The server does not answer. Trying again.' : 'You are offline. It goes on by itself.';
  }
  return error instanceof Problem && error.status === 503 ? `${sentence(error.message)} Trying again.` : 'The server had trouble. Trying again.';
}

/** @param {unknown} error @returns {string} what happened and what to do */
function advice(error) {
  if (error instanceof ReadError) {
    if (error.reason === 'changed') return 'The file changed while it was read. Send it again once it is finished.';
    if (error.reason === 'unreadable') return 'The file cannot be read any more: it changed, was moved, or is closed to you. Choose it again.';
    return 'This page could not read the file. Reload the page and choose it again.';
  }
  if (error instanceof Problem) {
    const detail = sentence(error.message);
    if (error.code === 'wrong-digest') return 'The bytes changed on their way. Send it again.';
    if (error.code === 'invalid-name') return `${detail} Rename the file and choose it again.`;
    if (error.status === 413) return `${detail} Send a smaller file, or ask those who run this site.`;
    if (error.status === 507) return `${detail} Tell those who run this site.`;
    return error.status === 500 ? `${detail} Send it again a little later.` : detail;
  }
  return 'Something went wrong in this page. Send it again, or reload the page.';
}

/** @param {string} text */
function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.?!]$/.test(whole) ? whole : `${whole}.`;
}
