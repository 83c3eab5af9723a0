import { chmodSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { temporaryDirectory, writePattern } from '../helpers/files.js';
import { testWith } from '../helpers/peers.js';

const NOBODY = 65534;

// Those that it may read: test/faults/places.test.ts.
testWith(test, 'root')('a file of another user that the server may not read is 500, no miss', async (t) => {
  const directory = await temporaryDirectory(t);
  chmodSync(directory, 0o755);
  writePattern(directory, 'private', 100, 2);
  chmodSync(join(directory, 'private'), 0o600);
  const child = await ChildServer.start(t, { kind: 'http', directory, userId: NOBODY });
  t.is((await request(child.server, { path: '/private' })).status, 500);
});
