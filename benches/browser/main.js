// Hashing a file in the page, beside hash-wasm's createSHA1 in the same page: `scripts/bench-browser`.
//
// A headless Chromium is driven over WebDriver, so that the page gets a real file of the disk. Nothing of
// this is part of closeby or of its tests.

import { execFileSync, spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, readdirSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { randomFillSync } from 'node:crypto';
import { tmpdir } from 'node:os';
import { basename, dirname, extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const HASH_WASM = 'hash-wasm@4.13.0';
const MIB = 1 << 20;
/** What ours has to be at least, of createSHA1 fed the straightforward way. */
const GOAL = 1.2;

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.wasm': 'application/wasm' };

const HERE = dirname(fileURLToPath(import.meta.url));
const { values: options } = parseArgs({
  options: {
    'size-mib': { type: 'string', default: '1024' },
    rounds: { type: 'string', default: '5' },
    beside: { type: 'string' },
    data: { type: 'string', default: tmpdir() },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(`scripts/bench-browser [--size-mib 1024] [--rounds 5] [--data ${tmpdir()}] [--beside FOLDER]
Hashes a file in headless Chromium and prints how fast, and with how much memory. Needs node, chromium,
chromedriver, and npm for the comparison. --beside measures another copy of static/, too, in the same turns.
Fails where ours is slower than it has to be.`);
  process.exit(0);
}
const size = Number(options['size-mib']) * MIB;
const rounds = Number(options.rounds);
if (!(size >= MIB && rounds >= 1)) {
  console.error('bench-browser: --size-mib and --rounds take numbers of at least 1');
  process.exit(2);
}

/** Copies of static/, by the first part of their address. `plain` has no vectors, as in an older browser. */
const COPIES = { simd: join(HERE, '../../static'), plain: join(HERE, '../../static') };
if (options.beside) COPIES.beside = options.beside;

/** Each way a file is read, and what to call it. Ways before the first `createSHA1` are there without npm. */
const WAYS = {
  read: 'reading alone',
  simd: 'ours',
  plain: 'ours, without vectors',
  parts: 'ours, in parts as they are sent',
  resumed: 'ours, up to the last part',
  ...(options.beside ? { beside: 'beside', 'beside-parts': 'beside, in parts', 'beside-resumed': 'beside, up to the last part' } : {}),
};
const RIVALS = { straight: 'createSHA1, straightforward', overlapped: 'createSHA1, overlapped as ours' };

const folder = mkdtempSync(join(options.data, 'closeby-bench-browser-'));
/** @type {(() => unknown)[]} what to do at the end, last first */
const endings = [() => rmSync(folder, { recursive: true, force: true })];
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => void end().finally(() => process.exit(130)));
}
process.exitCode = await run().catch((error) => {
  console.error(`bench-browser: ${error.message}`);
  return 1;
});
await end();

/** Undoes what was done, even where one step of that fails. */
async function end() {
  for (const undo of endings.splice(0).reverse()) {
    try {
      await undo();
    } catch (error) {
      console.error(`bench-browser: ${error.message}`);
    }
  }
}

async function run() {
  const rival = install();
  const base = await serve(rival);
  const browser = await startBrowser();
  const file = join(folder, 'random.bin');
  fill(file);
  const digest = expected(file);
  const ways = { ...WAYS, ...(rival ? RIVALS : {}) };
  await browser.open(`${base}/page.html`);
  await browser.choose(file);

  /** @type {Record<string, number[]>} bytes a second of each round */
  const figures = Object.fromEntries(Object.keys(ways).map((way) => [way, []]));
  // A short beginning first: it loads and compiles what the rounds need.
  for (const way of Object.keys(ways)) await browser.measure(way, 64 * MIB);
  for (let round = 0; round < rounds; round += 1) {
    for (const way of Object.keys(ways)) {
      const { seconds, sha1 } = await browser.measure(way);
      if (way !== 'read' && sha1 !== digest) throw new Error(`${way}: a wrong digest, ${sha1}`);
      figures[way].push(size / seconds);
    }
  }

  console.log(`${size / MIB} MiB in one page, reading included. Medians of ${rounds} rounds, in turns:`);
  for (const [way, name] of Object.entries(ways)) {
    const inMib = figures[way].map((figure) => Math.round(figure / MIB));
    console.log(`  ${name.padEnd(34)}${String(median(inMib)).padStart(5)} MiB/s  (${inMib.join(' ')})`);
  }
  // Each round has its own ratio, so that a busy moment slows both sides.
  const ratio = (way, other) => median(figures[way].map((figure, round) => figure / figures[other][round]));
  const compare = (way, other, goal = '') =>
    console.log(`  ${ways[way]} : ${ways[other]} = ${ratio(way, other).toFixed(2)}${goal}`);
  console.log('Ratios:');
  compare('simd', 'read');
  if (options.beside) {
    for (const [way, other] of [['simd', 'beside'], ['parts', 'beside-parts'], ['resumed', 'beside-resumed']]) compare(way, other);
  }
  if (rival) {
    compare('simd', 'straight', ` (at least ${GOAL})`);
    compare('plain', 'straight');
    compare('simd', 'overlapped');
    compare('plain', 'overlapped');
  }

  const sparse = join(folder, 'sparse.bin');
  const descriptor = openSync(sparse, 'w');
  ftruncateSync(descriptor, 4096 * MIB);
  closeSync(descriptor);
  await browser.open(`${base}/page.html`);
  await browser.choose(sparse);
  await browser.measure('simd', 64 * MIB);
  const before = browser.memory();
  await browser.measure('simd');
  const after = browser.memory();
  console.log("Memory of the page's process, workers included (VmRSS, then VmHWM from there on):");
  console.log(`  ${before.now} MiB before, at most ${after.peak} MiB while a sparse file of 4 GiB is hashed`);
  return rival && ratio('simd', 'straight') < GOAL ? 1 : 0;
}

/** @param {number[]} figures */
function median(figures) {
  const sorted = figures.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;
}

/** @returns {string | undefined} the folder of hash-wasm's modules, where npm answers */
function install() {
  try {
    execFileSync('npm', ['install', '--silent', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', folder, HASH_WASM], {
      stdio: 'ignore',
      timeout: 60_000,
    });
    return join(folder, 'node_modules/hash-wasm/dist');
  } catch {
    console.log(`npm did not bring ${HASH_WASM}: no comparison, our own figures only.`);
    return undefined;
  }
}

/** Serves the page, the copies of static/ and hash-wasm. */
async function serve(rival) {
  const server = createServer((request, response) => {
    const [, first, ...inside] = normalize(new URL(request.url, 'http://localhost').pathname).split('/');
    const path =
      COPIES[first] ? join(COPIES[first], ...inside)
      : first === 'hash-wasm' && rival ? join(rival, ...inside)
      : join(HERE, first);
    let body;
    try {
      // No module: what a browser without vectors makes of the one with them.
      body = first === 'plain' && basename(path) === 'sha1-simd.wasm' ? Buffer.from('none') : readFileSync(path);
    } catch {
      return response.writeHead(404).end();
    }
    response.writeHead(200, { 'content-type': TYPES[extname(path)] ?? 'text/plain' }).end(body);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  endings.push(() => server.close());
  return `http://127.0.0.1:${server.address().port}`;
}

function fill(path) {
  const descriptor = openSync(path, 'w');
  const piece = Buffer.alloc(Math.min(size, 16 * MIB));
  for (let written = 0; written < size; written += piece.length) {
    randomFillSync(piece);
    writeSync(descriptor, piece, 0, Math.min(piece.length, size - written));
  }
  closeSync(descriptor);
}

/** @returns {string} what sha1sum says of the file, which is then in the page cache, too */
function expected(path) {
  return execFileSync('sha1sum', [path], { encoding: 'utf8' }).split(' ')[0];
}

async function startBrowser() {
  const driver = spawn('chromedriver', ['--port=0'], { stdio: ['ignore', 'pipe', 'ignore'] });
  const gone = new Promise((_, reject) => {
    driver.on('error', () => reject(new Error('chromedriver does not run: install chromium and chromium-driver')));
  });
  gone.catch(() => {});
  const port = await Promise.race([
    gone,
    new Promise((resolve) => {
      let said = '';
      driver.stdout.on('data', (text) => {
        said += text;
        const found = /successfully on port (\d+)/.exec(said);
        if (found) resolve(found[1]);
      });
    }),
  ]);
  endings.push(() => driver.kill());
  const call = async (method, path, body) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { method, body: body && JSON.stringify(body) });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`${path}: ${value.message}`);
    return value;
  };
  const profile = join(folder, 'profile');
  const args = [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--disable-dev-shm-usage', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync', `--user-data-dir=${profile}`,
  ];
  const wish = { browserName: 'chrome', timeouts: { script: 1_800_000 }, 'goog:chromeOptions': { args } };
  const { sessionId } = await call('POST', '/session', { capabilities: { alwaysMatch: wish } });
  const session = `/session/${sessionId}`;
  endings.push(() => call('DELETE', session));
  return {
    open: (url) => call('POST', `${session}/url`, { url }),
    async choose(path) {
      const found = await call('POST', `${session}/element`, { using: 'css selector', value: 'input' });
      const [id] = Object.values(found);
      await call('POST', `${session}/element/${id}/value`, { text: path });
    },
    /** One file, one way: a call of its own, because an HTTP client waits for an answer's head 5 minutes only. */
    async measure(way, most) {
      const script = 'const done = arguments[2]; measure(arguments[0], arguments[1]).then(done, (e) => done(String(e)))';
      const found = await call('POST', `${session}/execute/async`, { script, args: [way, most ?? null] });
      if (typeof found === 'string') throw new Error(`${way}: ${found}`);
      return found;
    },
    memory: () => memoryOf(profile),
  };
}

/** @param {string} profile @returns {{now: number, peak: number}} MiB of the largest renderer of this browser */
function memoryOf(profile) {
  const found = { now: 0, peak: 0 };
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
      if (!command.includes('--type=renderer') || !isOf(pid, profile)) continue;
      const status = readFileSync(`/proc/${pid}/status`, 'utf8');
      const mib = (name) => Math.round(Number(new RegExp(`${name}:\\s*(\\d+)`).exec(status)?.[1] ?? 0) / 1024);
      if (mib('VmHWM') > found.peak) Object.assign(found, { now: mib('VmRSS'), peak: mib('VmHWM') });
      // The next peak counts from here.
      writeFileSync(`/proc/${pid}/clear_refs`, '5');
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}

/** Whether a process descends from the browser with this profile. */
function isOf(pid, profile) {
  for (let at = pid; at !== '1' && at !== '0'; ) {
    if (readFileSync(`/proc/${at}/cmdline`, 'utf8').includes(profile)) return true;
    at = /PPid:\s*(\d+)/.exec(readFileSync(`/proc/${at}/status`, 'utf8'))?.[1] ?? '0';
  }
  return false;
}
