import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { assertAllBack, assertBytes, openFileSite } from '../helpers/file-site.js';
import { GIB, KIB, MIB, pattern, writeAt, writePattern } from '../helpers/files.js';

const SPAN = 256 * MIB;

for (const kind of ['http', 'h2c', 'https'] as const) {
  for (const only of [undefined, 'copied', 'read'] as const) {
    test(`${kind}, ${only ?? 'every source'}: regions start and end at any position`, async (t) => {
      const regions = [
        [0, 1],
        [1, 64 * KIB],
        [4095, 2],
        [4097, MIB + 13],
        [MIB - 1, 300 * KIB],
        [2 * MIB + 5000, 70 * KIB],
        [3 * MIB, 77], // up to the end of the file
      ] as const;
      const site = await openFileSite(t, kind, {
        only,
        artifact: (key) => {
          const [offset, length] = regions[Number(key)] ?? [0, 0];
          return { path: join(site.directory, 'file'), offset, length };
        },
      });
      const file = writePattern(site.directory, 'file', 3 * MIB + 77, 1);
      for (const [key, [offset, length]] of regions.entries()) {
        const expected = file.subarray(offset, offset + length);
        assertBytes(t, (await site.get(`${key}`)).body, expected, `${length} at ${offset}`);
        const ranged = await site.get(`${key}`, { headers: { range: 'bytes=-70001' } });
        assertBytes(t, ranged.body, expected.subarray(-70001), `the end of ${length} at ${offset}`);
        const middle = await site.get(`${key}`, { headers: { range: 'bytes=1-40000' } });
        if (length > 1) assertBytes(t, middle.body, expected.subarray(1, 40001), `a part of ${length} at ${offset}`);
      }
      if (only === undefined) t.is((site.sent().mapped ?? 0) > 0, kind !== 'https');
      await assertAllBack(t, site);
    });
  }
}

for (const [name, bindings, source] of [
  ['both bindings', {}, 'mapped'],
  ['libc alone', { mmapIo: false }, 'mapped'],
  ['mmap-io alone', { libc: false }, 'read'],
] as const) {
  test(`${name}: bytes beyond 4 GiB are correct, and ${source}`, async (t) => {
    const offset = 4 * GIB + 4096 + 7;
    const length = 300 * KIB;
    const site = await openFileSite(t, 'http', {
      bindings,
      artifact: () => ({ path: join(site.directory, 'sparse'), offset, length }),
    });
    const path = join(site.directory, 'sparse');
    writeFileSync(path, '');
    truncateSync(path, 5 * GIB);
    // The position that the offset would wrap to in a 32-bit integer.
    writeAt(path, pattern(length, 1), offset - 4 * GIB);
    const expected = pattern(length, 2);
    writeAt(path, expected, offset);
    assertBytes(t, (await site.get('key')).body, expected);
    const { [source]: fromSource = 0 } = site.sent();
    // After the last written page there is a hole, which is not resident.
    t.true(fromSource >= 256 * KIB, JSON.stringify(site.sent()));
    if (source === 'read') t.deepEqual(Object.keys(site.handler.stats().unmapped), ['out-of-reach']);
    await assertAllBack(t, site);
  });

  test(`${name}: a region that crosses two mappings is complete`, async (t) => {
    const offset = SPAN - 300 * KIB - 5;
    const length = 600 * KIB + 16;
    const site = await openFileSite(t, 'http', {
      bindings,
      artifact: () => ({ path: join(site.directory, 'sparse'), offset, length }),
    });
    const path = join(site.directory, 'sparse');
    const expected = pattern(length, 3);
    writeFileSync(path, '');
    writeAt(path, expected, offset);
    for (let round = 1; round <= 2; round++) {
      assertBytes(t, (await site.get('key')).body, expected);
      t.is(site.handler.stats().mappings, 2);
    }
    const { mapped = 0 } = site.sent();
    t.true(mapped >= 2 * (length - 4096), JSON.stringify(site.sent()));
    await assertAllBack(t, site);
  });
}

test('mmap-io alone: a region that crosses 2 GiB, the limit of its integers, is read', async (t) => {
  const offset = 2 * GIB - 200 * KIB;
  const length = 400 * KIB;
  const site = await openFileSite(t, 'http', {
    bindings: { libc: false },
    artifact: () => ({ path: join(site.directory, 'sparse'), offset, length }),
  });
  const path = join(site.directory, 'sparse');
  const expected = pattern(length, 4);
  writeFileSync(path, '');
  writeAt(path, expected, offset);
  assertBytes(t, (await site.get('key')).body, expected);
  t.deepEqual(site.sent(), { read: length });
});
