// Copy buttons on everything marked `.copy`. Without scripts one click on it selects it all.

/**
 * Puts text on the clipboard, also where the site is not served over TLS and the browser withholds
 * `navigator.clipboard`.
 * @param {string} text
 * @returns {Promise<boolean>} whether it is there now
 */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const before = document.activeElement;
    const area = document.createElement('textarea');
    area.value = text;
    area.className = 'unseen';
    area.setAttribute('aria-hidden', 'true');
    document.body.append(area);
    area.select();
    const copied = document.execCommand('copy');
    area.remove();
    if (before instanceof HTMLElement) before.focus();
    return copied;
  }
}

/**
 * Says on the button itself how copying went, for two seconds. The words stand in a live region of
 * the button's own, so a screen reader says them without losing its place.
 * @param {HTMLButtonElement} button
 * @param {string} text what to copy
 */
export async function copyFrom(button, text) {
  const label = button.dataset.label ?? button.textContent ?? '';
  button.dataset.label = label;
  button.textContent = (await copyText(text)) ? 'Copied' : 'Press Ctrl+C';
  button.classList.add('did');
  setTimeout(() => {
    button.textContent = label;
    button.classList.remove('did');
  }, 2000);
}

/** @param {ParentNode} root gives every `.copy` in it a button, once */
export function enhance(root) {
  for (const place of root.querySelectorAll('.copy:not(.has-button)')) {
    const code = place.querySelector('code');
    if (!code) continue;
    const term = place.closest('div')?.querySelector('dt, .hint')?.textContent?.trim();
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'copy-button';
    button.textContent = 'Copy';
    button.setAttribute('aria-live', 'polite');
    if (term) button.title = `Copy: ${term}`;
    button.addEventListener('click', (event) => {
      event.stopPropagation();
      void copyFrom(button, (code.textContent ?? '').trimEnd());
    });
    place.classList.add('has-button');
    place.append(button);
  }
}

enhance(document);
