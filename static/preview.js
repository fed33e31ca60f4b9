// The preview on a file's page. Images, audio and video load without it; it reads texts, loads what is too
// large to be loaded unasked, and says so quietly where something cannot be shown.

/** What is read of a text. The page says "the first 64 KiB" where the text is longer. */
const TEXT_BYTES = 64 * 1024;

const SORRY = 'It can still be downloaded.';

const preview = /** @type {HTMLElement | null} */ (document.querySelector('[data-preview]'));
if (preview) start(preview);

/** @param {HTMLElement} preview */
function start(preview) {
  const link = preview.querySelector('a[data-load]');
  link?.addEventListener('click', (event) => {
    // Who wants another tab or window gets it.
    if (!(event instanceof MouseEvent) || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    const image = new Image();
    image.alt = document.querySelector('h1')?.textContent ?? '';
    const stage = /** @type {HTMLElement} */ (link.parentElement);
    stage.classList.remove('waiting');
    watchImage(preview, image);
    image.src = preview.dataset.src ?? '';
    stage.replaceChildren(image);
    // The keyboard's place was in the link.
    stage.tabIndex = -1;
    stage.focus();
  });
  const image = preview.querySelector('img');
  if (image) {
    watchImage(preview, image);
    // It failed before anybody listened: asked for once more, it fails where that is heard.
    if (image.complete && image.naturalWidth === 0) image.src = image.src;
  }
  const media = /** @type {HTMLMediaElement | null} */ (preview.querySelector('video, audio'));
  if (media) {
    const what = media instanceof HTMLVideoElement ? 'video' : 'recording';
    const failed = () => sayNot(preview, `This ${what} cannot be played here.`);
    media.addEventListener('error', failed);
    if (media.error) failed();
  }
  const text = preview.querySelector('pre');
  if (text) void showText(preview, text);
}

/** @param {HTMLElement} preview @param {HTMLImageElement} image */
function watchImage(preview, image) {
  image.addEventListener('error', () => sayNot(preview, 'This picture cannot be shown here.'));
}

/** @param {HTMLElement} preview @param {string} why */
function sayNot(preview, why) {
  const line = document.createElement('p');
  line.className = 'hint not-shown';
  line.setAttribute('role', 'status');
  line.textContent = `${why} ${SORRY}`;
  preview.replaceChildren(line);
}

/** @param {HTMLElement} preview @param {HTMLPreElement} place */
async function showText(preview, place) {
  try {
    const bytes = await firstBytes(preview.dataset.src ?? '');
    const text = decode(bytes);
    if (text.includes('\0')) return sayNot(preview, 'This does not look like text.');
    place.textContent = text;
    place.removeAttribute('aria-busy');
  } catch {
    sayNot(preview, 'The text cannot be read now.');
  }
}

/**
 * The beginning of what is at an address, also from a server that sends the whole.
 * @param {string} url
 * @returns {Promise<Uint8Array>}
 */
async function firstBytes(url) {
  const answer = await fetch(url, { headers: { range: `bytes=0-${TEXT_BYTES - 1}` } });
  if (!answer.ok || !answer.body) throw new Error(`the server answered ${answer.status}`);
  const bytes = new Uint8Array(TEXT_BYTES);
  let length = 0;
  const reader = answer.body.getReader();
  while (length < TEXT_BYTES) {
    const { done, value } = await reader.read();
    if (done) break;
    const part = value.subarray(0, TEXT_BYTES - length);
    bytes.set(part, length);
    length += part.length;
  }
  void reader.cancel().catch(() => {});
  return bytes.subarray(0, length);
}

/**
 * As UTF-8, or as UTF-16 where it begins as that does. A character that is cut at the end is left out.
 * @param {Uint8Array} bytes
 * @returns {string}
 */
function decode(bytes) {
  const [first, second] = bytes;
  const encoding = first === 0xff && second === 0xfe ? 'utf-16le' : first === 0xfe && second === 0xff ? 'utf-16be' : 'utf-8';
  return new TextDecoder(encoding).decode(bytes, { stream: bytes.length === TEXT_BYTES });
}
