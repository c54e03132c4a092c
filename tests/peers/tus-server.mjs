// A tus server nobody here wrote, as its makers show it, behind mutual TLS of node. Says "listening PORT", and
// "finished ID NAME" for each upload; files are DIR/ID.
//   --cert --key --ca --crl --dir FILE, --port N
import { readFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { load, options } from './packages.mjs';

const { Server, EVENTS } = await load('@tus/server');
const { FileStore } = await load('@tus/file-store');
const given = options();

const tus = new Server({ path: '/files', datastore: new FileStore({ directory: given.dir }) });
tus.on(EVENTS.POST_FINISH, (_request, _response, upload) => {
  console.log(`finished ${upload.id} ${upload.metadata.filename}`);
});
const server = createServer(
  {
    cert: readFileSync(given.cert),
    key: readFileSync(given.key),
    ca: readFileSync(given.ca),
    crl: readFileSync(given.crl),
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.3',
  },
  tus.handle.bind(tus),
);
server.listen(Number(given.port), '127.0.0.1', () => console.log(`listening ${server.address().port}`));
