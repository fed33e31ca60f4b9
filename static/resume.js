// What the page remembers of unfinished uploads, in this browser only: enough to go on after a reload,
// when the same file is given again. A file is the same by name, size and time of its last change; the
// digest that ends the upload makes sure.

const KEY = 'closeby.uploads';
const LIFE_MS = 24 * 3600 * 1000;

/** @typedef {{name: string, size: number, changed: number, url: string, expires: number}} Memory */

/** @returns {Memory[]} those that have not expired */
function load() {
  try {
    const entries = JSON.parse(localStorage.getItem(KEY) ?? '[]');
    return Array.isArray(entries) ? entries.filter((entry) => entry.expires > Date.now()) : [];
  } catch {
    return [];
  }
}

/** @param {Memory[]} entries */
function save(entries) {
  try {
    if (entries.length > 0) localStorage.setItem(KEY, JSON.stringify(entries.slice(-200)));
    else localStorage.removeItem(KEY);
  } catch {
    // No storage, or none left: a reload then begins anew, nothing else is lost.
  }
}

/** @returns {Memory[]} every unfinished upload, oldest first */
export const unfinished = load;

/** @param {File} file @returns {Memory | undefined} */
export function recall(file) {
  return load().find((entry) => entry.name === file.name && entry.size === file.size && entry.changed === file.lastModified);
}

/** @param {File} file @param {string} url @param {string | null} expires an HTTP date */
export function remember(file, url, expires) {
  const until = Date.parse(expires ?? '') || Date.now() + LIFE_MS;
  const others = load().filter((entry) => entry.url !== url);
  save([...others, { name: file.name, size: file.size, changed: file.lastModified, url, expires: until }]);
}

/** @param {string} url */
export function forget(url) {
  save(load().filter((entry) => entry.url !== url));
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
