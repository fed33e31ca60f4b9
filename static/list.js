// The list of files: search as you type. It fetches the very page that the form would lead to, and takes
// the list out of it.

const PAUSE_MS = 200;

const field = /** @type {HTMLInputElement | null} */ (document.getElementById('query'));
const list = /** @type {HTMLElement} */ (document.getElementById('list'));
const said = /** @type {HTMLElement} */ (document.getElementById('said'));

/** @type {AbortController | undefined} */
let asking;
/** @type {number | undefined} */
let timer;
/** Whether this spell of typing has its entry in the history. */
let hasEntry = false;

/** @param {string} query @returns {string} */
const address = (query) => (query ? `/files?query=${encodeURIComponent(query)}` : '/files');

/** @param {string} url */
async function show(url) {
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
    said.textContent = list.querySelector('.item') ? `${list.querySelectorAll('.item').length} files shown.` : 'No file is called so.';
  } catch (error) {
    // The form still does it, with a page that says what is wrong.
    if (!(error instanceof DOMException && error.name === 'AbortError')) location.assign(url);
    return;
  }
  list.removeAttribute('aria-busy');
}

if (field) {
  const search = () => {
    const url = address(field.value.trim());
    if (url === location.pathname + location.search) return;
    if (hasEntry) history.replaceState(null, '', url);
    else history.pushState(null, '', url);
    hasEntry = true;
    void show(url);
  };
  field.addEventListener('input', (event) => {
    // Half a character of an input method is not a wish yet.
    if (event instanceof InputEvent && event.isComposing) return;
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE_MS);
  });
  field.addEventListener('compositionend', search);
  field.addEventListener('change', () => (hasEntry = false));
  field.form?.addEventListener('submit', (event) => {
    event.preventDefault();
    clearTimeout(timer);
    search();
    hasEntry = false;
  });
  addEventListener('popstate', () => {
    field.value = new URLSearchParams(location.search).get('query') ?? '';
    hasEntry = false;
    void show(location.pathname + location.search);
  });
}
