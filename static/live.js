// Keeps a page true without a reload: every few seconds it fetches the same page and takes over what has
// changed, as long as somebody can see it.

const EVERY_MS = 5000;

/** @type {number | undefined} */
let timer;
/** @type {AbortController | undefined} */
let asking;

/** @param {Element} now @param {Element} fresh */
function takeOver(now, fresh) {
  if (now.innerHTML === fresh.innerHTML) return;
  // Nobody loses what they selected or where they are.
  const selection = getSelection();
  if (selection && !selection.isCollapsed && selection.containsNode(now, true)) return;
  if (now.contains(document.activeElement)) return;
  now.replaceChildren(...fresh.childNodes);
}

async function refresh() {
  asking = new AbortController();
  try {
    const answer = await fetch(location.href, { headers: { accept: 'text/html' }, signal: asking.signal });
    if (answer.ok) {
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      for (const now of document.querySelectorAll('[data-live]')) {
        const fresh = page.querySelector(`[data-live="${now.getAttribute('data-live')}"]`);
        if (fresh) takeOver(now, fresh);
      }
    }
  } catch {
    // The page stays as it is until the server answers again.
  }
  schedule();
}

function schedule() {
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(() => void refresh(), EVERY_MS);
}

document.addEventListener('visibilitychange', () => {
  clearTimeout(timer);
  asking?.abort();
  if (!document.hidden) void refresh();
});
schedule();
