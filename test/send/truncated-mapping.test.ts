import { truncateSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { assertBytes } from '../helpers/file-site.js';
import { MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { startPaused } from '../helpers/paused.js';
import { settled, until } from '../helpers/poll.js';

test('http: a mapped file that is truncated to 0 bytes during a download ends the response, not the process', async (t) => {
  const directory = await temporaryDirectory(t);
  const child = await ChildServer.start(t, { kind: 'http', directory, only: 'mapped' });
  writePattern(directory, 'victim', 48 * MIB, 1);
  const other = writePattern(directory, 'other', 24 * MIB, 2);
  const victims = await Promise.all(Array.from({ length: 4 }, () => startPaused(t, child.server, '/victim')));
  const neighbour = await startPaused(t, child.server, '/other');
  await settled(async () => (await child.stats()).sent);
  t.true((await child.stats()).mappedBytes > 0);
  truncateSync(join(directory, 'victim'), 0);
  for (const victim of victims) await t.throwsAsync(victim.finish());
  assertBytes(t, await neighbour.finish(), other);
  assertBytes(t, (await request(child.server, { path: '/other' })).body, other);
  t.true(child.isAlive);
  await until('no byte is in flight', async () => {
    const { mappedBytes, pooledBytes } = await child.stats();
    return mappedBytes + pooledBytes === 0;
  });
});
