// The list of files: search as you type, order, and pages without a reload. It fetches the very page that
// the form or the link would lead to, and takes the list out of it. Each entry of the history keeps how
// far down the page it was left.

import { counted } from './text.js';

const PAUSE_MS = 200;

const field = /** @type {HTMLInputElement | null} */ (document.getElementById('query'));
const order = /** @type {HTMLSelectElement | null} */ (document.getElementById('sort'));
const list = /** @type {HTMLElement} */ (document.getElementById('list'));
const said = /** @type {HTMLElement} */ (document.getElementById('said'));

/** @type {AbortController | undefined} */
let asking;
/** @type {number | undefined} */
let timer;
/** Whether this spell of typing has its entry in the history. */
let hasEntry = false;

/** @returns {string} where the form would lead now */
function address() {
  const query = new URLSearchParams();
  const text = field?.value.trim();
  if (text) query.set('query', text);
  if (order && order.value !== 'newest') query.set('sort', order.value);
  return query.size > 0 ? `/files?${query}` : '/files';
}

/**
 * @param {string} url
 * @param {number} [top] how far down the page was left
 */
async function show(url, top) {
  asking?.abort();
  asking = new AbortController();
  list.setAttribute('aria-busy', 'true');
  try {
    const answer = await fetch(url, { headers: { accept: 'text/html' }, signal: asking.signal });
    if (!answer.ok) throw new Error(`the list answered ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    const fresh = page.getElementById('list');
    if (!fresh) throw new Error('the page has no list');
    list.replaceChildren(...fresh.childNodes);
    document.title = page.title;
    if (top !== undefined) scrollTo({ top, behavior: 'instant' });
    const count = list.querySelectorAll('.item').length;
    said.textContent = count > 0 ? `${counted(count, 'file')} shown.` : (list.querySelector('h2')?.textContent ?? '');
  } catch (error) {
    // The form still does it, with a page that says what is wrong.
    if (!(error instanceof DOMException && error.name === 'AbortError')) location.assign(url);
    return;
  }
  list.removeAttribute('aria-busy');
}

/** The entry of the history that is about to be left knows where its reader was. */
const keepPlace = () => history.replaceState({ top: scrollY }, '');

/** @param {string} url @param {number} [top] @returns {boolean} whether the list is another one now */
function go(url, top) {
  if (url === location.pathname + location.search) return false;
  if (hasEntry) {
    history.replaceState(null, '', url);
  } else {
    keepPlace();
    history.pushState(null, '', url);
  }
  void show(url, top);
  return true;
}

if (field && order) {
  // The browser would go to the place before the list is there.
  history.scrollRestoration = 'manual';
  const state = /** @type {{ top?: number } | null} */ (history.state);
  if (state?.top) scrollTo({ top: state.top, behavior: 'instant' });

  const search = () => {
    if (go(address())) hasEntry = true;
  };
  field.addEventListener('input', (event) => {
    // Half a character of an input method is not a wish yet.
    if (event instanceof InputEvent && event.isComposing) return;
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE_MS);
  });
  field.addEventListener('compositionend', search);
  field.addEventListener('change', () => (hasEntry = false));
  order.addEventListener('change', () => {
    clearTimeout(timer);
    hasEntry = false;
    go(address());
  });
  field.form?.addEventListener('submit', (event) => {
    event.preventDefault();
    clearTimeout(timer);
    search();
    hasEntry = false;
  });
  list.addEventListener('click', (event) => {
    const link = event.target instanceof Element ? event.target.closest('.pages a') : null;
    const isPlain = !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey);
    if (!(link instanceof HTMLAnchorElement) || !isPlain) return;
    event.preventDefault();
    hasEntry = false;
    go(link.pathname + link.search, 0);
    // The link is gone with its page: whoever goes by keyboard goes on at the list's start.
    list.tabIndex = -1;
    list.focus({ preventScroll: true });
  });
  let settled = 0;
  addEventListener('scroll', () => {
    clearTimeout(settled);
    settled = setTimeout(keepPlace, PAUSE_MS);
  });
  addEventListener('pagehide', keepPlace);
  addEventListener('popstate', (event) => {
    clearTimeout(settled);
    clearTimeout(timer);
    const query = new URLSearchParams(location.search);
    field.value = query.get('query') ?? '';
    order.value = query.get('sort') ?? 'newest';
    hasEntry = false;
    const left = /** @type {{ top?: number } | null} */ (event.state);
    void show(location.pathname + location.search, left?.top ?? 0);
  });
}
