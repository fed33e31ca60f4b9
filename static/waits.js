// Waiting that can be given up: pauses between attempts, the gate that Pause closes, and the lanes that
// keep small files from waiting behind big ones.

const FIRST_MS = 500;
const LONGEST_MS = 10_000;

/** What every abandoned wait ends with. */
export const aborted = () => new DOMException('Cancelled', 'AbortError');

/** @param {unknown} error @returns {boolean} */
export const isAbort = (error) => error instanceof DOMException && error.name === 'AbortError';

/** @param {number} ms @param {AbortSignal} signal @returns {Promise<void>} ends early when the browser comes online */
export function sleep(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(aborted());
    const end = (/** @type {() => void} */ how) => () => {
      clearTimeout(timer);
      removeEventListener('online', over);
      signal.removeEventListener('abort', stop);
      how();
    };
    const over = end(resolve);
    const stop = end(() => reject(aborted()));
    const timer = setTimeout(over, ms);
    addEventListener('online', over);
    signal.addEventListener('abort', stop);
  });
}

/** Waits that grow from half a second to ten seconds, and start anew when the browser is online again. */
export class Patience {
  static #onlines = 0;
  static {
    globalThis.addEventListener?.('online', () => (Patience.#onlines += 1));
  }

  #next = FIRST_MS;
  #seen = Patience.#onlines;
  /** How often in a row it was needed. */
  attempts = 0;

  /** Something went well: the next trouble is a new one. */
  reset() {
    this.#next = FIRST_MS;
    this.attempts = 0;
  }

  /**
   * @param {AbortSignal} signal
   * @param {number} [atLeastMs] what the server asked for
   * @returns {Promise<void>}
   */
  async wait(signal, atLeastMs = 0) {
    if (this.#seen !== Patience.#onlines) {
      this.#seen = Patience.#onlines;
      this.reset();
    }
    this.attempts += 1;
    const ms = Math.min(LONGEST_MS, Math.max(atLeastMs, this.#next * (0.75 + Math.random() / 4)));
    this.#next = Math.min(LONGEST_MS, this.#next * 2);
    await sleep(ms, signal);
  }
}

/** Open, or closed until someone opens it. */
export class Gate {
  #closing = new AbortController();
  /** @type {(() => void)[]} */
  #waiting = [];
  isOpen = true;

  /** Aborted when the gate closes; a new one stands here once it is open again. */
  get closing() {
    return this.#closing.signal;
  }

  close() {
    if (!this.isOpen) return;
    this.isOpen = false;
    this.#closing.abort();
  }

  open() {
    if (this.isOpen) return;
    this.isOpen = true;
    this.#closing = new AbortController();
    for (const go of this.#waiting.splice(0)) go();
  }

  /** @param {AbortSignal} signal @returns {Promise<void>} when it is open */
  async passed(signal) {
    while (!this.isOpen) {
      await new Promise((resolve, reject) => {
        const stop = () => reject(aborted());
        signal.addEventListener('abort', stop, { once: true });
        this.#waiting.push(() => {
          signal.removeEventListener('abort', stop);
          resolve(undefined);
        });
      });
    }
    if (signal.aborted) throw aborted();
  }
}

/**
 * @typedef {object} Lane
 * @property {number} limit how many of it run at once
 * @property {number} running
 * @property {{signal: AbortSignal, start: () => void}[]} waiting in order
 */

/**
 * A few tasks at once, in lanes: no more than `most` together, and each lane has a limit of its own that
 * leaves room for the others. Lanes that stand first start first.
 */
export class Lanes {
  /** @type {Map<string, Lane>} */
  #lanes = new Map();
  #running = 0;
  #isHeld = false;

  /** @param {number} most @param {Record<string, number>} limits lane to limit, in order */
  constructor(most, limits) {
    this.most = most;
    for (const [name, limit] of Object.entries(limits)) {
      this.#lanes.set(name, { limit, running: 0, waiting: [] });
    }
  }

  /** Whether nothing new may start. */
  set held(held) {
    this.#isHeld = held;
    this.#fill();
  }

  /**
   * @template T
   * @param {string} name the lane
   * @param {AbortSignal} signal gives up the place in the lane
   * @param {() => Promise<T>} task
   * @returns {Promise<T>}
   */
  async run(name, signal, task) {
    const lane = /** @type {Lane} */ (this.#lanes.get(name));
    await new Promise((resolve, reject) => {
      if (signal.aborted) return reject(aborted());
      const place = { signal, start: () => (signal.removeEventListener('abort', leave), resolve(undefined)) };
      const leave = () => {
        lane.waiting.splice(lane.waiting.indexOf(place), 1);
        reject(aborted());
      };
      signal.addEventListener('abort', leave, { once: true });
      lane.waiting.push(place);
      this.#fill();
    });
    try {
      return await task();
    } finally {
      lane.running -= 1;
      this.#running -= 1;
      this.#fill();
    }
  }

  #fill() {
    if (this.#isHeld) return;
    for (const lane of this.#lanes.values()) {
      while (this.#running < this.most && lane.running < lane.limit && lane.waiting.length > 0) {
        lane.running += 1;
        this.#running += 1;
        lane.waiting.shift()?.start();
      }
    }
  }
}
