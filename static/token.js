// The token that this page shows to its own server. It is kept for this tab alone, and never in an address or
// in the page's text. Where the server wants another one, whoever asked waits until it is there.

const KEY = 'closeby.token';

/** Tells `wanted`, with why in its detail, and `entered`. */
export const tokens = new EventTarget();

let current = load();
/** @type {string} why another one is wanted; nothing where none is */
let why = '';

function load() {
  try {
    return sessionStorage.getItem(KEY) ?? '';
  } catch {
    return '';
  }
}

/** @returns {string} the token; empty where there is none */
export const token = () => current;

/** @returns {boolean} whether something waits for another token */
export const isWanted = () => why !== '';

/** @param {string} text what the person entered */
export function enter(text) {
  current = text.trim();
  try {
    if (current) sessionStorage.setItem(KEY, current);
    else sessionStorage.removeItem(KEY);
  } catch {
    // No storage: a reload asks for it again, nothing else is lost.
  }
  why = '';
  tokens.dispatchEvent(new Event('entered'));
}

/**
 * @param {string} refused the token that the server did not take
 * @param {string} reason in words for the person
 * @param {AbortSignal[]} signals any of them ends the wait
 * @returns {Promise<void>} when there is another one, or when a signal ended it
 */
export async function another(refused, reason, signals) {
  // One was entered while the answer was on its way.
  if (refused !== current) return;
  if (why !== reason) {
    why = reason;
    tokens.dispatchEvent(new CustomEvent('wanted', { detail: reason }));
  }
  const done = new AbortController();
  await new Promise((resolve) => {
    const how = { once: true, signal: done.signal };
    tokens.addEventListener('entered', resolve, how);
    for (const signal of signals) signal.addEventListener('abort', resolve, how);
  });
  done.abort();
}
