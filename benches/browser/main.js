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
    rounds: { type: 'string', default: '3' },
    static: { type: 'string', default: join(HERE, '../../static') },
    data: { type: 'string', default: tmpdir() },
    help: { type: 'boolean', default: false },
  },
});
if (options.help) {
  console.log(`scripts/bench-browser [--size-mib 1024] [--rounds 3] [--data ${tmpdir()}] [--static static]
Hashes a file in headless Chromium and prints how fast, and with how much memory. Needs node, chromium,
chromedriver, and npm for the comparison. Fails where ours is slower than it has to be.`);
  process.exit(0);
}
const size = Number(options['size-mib']) * MIB;
const rounds = Number(options.rounds);

const folder = mkdtempSync(join(options.data, 'closeby-bench-browser-'));
/** @type {(() => unknown)[]} what to do at the end, last first */
const endings = [() => rmSync(folder, { recursive: true, force: true })];
process.exitCode = await run().catch((error) => {
  console.error(`bench-browser: ${error.message}`);
  return 1;
});
for (const end of endings.reverse()) await end();

async function run() {
  const rival = install();
  const base = await serve(rival);
  const browser = await startBrowser();
  const file = join(folder, 'random.bin');
  fill(file);
  let isSlow = false;
  for (const build of ['simd', 'plain']) {
    await browser.open(`${base}/${build}/page.html`);
    await browser.choose(file);
    const ways = ['read', 'ours', ...(rival ? ['straight', 'overlapped'] : [])];
    // The first round warms up: the file's pages, the compiled code.
    const figures = await browser.run(build === 'simd' ? ways : ['ours'], rounds + 1, expected(file));
    const best = (way) => Math.max(...figures[way].slice(1)) / MIB;
    const show = (way) => `${best(way).toFixed(0)} MiB/s`;
    if (build === 'simd') {
      console.log(`${size / MIB} MiB, read and hashed in a page; the best of ${rounds}, taken in turns:`);
      console.log(`  reading alone                    ${show('read')}`);
    }
    console.log(`  ours, ${build.padEnd(5)}                      ${show('ours')}`);
    if (!rival || build !== 'simd') continue;
    console.log(`  createSHA1, straightforward      ${show('straight')}`);
    console.log(`  createSHA1, overlapped           ${show('overlapped')}`);
    const ratio = (way) => (best('ours') / best(way)).toFixed(2);
    isSlow = best('ours') < GOAL * best('straight');
    console.log(`  ours : straightforward = ${ratio('straight')} (at least ${GOAL}), ours : overlapped = ${ratio('overlapped')}`);
  }
  const sparse = join(folder, 'sparse.bin');
  const descriptor = openSync(sparse, 'w');
  ftruncateSync(descriptor, 4096 * MIB);
  closeSync(descriptor);
  await browser.open(`${base}/simd/page.html`);
  await browser.choose(sparse);
  const before = browser.memory();
  await browser.run(['ours'], 1);
  const after = browser.memory();
  console.log('Memory of the page\'s process (VmRSS, and its peak VmHWM, of the largest renderer; workers are its threads):');
  console.log(`  ${before.now} MiB before, at most ${after.peak} MiB while a sparse file of 4 GiB is hashed`);
  return isSlow ? 1 : 0;
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

/** Serves page, static files and hash-wasm; below /plain/ as to a browser without vectors. */
async function serve(rival) {
  const server = createServer((request, response) => {
    const [, build, ...rest] = normalize(new URL(request.url, 'http://localhost').pathname).split('/');
    const [first, ...inside] = rest;
    const path =
      first === 'static' ? join(options.static, ...inside)
      : first === 'hash-wasm' && rival ? join(rival, ...inside)
      : join(HERE, ...rest);
    let body;
    try {
      // No module: what such a browser makes of the one with vectors.
      body = build === 'plain' && basename(path) === 'sha1-simd.wasm' ? Buffer.from('none') : readFileSync(path);
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
    /** Runs the ways in turns; each way's bytes a second, by round. */
    async run(ways, times, digest) {
      const script = 'const done = arguments[3]; measure(arguments[0], arguments[1], arguments[2]).then(done, (e) => done(String(e)))';
      const figures = await call('POST', `${session}/execute/async`, { script, args: [ways, times, digest ?? null] });
      if (typeof figures === 'string') throw new Error(figures);
      return figures;
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
