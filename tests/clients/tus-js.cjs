// Uploads a file with tus-js-client as it comes: breaks off within a chunk, or goes on from a stored
// URL. `NODE_PATH` says where the client is installed.

const fs = require('node:fs');
const path = require('node:path');
const tus = require('tus-js-client');

const CHUNK = 5 << 20;
const [step, endpoint, file, store] = process.argv.slice(2);

function fail(error) {
  console.error(String(error));
  process.exit(1);
}

let first = null;
const upload = new tus.Upload(fs.createReadStream(file), {
  endpoint,
  chunkSize: CHUNK,
  uploadSize: fs.statSync(file).size,
  metadata: { filename: path.basename(file), filetype: 'application/x-tus-js' },
  urlStorage: new tus.FileUrlStorage(store),
  retryDelays: [0, 100, 500, 1000],
  onError: fail,
  onProgress(sent) {
    first ??= sent;
    if (step === 'begin' && sent > CHUNK + 1000) {
      console.log(upload.url);
      // As if it was killed: the connection breaks where it is.
      process.exit(0);
    }
  },
  onSuccess() {
    if (step === 'resume' && first < CHUNK) fail(`it began again at ${first}`);
    console.log(upload.url);
  },
});

async function run() {
  const previous = await upload.findPreviousUploads();
  if (step === 'resume') {
    if (previous.length !== 1) fail('no upload was stored');
    upload.resumeFromPreviousUpload(previous[0]);
  }
  upload.start();
}

run().catch(fail);
