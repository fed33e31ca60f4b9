// The page's side of worker.js: a small number of workers, and each file's work given to the idlest.

import { aborted } from './waits.js';

/** A file could not be read; `reason` is `changed`, `unreadable` or `broken`. */
export class ReadError extends Error {
  name = 'ReadError';

  /** @param {string} reason @param {string} message */
  constructor(reason, message) {
    super(message);
    this.reason = reason;
  }
}

const MOST_WORKERS = 4;

/** @typedef {{worker: Worker, load: number}} Hand */

/** Reads and hashes files in workers. */
export class Hashing {
  /** @type {Hand[]} */
  #hands = [];
  #most = Math.max(1, Math.min(MOST_WORKERS, (navigator.hardwareConcurrency || 2) - 1));
  #nextId = 1;
  /** @type {Map<number, (message: any) => void>} */
  #listeners = new Map();

  /** @returns {Hand} */
  #hand() {
    const idlest = this.#hands.toSorted((a, b) => a.load - b.load)[0];
    if (idlest && (idlest.load === 0 || this.#hands.length >= this.#most)) return idlest;
    const worker = new Worker(new URL('./worker.js', import.meta.url), { type: 'module' });
    const hand = { worker, load: 0 };
    worker.onmessage = ({ data }) => this.#listeners.get(data.id)?.(data);
    worker.onerror = () => {
      // It did not start, or died: whoever waits for it hears so, and the next job makes another.
      this.#hands = this.#hands.filter((other) => other !== hand);
      for (const [id, listener] of this.#listeners) {
        listener({ id, kind: 'failed', reason: 'broken', message: 'The part of the page that reads files stopped.', from: worker });
      }
    };
    this.#hands.push(hand);
    return hand;
  }

  /**
   * The SHA-1 of a whole file.
   * @param {File} file
   * @param {AbortSignal} signal
   * @param {(doneBytes: number) => void} onProgress
   * @returns {Promise<string>} in hex
   */
  async digest(file, signal, onProgress) {
    const job = this.#begin('hash', file);
    try {
      return (await job.next(signal, 'done', onProgress)).sha1;
    } finally {
      job.end();
    }
  }

  /**
   * A reader of parts that hashes in passing.
   * @param {File} file
   * @returns {PartReader}
   */
  reader(file) {
    return new PartReader(file, this.#begin('open', file));
  }

  /** @param {'hash' | 'open'} kind @param {File} file @returns {Job} */
  #begin(kind, file) {
    const id = this.#nextId++;
    const hand = this.#hand();
    let isOver = false;
    hand.load += 1;
    hand.worker.postMessage({ id, kind, file });
    return {
      send: (message, transfer = []) => hand.worker.postMessage({ id, ...message }, transfer),
      next: (signal, wanted, onProgress) =>
        new Promise((resolve, reject) => {
          if (signal.aborted) return reject(aborted());
          const stop = () => reject(aborted());
          signal.addEventListener('abort', stop, { once: true });
          this.#listeners.set(id, (message) => {
            if (message.from && message.from !== hand.worker) return;
            if (message.kind === 'progress') return onProgress?.(message.done);
            signal.removeEventListener('abort', stop);
            if (message.kind === wanted) resolve(message);
            else reject(new ReadError(message.reason, message.message));
          });
        }),
      end: () => {
        if (isOver) return;
        isOver = true;
        this.#listeners.delete(id);
        hand.load -= 1;
        hand.worker.postMessage({ id, kind: 'close' });
      },
    };
  }
}

/**
 * @typedef {object} Job
 * @property {(message: object, transfer?: Transferable[]) => void} send
 * @property {(signal: AbortSignal, kind: string, onProgress?: (doneBytes: number) => void) => Promise<any>} next
 * @property {() => void} end
 */

/** @typedef {{offset: number, bytes: Uint8Array, sha1?: string}} Part `sha1` comes with the part that ends the file */

/** One file in parts, each asked for by its offset; one part is read ahead. */
export class PartReader {
  /** @type {{offset: number, promise: Promise<Part>} | undefined} */
  #ahead;

  /** @param {File} file @param {Job} job */
  constructor(file, job) {
    this.file = file;
    this.job = job;
  }

  /**
   * @param {number} offset
   * @param {number} length at most
   * @param {AbortSignal} signal
   * @param {(hashedBytes: number) => void} [onCatchUp] while bytes before the offset are hashed
   * @returns {Promise<Part>}
   */
  async part(offset, length, signal, onCatchUp) {
    const ahead = this.#ahead;
    this.#ahead = undefined;
    if (ahead) {
      // The worker answers in order, so what was asked for is taken in any case.
      const part = await ahead.promise;
      if (ahead.offset === offset) return part;
    }
    return this.#ask(offset, length, signal, onCatchUp);
  }

  /** Starts reading what will be wanted next. @param {number} offset @param {number} length @param {AbortSignal} signal */
  readAhead(offset, length, signal) {
    if (offset >= this.file.size || this.#ahead) return;
    const promise = this.#ask(offset, length, signal);
    promise.catch(() => {});
    this.#ahead = { offset, promise };
  }

  /** @param {number} offset @param {number} length @param {AbortSignal} signal @param {(bytes: number) => void} [onCatchUp] @returns {Promise<Part>} */
  async #ask(offset, length, signal, onCatchUp) {
    const answer = this.job.next(signal, 'part', onCatchUp);
    this.job.send({ kind: 'part', offset, length });
    const { bytes, sha1 } = await answer;
    return { offset, bytes: new Uint8Array(bytes), sha1 };
  }

  close() {
    this.job.end();
  }
}
