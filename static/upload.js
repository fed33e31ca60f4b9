// The start page: everything a person gives it goes into the queue at once. Without this script the form
// sends the files by itself.

import { Precheck, request } from './api.js';
import { Hashing } from './hashing.js';
import { MOST_FILES, fromClipboard, fromField, onDrop } from './pick.js';
import { Queue } from './queue.js';
import { forget, unfinished } from './resume.js';
import { humanBytes } from './text.js';
import { enter, token, tokens } from './token.js';
import { View } from './view.js';

const form = /** @type {HTMLFormElement} */ (document.querySelector('form.upload'));
const field = /** @type {HTMLInputElement} */ (document.getElementById('file'));
const button = /** @type {HTMLButtonElement} */ (form.querySelector('button'));
const section = /** @type {HTMLElement} */ (document.getElementById('queue'));
const said = /** @type {HTMLElement} */ (document.getElementById('said'));

const queue = new Queue({
  hashing: new Hashing(),
  precheck: new Precheck(),
  maxFileBytes: Number(form.dataset.maxFileBytes) || Infinity,
});
const view = new View(queue, section, said);

/** @param {import('./pick.js').Picked[]} files */
function take(files) {
  if (files.length === 0) view.say('There was no file in it.');
  else if (files.length >= MOST_FILES) view.say(`Only the first ${MOST_FILES} files were taken.`);
  const wasEmpty = queue.items.length === 0;
  queue.add(files);
  if (wasEmpty && files.length > 0) section.scrollIntoView({ block: 'nearest' });
  offers();
}

field.addEventListener('change', () => {
  take(fromField(field.files ?? []));
  // Choosing the same file again must be a change, and nothing is left to be sent by the form.
  field.value = '';
});

// The token, where this site takes one for uploads.
const secret = /** @type {HTMLInputElement | null} */ (document.getElementById('token'));

/** @param {HTMLInputElement} secret */
function asksFor(secret) {
  const trouble = /** @type {HTMLElement} */ (document.getElementById('token-trouble'));
  secret.value = token();
  secret.addEventListener('change', () => {
    // One that was entered by its key is heard of again when the field is left.
    if (secret.value.trim() !== token()) enter(secret.value);
  });
  secret.addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return;
    // Not the form's own way, which asks for files first.
    event.preventDefault();
    enter(secret.value);
  });
  tokens.addEventListener('wanted', (event) => {
    trouble.textContent = /** @type {CustomEvent} */ (event).detail;
    trouble.hidden = false;
    secret.setAttribute('aria-invalid', 'true');
    secret.focus();
    secret.select();
  });
  tokens.addEventListener('entered', () => {
    trouble.hidden = true;
    secret.removeAttribute('aria-invalid');
    offers();
  });
}

if (secret) asksFor(secret);

form.addEventListener('submit', (event) => {
  event.preventDefault();
  field.click();
});

// The form's button has nothing to do any more: it asks for a folder, where browsers can give one.
const folder = document.createElement('input');
folder.type = 'file';
folder.multiple = true;
folder.hidden = true;
if ('webkitdirectory' in folder && !matchMedia('(pointer: coarse)').matches) {
  folder.webkitdirectory = true;
  folder.setAttribute('aria-label', 'Choose a folder');
  folder.addEventListener('change', () => {
    take(fromField(folder.files ?? []));
    folder.value = '';
  });
  form.append(folder);
  button.type = 'button';
  button.textContent = 'Choose a folder';
  button.addEventListener('click', () => folder.click());
} else {
  button.textContent = 'Choose files';
}

onDrop(take, () => view.say('The folder could not be read.'));

addEventListener('paste', (event) => {
  const files = fromClipboard(event.clipboardData);
  if (files.length === 0) return;
  event.preventDefault();
  take(files);
});

addEventListener('beforeunload', (event) => {
  if (queue.isBusy) event.preventDefault();
});

// What an earlier page did not finish.
const notice = /** @type {HTMLElement} */ (document.getElementById('unfinished'));

function offers() {
  const list = /** @type {HTMLElement} */ (notice.querySelector('ul'));
  const template = /** @type {HTMLTemplateElement} */ (notice.querySelector('template'));
  const inHand = new Set(queue.items.map((item) => `${item.name}/${item.file.size}`));
  const entries = unfinished().filter((entry) => !inHand.has(`${entry.name}/${entry.size}`));
  list.replaceChildren(
    ...entries.map((entry) => {
      const row = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
      /** @type {any} */ (row.querySelector('bdi')).textContent = entry.name;
      const size = /** @type {HTMLElement} */ (row.querySelector('.size'));
      size.textContent = humanBytes(entry.size);
      request('HEAD', entry.url, { headers: { 'tus-resumable': '1.0.0' }, waits: false }).then(
        (head) => {
          size.textContent = `${humanBytes(Number(head.header('upload-offset')))} of ${humanBytes(entry.size)} are here`;
        },
        (error) => {
          if (![404, 410].includes(error.status)) return;
          forget(entry.url);
          offers();
        },
      );
      row.querySelector('button')?.addEventListener('click', () => {
        forget(entry.url);
        void request('DELETE', entry.url, { headers: { 'tus-resumable': '1.0.0' }, waits: false }).catch(() => {});
        offers();
        field.focus();
      });
      return row;
    }),
  );
  notice.hidden = entries.length === 0;
}

offers();
