import { chmodSync, chownSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { assertBytes } from '../helpers/file-site.js';
import { KIB, MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { evict, majorFaults } from '../helpers/page-cache.js';

const NOBODY = 65534;

// Of a file that is somebody else's the kernel says that all of it is in memory: mapped, it would make the loop wait.
for (const [who, owner, userId, launcher] of [
  ['another user', 0, NOBODY, 'exec'],
  ['root without its powers', NOBODY, undefined, 'exec setpriv --inh-caps=-all --bounding-set=-all'],
] as const) {
  test(`${who}: files that it does not own are never mapped`, async (t) => {
    if (process.getuid?.() !== 0) {
      t.log('only root can become somebody else');
      t.not(process.env['CI'], 'true', 'nothing is left out there');
      return;
    }
    const directory = await temporaryDirectory(t);
    chmodSync(directory, 0o755);
    const large = writePattern(directory, 'large', 3 * MIB, 1);
    const cold = Array.from({ length: 40 }, (_, index) => writePattern(directory, `cold${index}`, 64 * KIB, index));
    writePattern(directory, 'private', 100, 2);
    chmodSync(join(directory, 'private'), 0o600);
    for (const name of ['large', 'private', ...cold.map((_, index) => `cold${index}`)]) {
      chownSync(join(directory, name), owner, owner);
    }
    const child = await ChildServer.start(t, { kind: 'http', directory, ...(userId && { userId }) }, launcher);
    const get = (key: string) => request(child.server, { path: `/${key}` });
    t.is((await get('private')).status, 500);
    assertBytes(t, (await get('large')).body, large);
    for (const index of cold.keys()) evict(join(directory, `cold${index}`));
    const faultsBefore = majorFaults(child.process.pid);
    for (const [index, expected] of cold.entries()) assertBytes(t, (await get(`cold${index}`)).body, expected);
    const faults = majorFaults(child.process.pid) - faultsBefore;
    t.true(faults < 10, `${faults} page faults have waited for a disk`);
    const { sent, unmapped } = await child.stats();
    t.deepEqual(sent.mapped, { windows: 0, bytes: 0 });
    // What is read for one file may bring a neighbour: copied then, which waits for nothing either.
    t.true(sent.read.bytes >= 0.9 * 40 * 64 * KIB, `${sent.read.bytes} bytes have been read`);
    t.is(sent.read.bytes + sent.copied.bytes, 3 * MIB + 40 * 64 * KIB);
    t.deepEqual(Object.keys(unmapped), ['untrusted']);
  });
}
