// A tus client nobody here wrote. Uploads FILE and prints "url URL", and "receipt BASE64" once it is whole; with
// --stop N it gives up after N acknowledged bytes, and with --resume URL it goes on with an earlier upload.
//   --cert --key --ca --file FILE, --server NAME --endpoint URL --name BUNDLE --sha256 HEX --chunk BYTES
import { createReadStream, readFileSync, statSync } from 'node:fs';
import { Agent, get } from 'node:https';
import { load, options } from './packages.mjs';

const tus = await load('tus-js-client');
const given = options();
const agent = new Agent({
  cert: readFileSync(given.cert),
  key: readFileSync(given.key),
  ca: readFileSync(given.ca),
  servername: given.server,
});

function fail(error) {
  console.error(String(error));
  process.exit(1);
}

function receipt(url) {
  get(`${url}/receipt`, { agent }, (response) => {
    const parts = [];
    response.on('data', (part) => parts.push(part));
    response.on('end', () => {
      if (response.statusCode !== 200) fail(`status ${response.statusCode} to the request for the receipt`);
      console.log(`receipt ${Buffer.concat(parts).toString('base64')}`);
      process.exit(0);
    });
  }).on('error', fail);
}

const upload = new tus.Upload(createReadStream(given.file), {
  endpoint: given.endpoint,
  uploadUrl: given.resume,
  uploadSize: statSync(given.file).size,
  chunkSize: Number(given.chunk),
  metadata: { filename: given.name, sha256: given.sha256 },
  retryDelays: [0, 100, 300],
  httpStack: new tus.DefaultHttpStack({ agent }),
  onError: fail,
  onChunkComplete(_size, acknowledged, total) {
    if (given.stop && acknowledged >= Number(given.stop) && acknowledged < total) {
      console.log(`url ${upload.url}`);
      upload.abort().then(() => process.exit(0), fail);
    }
  },
  onSuccess() {
    console.log(`url ${upload.url}`);
    receipt(upload.url);
  },
});
upload.start();
