import { join } from 'node:path';
import test from 'ava';
import { assertAllBack, assertBytes, openFileSite } from '../helpers/file-site.js';
import { KIB, MIB, writePattern } from '../helpers/files.js';
import { evict, lockInPageCache, majorFaults } from '../helpers/page-cache.js';
import { until } from '../helpers/poll.js';

for (const kind of ['http', 'h2c'] as const) {
  test(`${kind}: a file that is not resident is read, and mapped from then on`, async (t) => {
    const site = await openFileSite(t, kind, { only: 'mapped' });
    // One window in both protocols.
    const expected = writePattern(site.directory, 'one', 64 * KIB, 1);
    evict(join(site.directory, 'one'));
    assertBytes(t, (await site.get('one')).body, expected);
    t.deepEqual(site.sent(), { read: 64 * KIB });
    t.deepEqual(site.handler.stats().unmapped, { 'not-resident': 1 });
    // If the kernel evicts the page in between, it is read again.
    await until('the file is mapped', async () => {
      assertBytes(t, (await site.get('one')).body, expected);
      return site.sent().mapped === 64 * KIB;
    });
    await assertAllBack(t, site);
  });
}

test('over TLS, a file that is not resident is read, and copied from then on', async (t) => {
  const site = await openFileSite(t, 'https', { only: 'copied' });
  const expected = writePattern(site.directory, 'small', 20 * KIB, 1);
  evict(join(site.directory, 'small'));
  assertBytes(t, (await site.get('small')).body, expected);
  t.deepEqual(site.sent(), { read: 20 * KIB });
  await until('the file is copied', async () => {
    assertBytes(t, (await site.get('small')).body, expected);
    return site.sent().copied === 20 * KIB;
  });
});

for (const kind of ['http', 'h2c'] as const) {
  // Serial, because users other than root may lock 8 MiB at most.
  test.serial(`${kind}: a response reads pages that are not resident, and maps the others`, async (t) => {
    const site = await openFileSite(t, kind);
    const expected = writePattern(site.directory, 'half', 8 * MIB, 2);
    const path = join(site.directory, 'half');
    t.teardown(lockInPageCache(path, 0, 2 * MIB));
    t.teardown(lockInPageCache(path, 4 * MIB, 8 * MIB));
    const download = async () => {
      const before = site.sent();
      assertBytes(t, (await site.get('half')).body, expected);
      const after = site.sent();
      const sent = (source: 'mapped' | 'read' | 'copied') => (after[source] ?? 0) - (before[source] ?? 0);
      return { mapped: sent('mapped'), read: sent('read'), copied: sent('copied') };
    };
    // The kernel may reclaim the part that is not locked.
    await until('the whole file is mapped', async () => (await download()).mapped === 8 * MIB);
    // Aligned to 2 MiB: the kernel evicts large folios as a whole.
    evict(path, 2 * MIB, 4 * MIB);
    const { mapped, read, copied } = await download();
    t.true(read >= 64 * KIB, `read ${read}`);
    t.true(mapped >= 5 * MIB, `mapped ${mapped} bytes, of which 6 MiB were resident`);
    t.is(mapped + read + copied, 8 * MIB);
    await assertAllBack(t, site);
  });
}

test.serial('cold files do not make the event loop wait for a disk', async (t) => {
  const site = await openFileSite(t, 'http');
  // One window each. In longer files, readahead of the kernel counts as a major fault too (mm_account_fault).
  const files = new Map<string, Buffer>();
  for (let index = 0; index < 150; index++) {
    for (const size of [3000, 64 * KIB]) {
      const name = `${size}-${index}`;
      files.set(name, writePattern(site.directory, name, size, index));
    }
  }
  const round = () => Promise.all([...files.keys()].map(async (name) => [name, (await site.get(name)).body] as const));
  await round(); // makes the code resident
  for (const name of files.keys()) evict(join(site.directory, name));
  const { read: readBefore = 0 } = site.sent();
  const faultsBefore = majorFaults();
  const bodies = await round();
  const faults = majorFaults() - faultsBefore;
  // The kernel may have evicted pages of code.
  t.true(faults < files.size / 10, `${faults} major page faults for ${files.size} files`);
  for (const [name, body] of bodies) assertBytes(t, body, files.get(name) ?? Buffer.alloc(0), name);
  // Not all bytes: a read of one file may make a small neighbour resident.
  const read = (site.sent().read ?? 0) - readBefore;
  t.true(read >= 0.9 * 150 * (3000 + 64 * KIB), `${read} bytes have been read`);
});
