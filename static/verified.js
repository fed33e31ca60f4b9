// The verified download on a file's page: its button, and how it goes.

import { NoPlace, NoRoom, canJoin, open, picked, sweep } from './disk.js';
import { Pieces, Spoiled, planOf } from './pieces.js';
import { counted, humanBytes, humanDuration, listed } from './text.js';
import { isAbort } from './waits.js';

/** @typedef {import('./source.js').Source} Source */

const DRAW_EVERY_MS = 250;
/** Speed is what the last seconds brought. */
const WINDOW_MS = 8000;

const offer = /** @type {HTMLElement} */ (document.getElementById('verified-offer'));
const start = /** @type {HTMLButtonElement} */ (offer.querySelector('button'));
const root = /** @type {HTMLElement} */ (document.getElementById('verified'));
const said = /** @type {HTMLElement} */ (document.getElementById('verified-said'));
const find = (/** @type {string} */ selector) => /** @type {any} */ (root.querySelector(selector));
const [title, sum, bar, pace, told, list] = ['h2', '.sum', 'progress', '.pace', '.told', '.sources'].map(find);
const buttons = Object.fromEntries(['pause', 'cancel', 'again', 'close'].map((act) => [act, find(`button[value=${act}]`)]));
const { sha1 = '', name = '' } = root.dataset;

/** One verified download. */
class Download {
  #stop = new AbortController();
  /** @type {Pieces | undefined} */
  #pieces;
  /** @type {{at: number, bytes: number}[]} */
  #samples = [];
  /** @type {Map<Source, HTMLElement>} */
  #rows = new Map();
  #saidQuarter = 0;
  #saidTrouble = '';

  /** @param {any} handle the file that was picked, if any */
  async run(handle) {
    const { signal } = this.#stop;
    /** @type {import('./disk.js').Disk | undefined} */
    let disk;
    /** @type {ReturnType<typeof setInterval> | undefined} */
    let timer;
    // What is written into a picked file is lost with the page; the browser's own keeps it.
    const onLeave = (/** @type {Event} */ event) => handle && event.preventDefault();
    addEventListener('beforeunload', onLeave);
    try {
      const plan = await planOf(sha1, signal, () => this.#head('Waiting for the site', 'This site does not answer. It goes on by itself when it does.'));
      disk = await open(plan, handle, signal);
      this.#pieces = new Pieces(plan, disk);
      bar.max = plan.size;
      // Not by frames: a page in the background goes on, too.
      timer = setInterval(() => this.draw(), DRAW_EVERY_MS);
      this.draw();
      await this.#pieces.load(signal);
      clearInterval(timer);
      this.draw();
      this.#saved(await disk.finish());
    } catch (error) {
      clearInterval(timer);
      // What is checked and kept in the browser's own place serves the next try, unless nobody wants it.
      if (signal.aborted || error instanceof Spoiled) await disk?.discard();
      else await disk?.leave();
      this.#ended(error);
    } finally {
      removeEventListener('beforeunload', onLeave);
    }
  }

  cancel() {
    this.#stop.abort();
  }

  pause() {
    if (this.#pieces?.isPaused) this.#pieces.resume();
    else this.#pieces?.pause();
    this.#samples = [];
    this.draw();
  }

  draw() {
    const pieces = this.#pieces;
    if (!pieces) return;
    const { size, digests } = pieces.plan;
    const bytes = pieces.loadedBytes;
    const speed = this.#speed(bytes);
    bar.value = bytes;
    bar.classList.toggle('paused', pieces.isPaused);
    sum.textContent = `${pieces.keptPieces.toLocaleString('en')} of ${counted(digests.length, 'piece')} checked`;
    const rest = [`${humanBytes(bytes)} of ${humanBytes(size)}`];
    if (speed > 0 && !pieces.isPaused) rest.push(`${humanBytes(speed)}/s`, `${humanDuration((size - bytes) / speed)} left`);
    pace.textContent = rest.join(' · ');
    buttons.pause.textContent = pieces.isPaused ? 'Continue' : 'Pause';
    const isWaiting = pieces.isWaiting && pieces.sources.length > 0;
    this.#head(
      pieces.isPaused ? 'Paused' : isWaiting ? 'Waiting for a copy' : 'Downloading',
      isWaiting ? 'No server gives what is missing now. It goes on by itself when one does.' : '',
    );
    for (const source of pieces.sources) this.#row(source, pieces);
    this.#news(pieces, bytes / size);
  }

  /** @param {string} text @param {string} more what to know or do about it */
  #head(text, more) {
    if (title.textContent !== text) title.textContent = text;
    if (told.textContent !== more) told.textContent = more;
    told.hidden = more === '';
  }

  /** @param {Source} source @param {Pieces} pieces */
  #row(source, pieces) {
    let row = this.#rows.get(source);
    if (!row) {
      row = document.createElement('li');
      for (const part of ['place', 'meta', 'trouble']) {
        row.append(Object.assign(document.createElement('span'), { className: part }));
      }
      const share = Object.assign(document.createElement('progress'), { className: 'progress', max: pieces.plan.size });
      share.setAttribute('aria-label', `Share of ${source.place}`);
      row.append(share);
      list.append(row);
      this.#rows.set(source, row);
    }
    const [place, meta, trouble, share] = /** @type {any} */ (row.children);
    place.textContent = source.place;
    meta.textContent = `${humanBytes(source.goodBytes)} · ${counted(source.goodPieces, 'piece')}`;
    const words = [source.trouble];
    if (source.wrongPieces > 0) words.unshift(`${counted(source.wrongPieces, 'piece was', 'pieces were')} wrong`);
    trouble.textContent = words.filter(Boolean).join(', ');
    share.value = source.goodBytes;
  }

  /** For the screen reader: each quarter, and each new trouble. @param {Pieces} pieces @param {number} share */
  #news(pieces, share) {
    const troubled = pieces.sources.filter((source) => source.trouble);
    const trouble = troubled.map((source) => `${source.place} ${source.trouble}.`).join(' ');
    const quarter = Math.floor(share * 4);
    if (trouble && trouble !== this.#saidTrouble) say(trouble);
    else if (quarter > this.#saidQuarter && quarter < 4) say(`${quarter * 25} percent.`);
    this.#saidTrouble = trouble;
    this.#saidQuarter = Math.max(this.#saidQuarter, quarter);
  }

  /** @param {number} bytes so far @returns {number} bytes a second over the last seconds */
  #speed(bytes) {
    const at = performance.now();
    this.#samples.push({ at, bytes });
    while (this.#samples.length > 2 && at - this.#samples[0].at > WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0];
    return at - first.at < 2 * DRAW_EVERY_MS ? 0 : Math.max(0, ((bytes - first.bytes) * 1000) / (at - first.at));
  }

  /** @param {File | undefined} file what the browser has still to save */
  #saved(file) {
    const pieces = /** @type {Pieces} */ (this.#pieces);
    if (file) {
      const url = URL.createObjectURL(file);
      const save = () => {
        const link = Object.assign(document.createElement('a'), { href: url, download: name });
        link.click();
      };
      buttons.again.onclick = save;
      save();
    }
    this.#over('Downloaded and checked', summaryOf(pieces), Boolean(file));
    pace.textContent = `${humanBytes(pieces.plan.size)} ${file ? 'handed to the browser’s downloads' : 'saved in the file that you picked'}`;
  }

  /** @param {unknown} error */
  #ended(error) {
    if (isAbort(error) && this.#stop.signal.aborted) return this.#over('Cancelled', 'Nothing of it was kept.', false);
    const message = error instanceof Error ? error.message : '';
    if (error instanceof NoPlace) {
      this.#over('Downloaded as usual', 'This browser lends no place to join pieces, so the plain download was started.', false);
      /** @type {HTMLAnchorElement | null} */ (document.querySelector('.actions.get a.button'))?.click();
      return;
    }
    const more =
      error instanceof Spoiled
        ? `${message} Nothing was kept. Tell who runs this site: its servers can mend what is damaged.`
        : error instanceof NoRoom
          ? `${message} Make some room and try again, or take the plain download.`
          : `${message} Try again, or take the plain download.`;
    this.#over('Not downloaded', more, false);
  }

  /** @param {string} text @param {string} more @param {boolean} isToSave */
  #over(text, more, isToSave) {
    const hadFocus = root.contains(document.activeElement);
    this.#head(text, more);
    if (!this.#pieces) pace.textContent = '';
    root.classList.toggle('over', true);
    buttons.pause.hidden = buttons.cancel.hidden = true;
    buttons.again.hidden = !isToSave;
    buttons.close.hidden = false;
    if (hadFocus) title.focus();
    say(`${text}. ${more}`);
  }
}

/** @param {Pieces} pieces @returns {string} what was checked, and where it came from */
function summaryOf(pieces) {
  const from = pieces.sources.filter((source) => source.goodPieces > 0);
  const parts = from.map((source) => `${source.goodPieces.toLocaleString('en')} from ${source.place}`);
  if (pieces.formerPieces > 0) parts.unshift(`${pieces.formerPieces.toLocaleString('en')} from this browser, where they were already`);
  const words = [`${counted(pieces.plan.digests.length, 'piece')} checked: ${listed(parts)}.`];
  for (const source of pieces.sources.filter((one) => one.wrongPieces > 0)) {
    const rescuers = [...(pieces.rescues.get(source) ?? [])].map((one) => one.place);
    const many = counted(source.wrongPieces, 'piece');
    const [were, taken] = source.wrongPieces === 1 ? ['was', 'was'] : ['were', 'were'];
    words.push(`${many} from ${source.place} ${were} wrong and ${taken} taken from ${listed(rescuers) || 'it again'}.`);
  }
  return words.join(' ');
}

/** @param {string} text */
function say(text) {
  said.textContent = text;
}

/** @type {Download | undefined} */
let download;

start.addEventListener('click', async () => {
  let handle;
  try {
    handle = await picked(name);
  } catch (error) {
    if (isAbort(error)) return;
    // Neither place: the plain link does it.
    return /** @type {HTMLAnchorElement | null} */ (document.querySelector('.actions.get a.button'))?.click();
  }
  offer.hidden = true;
  root.hidden = false;
  root.classList.remove('over');
  list.replaceChildren();
  bar.value = 0;
  [title.textContent, sum.textContent, pace.textContent] = ['Starting', '', ''];
  told.hidden = true;
  buttons.pause.hidden = buttons.cancel.hidden = false;
  buttons.again.hidden = buttons.close.hidden = true;
  title.focus();
  say('The verified download begins.');
  download = new Download();
  await download.run(handle);
});
buttons.pause.addEventListener('click', () => download?.pause());
buttons.cancel.addEventListener('click', () => download?.cancel());
buttons.close.addEventListener('click', () => {
  root.hidden = true;
  offer.hidden = false;
  start.focus();
});

/** Offers it where it can be done, and says when a part of it is here. */
async function begin() {
  if (!canJoin()) return void (offer.hidden = true);
  offer.classList.add('ready');
  const share = await sweep(sha1);
  if (share > 0 && share < 1 && !('showSaveFilePicker' in globalThis)) {
    start.textContent = 'Continue verified download';
    /** @type {HTMLElement} */ (offer.querySelector('.hint')).textContent = `${Math.floor(share * 100)} % of it is in this browser already`;
  }
}

void begin();
