import { renameSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { assertAllBack, assertBytes, openFileSite, WIRES } from '../helpers/file-site.js';
import { MIB, writePattern } from '../helpers/files.js';
import { descriptorsBelow, evict } from '../helpers/page-cache.js';
import { startPaused } from '../helpers/paused.js';
import { settled, until } from '../helpers/poll.js';

for (const kind of WIRES) {
  for (const immutable of [true, false]) {
    const title = `${kind}, ${immutable ? 'immutable' : 'mutable'}`;
    test(`${title}: a download in progress gets the old bytes of a replaced file, the next one the new bytes`, async (t) => {
      const site = await openFileSite(t, kind, { artifact: { immutable } });
      const before = writePattern(site.directory, 'file', 24 * MIB, 1);
      const after = writePattern(site.directory, 'new', MIB, 2);
      const download = await startPaused(t, site.server, '/file');
      const { etag } = (await site.get('file', { method: 'HEAD' })).headers;
      await settled(() => site.handler.stats());
      renameSync(join(site.directory, 'new'), join(site.directory, 'file'));
      await until('the new file is served', async () => {
        const { headers } = await site.get('file', { method: 'HEAD' });
        return headers['content-length'] === `${MIB}`;
      });
      const next = await site.get('file');
      assertBytes(t, next.body, after);
      t.not(next.headers.etag, etag);
      assertBytes(t, await download.finish(), before);
      await until('the old descriptor is closed', () => site.handler.stats().openFiles === 1);
      t.deepEqual(descriptorsBelow(site.directory), [join(site.directory, 'file')]);
      await assertAllBack(t, site);
    });

    test(`${title}: a download in progress of a deleted file completes, the next one is a miss`, async (t) => {
      const site = await openFileSite(t, kind, { artifact: { immutable } });
      const before = writePattern(site.directory, 'file', 24 * MIB, 1);
      const download = await startPaused(t, site.server, '/file');
      await settled(() => site.handler.stats());
      unlinkSync(join(site.directory, 'file'));
      await until('the file is a miss', async () => (await site.get('file', { method: 'HEAD' })).status === 404);
      assertBytes(t, await download.finish(), before);
      await until('the descriptor is closed', () => site.handler.stats().openFiles === 0);
      t.deepEqual(descriptorsBelow(site.directory), [], 'the disk space of the file is free');
      await assertAllBack(t, site);
    });
  }
}

for (const kind of ['http', 'h2c', 'https'] as const) {
  test(`${kind}: pages that are evicted during a slow download are read`, async (t) => {
    const site = await openFileSite(t, kind);
    const expected = writePattern(site.directory, 'file', 32 * MIB, 1);
    // Downloaded once before, so that the page tables contain the pages of the mapping.
    assertBytes(t, (await site.get('file')).body, expected);
    t.is(site.sent().read, undefined);
    const download = await startPaused(t, site.server, '/file');
    await settled(() => site.handler.stats());
    const sentBefore = Object.values(site.sent()).reduce((sum, bytes) => sum + bytes, 0) - 32 * MIB;
    t.true(sentBefore < 15 * MIB, `${sentBefore} bytes were sent to a client that does not read`);
    // Only pages that are not in flight. Page faults in flight would make the kernel read ahead.
    evict(join(site.directory, 'file'), 16 * MIB);
    assertBytes(t, await download.finish(), expected);
    // Over TLS, a copy of a page that is not resident makes the kernel read ahead, and the next copies may succeed.
    if (kind === 'http' || kind === 'h2c') {
      await until('some bytes have been read', () => (site.sent().read ?? 0) > 0);
    }
    await assertAllBack(t, site);
  });
}
