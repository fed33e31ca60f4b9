// One copy of a content on one server: its link, the ranges that are asked of it, and how it has done.

import { Patience, aborted } from './waits.js';

/** No byte for so long, and the answer is given up. */
const STALL_MS = 20_000;

/** A copy did not give what was asked of it; it may later. */
export class Trouble extends Error {
  name = 'Trouble';
}

/** A copy. */
export class Source {
  /** The link with a ticket that central's lasting one led to; asked for anew when it does no more. */
  #direct = '';
  #patience = new Patience();
  /** @type {Promise<void> | undefined} */
  #rest;
  /** What came and was right. */
  goodPieces = 0;
  goodBytes = 0;
  wrongPieces = 0;
  /** How many pieces in a row were wrong. */
  wrongInARow = 0;
  /** What is the matter with it now, as the end of a sentence that begins with its place. */
  trouble = '';
  /** Whether nothing more is asked of it. */
  isLeft = false;

  /** @param {{node: string, place: string, url: string}} about with central's lasting link to this copy */
  constructor({ node, place, url }) {
    this.node = node;
    this.place = place;
    this.url = url;
  }

  /** A piece came and was right. @param {number} bytes */
  gave(bytes) {
    this.goodPieces += 1;
    this.goodBytes += bytes;
    this.wrongInARow = 0;
    this.trouble = '';
    this.#patience.reset();
  }

  /** A piece came and was wrong. */
  gaveWrong() {
    this.wrongPieces += 1;
    this.wrongInARow += 1;
  }

  /** Something else went wrong: the requests to it wait, together. @param {string} trouble @param {AbortSignal} signal */
  failed(trouble, signal) {
    this.trouble = trouble;
    this.#rest ??= this.#patience.wait(signal).finally(() => (this.#rest = undefined));
    // Whoever goes on awaits it in `rested`.
    this.#rest.catch(() => undefined);
  }

  /** @returns {Promise<void>} when it may be asked again */
  async rested() {
    await this.#rest;
  }

  /**
   * A range of the content, as it comes.
   * @param {number} from first byte
   * @param {number} to the byte after the last
   * @param {number} size of the content
   * @param {AbortSignal[]} signals any of them ends it
   * @returns {AsyncGenerator<Uint8Array, void, void>} throws {@link Trouble}
   */
  async *read(from, to, size, signals) {
    const request = new AbortController();
    const stop = () => request.abort();
    if (signals.some((signal) => signal.aborted)) throw aborted();
    for (const signal of signals) signal.addEventListener('abort', stop);
    // Only what the server takes is counted, not what is done here with a part of it.
    let timer = setTimeout(stop, STALL_MS);
    try {
      const answer = await this.#ask(from, to, size, request.signal);
      const reader = answer.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        clearTimeout(timer);
        if (done) return;
        yield value;
        timer = setTimeout(stop, STALL_MS);
      }
    } catch (error) {
      if (signals.some((signal) => signal.aborted)) throw aborted();
      if (error instanceof Trouble) throw error;
      // The server may have moved: the next request asks central.
      this.#direct = '';
      throw new Trouble('does not answer');
    } finally {
      clearTimeout(timer);
      for (const signal of signals) signal.removeEventListener('abort', stop);
      request.abort();
    }
  }

  /**
   * @param {number} from @param {number} to @param {number} size @param {AbortSignal} signal
   * @returns {Promise<ReadableStream<Uint8Array>>}
   */
  async #ask(from, to, size, signal) {
    for (;;) {
      const url = this.#direct || this.url;
      // Not through the browser's cache: it lets one request at a time write to an address.
      const answer = await fetch(url, { headers: { range: `bytes=${from}-${to - 1}` }, cache: 'no-store', signal });
      const range = answer.headers.get('content-range');
      if (answer.status === 206 && range === `bytes ${from}-${to - 1}/${size}` && answer.body) {
        if (url === this.url) this.#direct = answer.url;
        return answer.body;
      }
      await answer.body?.cancel();
      const isOld = url !== this.url;
      if (this.#direct === url) this.#direct = '';
      // The ticket may be over, or of a copy that was made anew: central is asked for a fresh one, once.
      if (isOld && [403, 404, 410].includes(answer.status)) continue;
      throw new Trouble(answer.status < 400 ? 'does not give parts of the file' : 'has nothing to give now');
    }
  }
}
