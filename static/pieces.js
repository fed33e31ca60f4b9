// Loads a content by pieces from all its copies at once, and checks each piece before it is kept. The list of
// the pieces' digests is central's, so no copy has to be trusted. Knows nothing of the page.

import { persistently, request } from './api.js';
import { lengthOf, sha256 } from './plan.js';
import { Source, Trouble } from './source.js';
import { Gate, Patience, aborted, isAbort } from './waits.js';

/** Requests at once to one copy: while one piece is checked and written, the line is not idle. */
const LANES = 2;
/** Pieces of one request at most: enough for a far server not to be waited for at each. */
const MOST_PIECES = 4;
/** So many wrong ones in a row, and a copy is asked for nothing more. */
const MOST_WRONG = 3;
/** So often every copy may have given the same piece wrong. */
const MOST_ROUNDS = 2;
/** A last piece that takes longer is asked of another copy, too. */
const SLOW_MS = 2000;

/** Every copy gives wrong bytes. */
export class Spoiled extends Error {
  name = 'Spoiled';
}

/** @typedef {import('./plan.js').Plan} Plan */

/**
 * @param {string} sha1
 * @param {AbortSignal} signal
 * @param {(error: Error) => void} onTrouble
 * @returns {Promise<Plan>}
 */
export async function planOf(sha1, signal, onTrouble) {
  const ask = () => request('GET', `/api/v1/blobs/${sha1}/pieces`, { signals: [signal] });
  const found = (await persistently(signal, ask, onTrouble)).json();
  const plan = { sha1, size: found.size, pieceBytes: found.piece_length, digests: found.sha256 };
  if (plan.digests.length !== Math.ceil(plan.size / plan.pieceBytes)) {
    throw new Error('This site does not know the digest of each piece.');
  }
  return plan;
}

/** One request: pieces in a row from one copy. */
class Run {
  stop = new AbortController();
  /** Bytes there are of the piece that is coming. */
  filled = 0;
  /** When that piece began. */
  since = performance.now();

  /** @param {Source} source @param {number} next the piece that is coming @param {number} end the one after the last */
  constructor(source, next, end) {
    this.source = source;
    this.next = next;
    this.end = end;
  }

  /** @param {number} index */
  covers(index) {
    return this.next <= index && index < this.end;
  }
}

/** A content on its way. Fires `changed`. */
export class Pieces extends EventTarget {
  /** @type {Source[]} in order of choice */
  sources = [];
  keptBytes = 0;
  keptPieces = 0;
  /** Pieces that were there before. */
  formerPieces = 0;
  /** @type {Map<Source, Set<Source>>} for each copy that gave wrong pieces, which ones gave them instead */
  rescues = new Map();
  #gate = new Gate();
  #ending = new AbortController();
  #isKept;
  /** @type {Set<number>} pieces that nobody is at */
  #todo = new Set();
  /** @type {Set<Run>} */
  #runs = new Set();
  /** @type {Map<number, Set<Source>>} who gave a piece wrong, in this round */
  #wrongAt = new Map();
  /** @type {Map<number, number>} */
  #rounds = new Map();
  /** @type {(() => void)[]} */
  #waiting = [];
  /** @type {(error: unknown) => void} */
  #fail = () => undefined;
  #done = () => {};

  /**
   * @param {Plan} plan
   * @param {{kept: number[], write: (position: number, bytes: Uint8Array, index: number) => Promise<void>}} disk
   */
  constructor(plan, disk) {
    super();
    this.plan = plan;
    this.disk = disk;
    this.#isKept = new Uint8Array(plan.digests.length);
    for (const index of disk.kept) {
      this.#isKept[index] = 1;
      this.keptBytes += lengthOf(plan, index);
    }
    this.keptPieces = this.formerPieces = disk.kept.length;
    plan.digests.forEach((_, index) => this.#isKept[index] || this.#todo.add(index));
  }

  /** What is kept, and what is on its way. */
  get loadedBytes() {
    let bytes = this.keptBytes;
    for (const run of this.#runs) if (!this.#isKept[run.next]) bytes += run.filled;
    return Math.min(this.plan.size, bytes);
  }

  get isPaused() {
    return !this.#gate.isOpen;
  }

  /** Whether nothing comes from anywhere, and not because of the person. */
  get isWaiting() {
    return !this.isPaused && this.sources.every((source) => source.isLeft || source.trouble !== '');
  }

  pause() {
    this.#gate.close();
    for (const run of this.#runs) run.stop.abort();
    this.#changed();
  }

  resume() {
    this.#gate.open();
    this.#changed();
  }

  /**
   * Loads what is missing.
   * @param {AbortSignal} signal gives it up
   * @returns {Promise<void>} when every piece is kept
   */
  async load(signal) {
    const stop = () => this.#fail(aborted());
    const over = new Promise((resolve, reject) => {
      this.#done = () => resolve(undefined);
      this.#fail = reject;
    });
    signal.addEventListener('abort', stop);
    try {
      if (signal.aborted) stop();
      if (this.keptPieces === this.plan.digests.length) this.#done();
      else void this.#watch().catch(this.#failing);
      await over;
    } finally {
      signal.removeEventListener('abort', stop);
      this.#ending.abort();
    }
  }

  /** What is given up with everything else is no news. @param {unknown} error */
  #failing = (error) => {
    if (!this.#ending.signal.aborted) this.#fail(error);
  };

  #changed() {
    for (const go of this.#waiting.splice(0)) go();
    this.dispatchEvent(new Event('changed'));
  }

  /** Something else has changed, or the time has come to look anew. */
  async #change() {
    await new Promise((resolve) => {
      const go = () => (clearTimeout(timer), resolve(undefined));
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((other) => other !== go);
        resolve(undefined);
      }, SLOW_MS / 2);
      this.#waiting.push(go);
    });
    if (this.#ending.signal.aborted) throw aborted();
  }

  /** Asks central where the copies are: at first, and whenever one is in trouble. */
  async #watch() {
    const patience = new Patience();
    const { signal } = this.#ending;
    for (;;) {
      await this.#refresh();
      await patience.wait(signal);
      while (this.sources.length > 0 && this.sources.every((source) => source.isLeft || source.trouble === '')) {
        patience.reset();
        await this.#change();
      }
    }
  }

  async #refresh() {
    const { signal } = this.#ending;
    const ask = () => request('GET', `/api/v1/blobs/${this.plan.sha1}/replicas`, { signals: [signal] });
    const { replicas } = (await persistently(signal, ask)).json();
    for (const { node, place } of replicas) {
      if (this.sources.some((source) => source.node === node)) continue;
      const url = `/d/${this.plan.sha1}?node=${encodeURIComponent(node)}`;
      const source = new Source({ node, place: place.name, url: new URL(url, location.href).href });
      this.sources.push(source);
      for (let lane = 0; lane < LANES; lane += 1) void this.#lane(source).catch(this.#failing);
    }
    this.#changed();
  }

  /** @param {Source} source */
  async #lane(source) {
    const { signal } = this.#ending;
    while (!source.isLeft) {
      await source.rested();
      await this.#gate.passed(signal);
      const run = this.#take(source);
      if (!run) {
        await this.#change();
        continue;
      }
      this.#runs.add(run);
      try {
        await this.#follow(run);
      } catch (error) {
        if (signal.aborted) return;
        // Stopped by a pause, or because another was faster.
        if (isAbort(error) && run.stop.signal.aborted) continue;
        if (!(error instanceof Trouble)) throw error;
        source.failed(error.message, signal);
      } finally {
        this.#runs.delete(run);
        for (let index = run.next; index < run.end; index += 1) this.#giveBack(index, run);
        this.#changed();
      }
    }
  }

  /** Somebody else takes it, unless somebody has it. @param {number} index @param {Run} from who had it */
  #giveBack(index, from) {
    const isTaken = [...this.#runs].some((run) => run !== from && run.covers(index));
    if (!this.#isKept[index] && !isTaken) this.#todo.add(index);
  }

  /** @param {number} index @param {Source} source */
  #mayGive(index, source) {
    return !this.#wrongAt.get(index)?.has(source);
  }

  /** What a copy is asked for next. @param {Source} source @returns {Run | undefined} */
  #take(source) {
    // One that is in trouble is tried with little.
    const share = Math.ceil(this.#todo.size / (2 * LANES * this.sources.length));
    const most = source.trouble ? 1 : Math.min(MOST_PIECES, share);
    for (const first of this.#todo) {
      if (!this.#mayGive(first, source)) continue;
      let end = first;
      do this.#todo.delete(end++);
      while (end - first < most && this.#todo.has(end) && this.#mayGive(end, source));
      return new Run(source, first, end);
    }
    const others = [...this.#runs].filter((run) => run.source !== source);
    // Half of what is left of another's request.
    const longest = others.sort((a, b) => b.end - b.next - (a.end - a.next))[0];
    if (longest && longest.end - longest.next > 1) {
      const begin = longest.end - Math.floor((longest.end - longest.next) / 2);
      let end = begin;
      while (end < longest.end && this.#mayGive(end, source)) end += 1;
      if (end === longest.end) {
        longest.end = begin;
        return new Run(source, begin, end);
      }
    }
    // A piece that another is slow with, as one that has stopped is.
    const now = performance.now();
    const slow = others.find(({ next, since }) => {
      const isAlone = [...this.#runs].filter((run) => run.next === next).length === 1;
      return now - since > SLOW_MS && isAlone && !this.#isKept[next] && this.#mayGive(next, source);
    });
    return slow && new Run(source, slow.next, slow.next + 1);
  }

  /** @param {Run} run */
  async #follow(run) {
    const { plan } = this;
    const fresh = () => new Uint8Array(lengthOf(plan, run.next));
    const to = Math.min(plan.size, run.end * plan.pieceBytes);
    let piece = fresh();
    const signals = [this.#ending.signal, run.stop.signal];
    for await (const chunk of run.source.read(run.next * plan.pieceBytes, to, plan.size, signals)) {
      let rest = chunk;
      while (rest.byteLength > 0) {
        const part = rest.subarray(0, piece.byteLength - run.filled);
        piece.set(part, run.filled);
        rest = rest.subarray(part.byteLength);
        run.filled += part.byteLength;
        if (run.filled < piece.byteLength) continue;
        await this.#arrived(run, piece);
        run.next += 1;
        run.filled = 0;
        run.since = performance.now();
        // The rest of it may have been given to another meanwhile.
        if (run.next >= run.end) return;
        piece = fresh();
      }
      this.dispatchEvent(new Event('changed'));
    }
    throw new Trouble('stopped early');
  }

  /** @param {Run} run @param {Uint8Array<ArrayBuffer>} piece */
  async #arrived(run, piece) {
    const { next: index, source } = run;
    const { plan } = this;
    const bytes = piece.byteLength;
    const isRight = (await sha256(piece)) === plan.digests[index];
    if (this.#isKept[index] || this.#ending.signal.aborted) return;
    if (!isRight) return this.#refuse(run, index);
    this.#isKept[index] = 1;
    this.#todo.delete(index);
    for (const other of this.#runs) {
      if (other !== run && other.next === index && other.end === index + 1) other.stop.abort();
    }
    await this.disk.write(index * plan.pieceBytes, piece, index);
    source.gave(bytes);
    for (const wrong of this.#wrongAt.get(index) ?? []) {
      const rescuers = this.rescues.get(wrong) ?? new Set();
      this.rescues.set(wrong, rescuers.add(source));
    }
    this.keptPieces += 1;
    this.keptBytes += bytes;
    this.#changed();
    if (this.keptPieces === plan.digests.length) this.#done();
  }

  /** Where every copy that is still asked gave a piece wrong, each is asked once more. @param {number} index */
  #endRound(index) {
    const wrongAt = this.#wrongAt.get(index);
    if (!wrongAt || wrongAt.size === 0 || !this.sources.every((other) => other.isLeft || wrongAt.has(other))) return;
    const rounds = (this.#rounds.get(index) ?? 0) + 1;
    if (rounds >= MOST_ROUNDS) throw new Spoiled('Every copy gave wrong bytes.');
    this.#rounds.set(index, rounds);
    wrongAt.clear();
  }

  /** @param {Run} run @param {number} index */
  #refuse(run, index) {
    const { source } = run;
    source.gaveWrong();
    const wrongAt = this.#wrongAt.get(index) ?? new Set();
    this.#wrongAt.set(index, wrongAt.add(source));
    this.#endRound(index);
    if (source.wrongInARow >= MOST_WRONG) {
      source.isLeft = true;
      if (this.sources.every((other) => other.isLeft)) throw new Spoiled('Every copy gave wrong bytes.');
      // Pieces that waited for this copy wait for nobody now.
      for (const waiting of this.#wrongAt.keys()) if (!this.#isKept[waiting]) this.#endRound(waiting);
    }
    this.#giveBack(index, run);
    this.#changed();
    if (source.isLeft) throw new Trouble('gave wrong bytes and is asked for nothing more');
  }
}
