import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { temporaryDirectory, writePattern } from '../helpers/files.js';
import { testWith } from '../helpers/peers.js';

const NOBODY = 65534;

// test/faults/places.test.ts covers files of other users that the server may read.
testWith(test, 'root')('a file that the server may not read is answered with 403, not 404', async (t) => {
  const directory = await temporaryDirectory(t);
  chmodSync(directory, 0o755);
  writePattern(directory, 'private', 100, 2);
  chmodSync(join(directory, 'private'), 0o600);
  const child = await ChildServer.start(t, { kind: 'http', directory, userId: NOBODY });
  t.is((await request(child.server, { path: '/private' })).status, 403);
});
