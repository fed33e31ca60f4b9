// Shows the upload queue. Rows come from the page's own template; changes are drawn once a frame, so ten
// thousand events cost one drawing.

import { copyFrom } from './copy.js';
import { badgeOf, counted, humanBytes, humanDuration, kindOf, listed } from './text.js';
import { isWanted, tokens } from './token.js';

/** @typedef {import('./queue.js').Item} Item */
/** @typedef {import('./queue.js').Queue} Queue */

const SUMMARY_EVERY_MS = 500;
/** Speed is what the last seconds brought. */
const WINDOW_MS = 8000;
const SAY_EVERY_MS = 6000;
const ROWS_A_FRAME = 150;

/** @type {Record<string, [label: string, look: string]>} */
const STATES = {
  waiting: ['Waiting', 'plain'],
  asking: ['Asking', 'plain'],
  hashing: ['Hashing', 'busy'],
  'catching-up': ['Catching up', 'busy'],
  sending: ['Sending', 'busy'],
  checking: ['Checking', 'busy'],
  paused: ['Paused', 'warn'],
  retrying: ['Retrying', 'warn'],
  stored: ['Stored', 'good'],
  here: ['Already here', 'plain'],
  failed: ['Not stored', 'bad'],
  cancelled: ['Cancelled', 'plain'],
  // No state of its own: whatever it was about to do.
  held: ['Waiting', 'warn'],
};

/** @param {Item} item @returns {string} what its state means, after its size */
function detail(item) {
  const size = item.file.size || 1;
  const percent = (/** @type {number} */ bytes) => `${Math.floor((bytes / size) * 100)} %`;
  const kept = item.places.length > 0 ? `kept in ${listed(item.places)}` : 'kept here';
  switch (item.state) {
    case 'asking': return 'is it here already?';
    case 'hashing': return `${percent(item.hashedBytes)} read`;
    case 'catching-up': return 'reading what was sent before';
    case 'sending': return `${percent(item.sentBytes)} sent`;
    case 'checking': return 'both copies are being checked';
    case 'paused': return `${percent(item.sentBytes)} sent`;
    case 'stored': return kept;
    case 'here': return item.isHealed ? `${kept}; a copy was missing, yours made it whole` : `${kept}; nothing was stored again`;
    case 'cancelled': return 'nothing of it was kept';
    default: return item.trouble;
  }
}

/** One file's row. */
class Row {
  /** @param {Item} item @param {HTMLTemplateElement} template @param {(row: Row) => void} onAct */
  constructor(item, template, onAct) {
    this.item = item;
    const part = /** @type {DocumentFragment} */ (template.content.cloneNode(true));
    const find = (/** @type {string} */ selector) => /** @type {any} */ (part.querySelector(selector));
    this.root = /** @type {HTMLLIElement} */ (find('li'));
    this.link = /** @type {HTMLAnchorElement} */ (find('.name a'));
    this.meta = /** @type {HTMLElement} */ (find('.meta'));
    this.bar = /** @type {HTMLProgressElement} */ (find('progress'));
    this.address = /** @type {HTMLElement} */ (find('.address'));
    this.state = /** @type {HTMLElement} */ (find('.state'));
    this.button = /** @type {HTMLButtonElement} */ (find('button'));
    const badge = find('.badge');
    badge.textContent = badgeOf(item.name);
    badge.classList.add(kindOf(item.file.type));
    find('bdi').textContent = item.name;
    this.link.title = item.path;
    this.bar.max = item.file.size || 1;
    this.bar.setAttribute('aria-label', `Progress of ${item.name}`);
    this.button.addEventListener('click', () => onAct(this));
    this.draw();
  }

  draw() {
    const { item } = this;
    const isHeld = isWanted() && !item.isOver;
    const [label, look] = isHeld ? STATES.held : STATES[item.state];
    this.state.textContent = label;
    this.state.className = `state ${look}`;
    this.root.classList.toggle('failed', item.state === 'failed');
    const more = isHeld ? 'waits for a token' : detail(item);
    this.meta.textContent = more ? `${humanBytes(item.file.size)} · ${more}` : humanBytes(item.file.size);
    this.meta.classList.toggle('told', item.state === 'failed' || item.state === 'retrying');
    this.bar.value = item.state === 'hashing' ? item.hashedBytes : item.doneBytes;
    this.bar.classList.toggle('hashing', item.state === 'hashing');
    this.bar.hidden = item.isOver;
    this.address.hidden = !item.isKept;
    if (item.isKept && item.url) {
      this.address.textContent = item.url;
      if (item.sha1) this.link.href = `/files/${item.sha1}`;
    }
    const act = item.isKept ? 'Copy link' : item.isOver ? 'Send again' : 'Cancel';
    if (this.act !== act) {
      this.act = act;
      delete this.button.dataset.label;
      this.button.textContent = act;
      this.button.setAttribute('aria-label', `${act}: ${item.name}`);
    }
  }
}

/** The queue on the page. */
export class View {
  /** @type {Map<Item, Row>} */
  #rows = new Map();
  /** @type {Set<Item>} */
  #dirty = new Set();
  /** @type {Item[]} */
  #unseen = [];
  #isDrawing = false;
  /** @type {{at: number, bytes: number}[]} */
  #samples = [];
  /** @type {number | undefined} */
  #timer;
  #said = 0;
  #saidOver = 0;
  #title = document.title;

  /** @param {Queue} queue @param {HTMLElement} root the section @param {HTMLElement} said the live region */
  constructor(queue, root, said) {
    this.queue = queue;
    this.root = root;
    this.said = said;
    const find = (/** @type {string} */ selector) => /** @type {any} */ (root.querySelector(selector));
    this.title = /** @type {HTMLElement} */ (find('h2'));
    this.sum = /** @type {HTMLElement} */ (find('.sum'));
    this.pace = /** @type {HTMLElement} */ (find('.pace'));
    this.bar = /** @type {HTMLProgressElement} */ (find('.queue-head progress'));
    this.list = /** @type {HTMLUListElement} */ (find('ul'));
    this.template = /** @type {HTMLTemplateElement} */ (find('template'));
    /** @type {Record<string, HTMLButtonElement>} */
    this.buttons = {};
    for (const button of root.querySelectorAll('.queue-head button')) {
      const act = /** @type {HTMLButtonElement} */ (button);
      this.buttons[act.value] = act;
      act.addEventListener('click', () => this.#act(act.value));
    }
    queue.addEventListener('added', (event) => this.#added(/** @type {CustomEvent} */ (event).detail));
    queue.addEventListener('changed', (event) => this.#changed(/** @type {CustomEvent} */ (event).detail));
    queue.addEventListener('paused', () => this.#summarise());
    queue.addEventListener('cleared', () => this.#cleared());
    for (const change of ['wanted', 'entered']) {
      tokens.addEventListener(change, () => {
        for (const item of this.#rows.keys()) this.#dirty.add(item);
        this.#schedule();
        this.#summarise();
      });
    }
  }

  /** @param {string} text for the screen reader */
  say(text) {
    this.#said = performance.now();
    this.said.textContent = text;
  }

  /** @param {string} act */
  #act(act) {
    const { queue } = this;
    if (act === 'pause') queue.isPaused ? queue.resume() : queue.pause();
    if (act === 'cancel') queue.cancelAll();
    if (act === 'retry') queue.retryFailed();
    if (act === 'clear') queue.clear();
    if (act === 'copy') void this.#copy(this.buttons.copy, this.#links().join('\n'));
    this.#summarise();
  }

  /** @param {HTMLButtonElement} button @param {string} text */
  async #copy(button, text) {
    await copyFrom(button, text);
    // The name of a row's button hides its text from a screen reader.
    this.say(button.textContent ?? '');
  }

  #links() {
    return this.queue.items.flatMap((item) => item.url ?? []);
  }

  /** @param {Item[]} items */
  #added(items) {
    if (items.length === 0) return;
    this.root.hidden = false;
    this.#unseen.push(...items);
    this.#schedule();
    this.say(`${counted(items.length, 'file')} added.`);
    this.#timer ??= setInterval(() => this.#summarise(), SUMMARY_EVERY_MS);
    this.#summarise();
  }

  /** @param {{item: Item, was: string}} change */
  #changed({ item, was }) {
    this.#dirty.add(item);
    this.#schedule();
    if (item.state === was) return;
    if (item.state === 'failed') this.say(`${item.name} was not stored. ${item.trouble}`);
    if (item.state === 'retrying') this.say(item.trouble);
    if (item.isOver || !this.#timer) {
      this.#timer ??= setInterval(() => this.#summarise(), SUMMARY_EVERY_MS);
      if (!this.queue.isBusy) this.#summarise();
    }
  }

  #cleared() {
    const kept = new Set(this.queue.items);
    for (const [item, row] of this.#rows) {
      if (kept.has(item)) continue;
      row.root.remove();
      this.#rows.delete(item);
    }
    this.#unseen = this.#unseen.filter((item) => kept.has(item));
    this.root.hidden = kept.size === 0;
    if (kept.size === 0) document.getElementById('file')?.focus();
  }

  #schedule() {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    requestAnimationFrame(() => {
      this.#isDrawing = false;
      this.list.append(...this.#unseen.splice(0, ROWS_A_FRAME).map((item) => this.#row(item).root));
      for (const item of this.#dirty) this.#rows.get(item)?.draw();
      this.#dirty.clear();
      if (this.#unseen.length > 0) this.#schedule();
    });
  }

  /** @param {Item} item */
  #row(item) {
    const row = new Row(item, this.template, () => {
      if (item.isKept) void this.#copy(row.button, item.url ?? '');
      else if (item.isOver) this.queue.retry(item);
      else this.queue.cancel(item);
    });
    this.#rows.set(item, row);
    return row;
  }

  #summarise() {
    const { items, isBusy, isPaused } = this.queue;
    const counts = { over: 0, kept: 0, failed: 0, stored: 0, cancelled: 0 };
    let total = 0;
    let done = 0;
    let sent = 0;
    for (const item of items) {
      if (item.isOver) counts.over += 1;
      if (item.isKept) counts.kept += 1;
      if (item.state === 'stored') counts.stored += 1;
      if (item.state === 'failed') counts.failed += 1;
      if (item.state === 'cancelled') counts.cancelled += 1;
      if (item.state === 'failed' || item.state === 'cancelled') continue;
      total += item.file.size;
      done += item.doneBytes;
      sent += item.sentBytes;
    }
    const wanted = items.length - counts.cancelled;
    const files = counted(wanted, 'file');
    this.title.textContent = isBusy ? `Uploading ${files}` : this.#ending(counts, wanted);
    this.sum.textContent = isBusy || counts.kept < wanted ? `${counts.kept.toLocaleString('en')} of ${wanted.toLocaleString('en')} done` : '';
    this.bar.max = total || 1;
    this.bar.value = isBusy ? done : total || 1;
    this.bar.classList.toggle('paused', isPaused);
    const speed = isPaused ? 0 : this.#speed(sent);
    const rest = [`${humanBytes(done)} of ${humanBytes(total)}`];
    if (speed > 0 && isBusy) rest.push(`${humanBytes(speed)}/s`, `${humanDuration((total - done) / speed)} left`);
    const isHeld = isBusy && isWanted();
    this.pace.textContent = isHeld ? `Waiting for a token at ${rest[0]}` : isBusy ? (isPaused ? `Paused at ${rest[0]}` : rest.join(' · ')) : `${humanBytes(total)} in all`;
    const { pause, cancel, retry, copy, clear } = this.buttons;
    pause.textContent = isPaused ? 'Continue' : 'Pause';
    const hadFocus = this.root.contains(document.activeElement) && document.activeElement instanceof HTMLButtonElement;
    pause.hidden = cancel.hidden = !isBusy;
    retry.hidden = isBusy || counts.failed === 0;
    copy.hidden = isBusy || counts.kept < 2;
    clear.hidden = isBusy || items.length === 0;
    // A button that went away leaves the person where they were.
    if (hadFocus && document.activeElement === document.body) this.title.focus();
    const percent = total ? Math.floor((done / total) * 100) : 0;
    document.title = isBusy ? `${isHeld ? 'Waiting' : isPaused ? 'Paused' : `${percent} %`} · closeby` : this.#title;
    if (isBusy) {
      const isNews = counts.over > this.#saidOver && performance.now() - this.#said > SAY_EVERY_MS;
      if (isNews) this.say(`${counts.over} of ${wanted} done.`);
      if (isNews) this.#saidOver = counts.over;
    } else {
      clearInterval(this.#timer);
      this.#timer = undefined;
      this.#samples = [];
      this.#saidOver = 0;
      if (items.length > 0 && this.said.textContent !== this.title.textContent) this.say(this.title.textContent ?? '');
    }
  }

  /** @param {{kept: number, failed: number, stored: number}} counts @param {number} wanted @returns {string} */
  #ending({ kept, failed, stored }, wanted) {
    if (wanted === 0) return 'Cancelled: nothing was kept';
    if (failed === wanted) return wanted === 1 ? 'The file was not stored' : 'None was stored';
    if (failed > 0) return `${counted(failed, 'file was', 'files were')} not stored`;
    if (stored === 0) return kept === 1 ? 'It was here already' : 'All were here already';
    return kept === 1 ? 'Your file is stored' : `All ${counted(kept, 'file')} are stored`;
  }

  /** @param {number} bytes sent so far @returns {number} bytes a second over the last seconds */
  #speed(bytes) {
    const at = performance.now();
    this.#samples.push({ at, bytes });
    while (this.#samples.length > 2 && at - this.#samples[0].at > WINDOW_MS) this.#samples.shift();
    const first = this.#samples[0];
    return at - first.at < SUMMARY_EVERY_MS ? 0 : Math.max(0, ((bytes - first.bytes) * 1000) / (at - first.at));
  }
}
