// Where the pieces of a download are joined: in the file that a person picks (File System Access), else in a
// file of this site's own in the browser (OPFS), which is then handed over like any download.

import { aborted, isAbort, sleep } from './waits.js';

/** @typedef {import('./plan.js').Plan} Plan */

/**
 * @typedef {object} Disk
 * @property {number[]} kept pieces that are there already, checked
 * @property {(position: number, bytes: Uint8Array<ArrayBuffer>, index: number) => Promise<void>} write takes the buffer away
 * @property {() => Promise<File | undefined>} finish every piece is there; what is still to be handed over
 * @property {() => Promise<void>} discard nothing of it is wanted
 * @property {() => Promise<void>} leave it goes no further now; what can be kept is kept for another try
 */

const FOLDER = 'verified-downloads';
/** What was handed over goes after so long: until then the browser may still be copying it. */
const FINISHED_FOR_MS = 10 * 60_000;
/** What nobody went on with goes after so long. */
const UNFINISHED_FOR_MS = 3 * 24 * 3_600_000;

/** A page that was just left may still hold its file; another tab's download holds it for longer. */
const HELD_FOR_MS = 3000;
const ASK_AGAIN_MS = 200;

/** There is no room for the file. */
export class NoRoom extends Error {
  name = 'NoRoom';
}

/** The browser lends no place after all, as in some private windows. */
export class NoPlace extends Error {
  name = 'NoPlace';
}

const hasPicker = () => 'showSaveFilePicker' in globalThis;
const hasOwn = () => typeof navigator.storage?.getDirectory === 'function' && 'FileSystemFileHandle' in globalThis && 'Worker' in globalThis;

/** Whether pieces can be checked (only where the site is served over TLS, or on this machine) and joined. */
export const canJoin = () => Boolean(globalThis.crypto?.subtle) && (hasPicker() || hasOwn());

/**
 * Has the person pick a file, where browsers can. To be called from a click.
 * @param {string} name
 * @returns {Promise<any>} a FileSystemFileHandle, or nothing where there is no picker; ends with an AbortError when the person picks none
 */
export async function picked(name) {
  if (!hasPicker()) return undefined;
  try {
    return await /** @type {any} */ (globalThis).showSaveFilePicker({ suggestedName: name, id: 'closeby' });
  } catch (error) {
    // Some browsers have the picker and forbid it; their own place may still do.
    if (isAbort(error) || !hasOwn()) throw error;
    return undefined;
  }
}

/**
 * @param {Plan} plan
 * @param {any} handle what {@link picked} gave
 * @param {AbortSignal} signal
 * @returns {Promise<Disk>}
 */
export async function open(plan, handle, signal) {
  const disk = handle ? await PickedFile.open(plan, handle) : await OwnFile.open(plan, signal);
  if (!signal.aborted) return disk;
  await disk.discard();
  throw aborted();
}

/** @param {unknown} error @returns {unknown} the same in words that help */
function told(error) {
  return error instanceof DOMException && error.name === 'QuotaExceededError'
    ? new NoRoom('There is no room for this file on the disk.')
    : error;
}

/** @param {unknown} error */
const isInUse = (error) => error instanceof DOMException && error.name === 'NoModificationAllowedError';

/** The file that a person picked. The browser writes beside it and puts it in place at the end. */
class PickedFile {
  /** @type {number[]} */
  kept = [];

  /** @param {any} handle @param {any} stream @param {boolean} isNew */
  constructor(handle, stream, isNew) {
    this.handle = handle;
    this.stream = stream;
    this.isNew = isNew;
  }

  /** @param {Plan} plan @param {any} handle */
  static async open(plan, handle) {
    try {
      const { size } = await handle.getFile();
      const stream = await handle.createWritable();
      // A disk that is too small says so now.
      await stream.truncate(plan.size);
      return new PickedFile(handle, stream, size === 0);
    } catch (error) {
      throw told(error);
    }
  }

  /** @param {number} position @param {Uint8Array<ArrayBuffer>} data */
  async write(position, data) {
    try {
      await this.stream.write({ type: 'write', position, data });
    } catch (error) {
      throw told(error);
    }
  }

  async finish() {
    try {
      await this.stream.close();
    } catch (error) {
      throw told(error);
    }
    return undefined;
  }

  async discard() {
    await this.stream.abort().catch(() => undefined);
    // The picker made an empty file; one that was there before stays as it was.
    if (this.isNew) await this.handle.remove?.().catch(() => undefined);
  }

  /** A picked file that is not whole is of no use. */
  leave() {
    return this.discard();
  }
}

/** A file of this site's own. A worker writes it: only there is it written in place, and so outlives a reload. */
class OwnFile {
  #worker = new Worker(new URL('disk-worker.js', import.meta.url), { type: 'module' });
  /** @type {Map<number, {resolve: (value: any) => void, reject: (error: unknown) => void}>} */
  #asked = new Map();
  #count = 0;
  /** @type {number[]} */
  kept = [];

  /** @param {string} sha1 */
  constructor(sha1) {
    this.sha1 = sha1;
    this.#worker.onmessage = ({ data }) => {
      const asked = this.#asked.get(data.id);
      this.#asked.delete(data.id);
      if (data.error) asked?.reject(told(new DOMException(data.error.message, data.error.name)));
      else asked?.resolve(data.value);
    };
    this.#worker.onerror = () => {
      for (const { reject } of this.#asked.values()) reject(new NoPlace('The browser ended the writing.'));
      this.#asked.clear();
    };
  }

  /** @param {Plan} plan @param {AbortSignal} signal */
  static async open(plan, signal) {
    const former = await sizeOf(plan.sha1);
    const { quota = Infinity, usage = 0 } = (await navigator.storage.estimate?.().catch(() => undefined)) ?? {};
    if (quota - usage + former < plan.size) throw new NoRoom('The browser has no room for this file.');
    const file = new OwnFile(plan.sha1);
    try {
      await file.#openWithin(performance.now() + HELD_FOR_MS, plan, signal);
      return file;
    } catch (error) {
      file.#worker.terminate();
      if (signal.aborted) throw aborted();
      if (error instanceof NoRoom) throw error;
      throw isInUse(error) ? new Error('Another tab downloads this file already.') : new NoPlace('The browser lends no place.');
    }
  }

  /** @param {number} deadline @param {Plan} plan @param {AbortSignal} signal */
  async #openWithin(deadline, plan, signal) {
    for (;;) {
      try {
        this.kept = await this.#ask('open', { folder: FOLDER, plan });
        return;
      } catch (error) {
        if (!isInUse(error) || performance.now() > deadline) throw error;
        await sleep(ASK_AGAIN_MS, signal);
      }
    }
  }

  /** @param {string} act @param {object} [about] @param {Transferable[]} [given] @returns {Promise<any>} */
  #ask(act, about = {}, given = []) {
    const id = (this.#count += 1);
    return new Promise((resolve, reject) => {
      this.#asked.set(id, { resolve, reject });
      this.#worker.postMessage({ id, act, ...about }, given);
    });
  }

  /** @param {number} position @param {Uint8Array<ArrayBuffer>} bytes @param {number} index */
  async write(position, bytes, index) {
    await this.#ask('write', { position, bytes, index }, [bytes.buffer]);
  }

  async finish() {
    await this.#ask('close');
    this.#worker.terminate();
    const handle = await (await folder()).getFileHandle(`${this.sha1}.data`);
    return handle.getFile();
  }

  async discard() {
    await this.#ask('close').catch(() => undefined);
    this.#worker.terminate();
    await remove(this.sha1);
  }

  async leave() {
    await this.#ask('close').catch(() => undefined);
    this.#worker.terminate();
  }
}

/** @returns {Promise<FileSystemDirectoryHandle>} throws where there was none yet */
async function folder() {
  return (await navigator.storage.getDirectory()).getDirectoryHandle(FOLDER);
}

/** @param {string} sha1 @returns {Promise<number>} */
async function sizeOf(sha1) {
  try {
    return (await (await (await folder()).getFileHandle(`${sha1}.data`)).getFile()).size;
  } catch {
    return 0;
  }
}

/** @param {string} sha1 */
async function remove(sha1) {
  try {
    const here = await folder();
    // The data last: without its marks it is still found and removed.
    for (const end of ['marks', 'data']) await here.removeEntry(`${sha1}.${end}`).catch(() => undefined);
  } catch {
    // There is nothing.
  }
}

/**
 * Removes what earlier downloads left.
 * @param {string} sha1 whose page this is
 * @returns {Promise<number>} how much of it is here, from 0 to 1: a download that was broken off goes on
 */
export async function sweep(sha1) {
  let share = 0;
  if (!hasOwn()) return share;
  try {
    const here = /** @type {any} */ (await folder());
    const names = [];
    for await (const name of here.keys()) if (name.endsWith('.data')) names.push(name.slice(0, -'.data'.length));
    for (const name of names) {
      const { lastModified } = await (await here.getFileHandle(`${name}.data`)).getFile();
      const marks = await marksOf(here, name);
      const done = marks.reduce((sum, mark) => sum + mark, 0) / (marks.length || 1);
      const isOld = Date.now() - lastModified > (done === 1 ? FINISHED_FOR_MS : UNFINISHED_FOR_MS);
      // What another tab is at cannot be removed, and stays.
      if (isOld) await remove(name);
      else if (name === sha1) share = done;
    }
  } catch {
    // No folder yet, or none to be had.
  }
  return share;
}

/** @param {any} here @param {string} name @returns {Promise<Uint8Array>} a byte for each piece, 1 where it is there */
async function marksOf(here, name) {
  try {
    return new Uint8Array(await (await (await here.getFileHandle(`${name}.marks`)).getFile()).arrayBuffer());
  } catch {
    return new Uint8Array();
  }
}
