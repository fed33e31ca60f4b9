// What the page remembers of unfinished uploads, in this browser only: enough to go on after a reload,
// when the same file is given again. A file is the same by name, size and time of its last change; the
// digest that ends the upload makes sure.

// One key an upload, not one list of all: pages in other tabs change theirs at the same time.
const PREFIX = 'closeby.upload:';
/** The one list of 0.1.0. */
const FORMER_KEY = 'closeby.uploads';
const LIFE_MS = 24 * 3600 * 1000;
const MOST = 200;

/** @typedef {{name: string, size: number, changed: number, url: string, expires: number}} Memory */

/**
 * @template T
 * @param {(storage: Storage) => T} task
 * @param {T} otherwise where there is no storage, or none left: a reload then begins anew, nothing else is lost
 * @returns {T}
 */
function stored(task, otherwise) {
  try {
    return task(localStorage);
  } catch {
    return otherwise;
  }
}

/** @param {string | null} text @returns {any} nothing where it is not readable */
function parsed(text) {
  try {
    return JSON.parse(text ?? '') ?? undefined;
  } catch {
    return undefined;
  }
}

// What a page of 0.1.0 noted lives for a day.
stored((storage) => {
  const entries = parsed(storage.getItem(FORMER_KEY));
  if (Array.isArray(entries)) for (const entry of entries) storage.setItem(PREFIX + entry.url, JSON.stringify(entry));
  storage.removeItem(FORMER_KEY);
}, undefined);

/** @returns {Memory[]} every unfinished upload, the one that expires first at the front; expired ones are removed */
export function unfinished() {
  return stored((storage) => {
    /** @type {Memory[]} */
    const entries = [];
    for (const key of Object.keys(storage).filter((key) => key.startsWith(PREFIX))) {
      const entry = parsed(storage.getItem(key));
      if (entry && entry.expires > Date.now()) entries.push(entry);
      else storage.removeItem(key);
    }
    return entries.sort((one, other) => one.expires - other.expires);
  }, []);
}

/** @param {File} file @returns {Memory[]} */
export function recall(file) {
  return unfinished().filter((entry) => entry.name === file.name && entry.size === file.size && entry.changed === file.lastModified);
}

/** @param {File} file @param {string} url @param {string | null} expires an HTTP date */
export function remember(file, url, expires) {
  const until = Date.parse(expires ?? '') || Date.now() + LIFE_MS;
  /** @type {Memory} */
  const entry = { name: file.name, size: file.size, changed: file.lastModified, url, expires: until };
  for (const { url: oldest } of unfinished().slice(0, 1 - MOST)) forget(oldest);
  stored((storage) => storage.setItem(PREFIX + url, JSON.stringify(entry)), undefined);
}

/** @param {string} url */
export function forget(url) {
  stored((storage) => storage.removeItem(PREFIX + url), undefined);
}

/**
 * Keeps other tabs of this browser from going on with the same upload, while `task` runs. Browsers
 * grant such locks over TLS only; elsewhere the server's own order has to do.
 * @template T
 * @param {string} url
 * @param {(isOurs: boolean) => Promise<T>} task
 * @returns {Promise<T>}
 */
export function alone(url, task) {
  if (!navigator.locks) return task(true);
  return navigator.locks.request(`closeby:${url}`, { ifAvailable: true }, (lock) => task(lock !== null));
}
