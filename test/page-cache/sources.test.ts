import test from 'ava';
import type { BindingChoice } from '../../src/page-cache/bindings.js';
import type { SourceName } from '../../src/send/tally.js';
import { assertAllBack, assertBytes, openFileSite, WIRES } from '../helpers/file-site.js';
import { KIB, MIB, writePattern } from '../helpers/files.js';

const SIZES = [0, 1, 4096, 64 * KIB - 1, 64 * KIB, 256 * KIB + 100, 3 * MIB + 5];
const BINDINGS: Record<string, BindingChoice> = {
  'all bindings': {},
  'libc alone': { mmapIo: false },
  'mmap-io alone': { libc: false },
  'no binding': { mmapIo: false, libc: false },
};
const ALLOWED: Record<'all' | 'mapped' | 'copied' | 'read', SourceName[]> = {
  all: ['mapped', 'copied', 'bytes'],
  mapped: ['mapped', 'copied', 'read'],
  copied: ['copied'],
  read: ['read'],
};

for (const [name, bindings] of Object.entries(BINDINGS)) {
  for (const only of [undefined, 'mapped', 'copied', 'read'] as const) {
    test(`${name}, ${only ?? 'every source'}: all sizes and ranges have the same bytes`, async (t) => {
      for (const kind of WIRES) {
        const site = await openFileSite(t, kind, { bindings, only });
        for (const size of SIZES) {
          const expected = writePattern(site.directory, `${size}`, size, size % 251);
          const { status, body, headers } = await site.get(`${size}`);
          t.is(status, 200);
          t.is(headers['content-length'], `${size}`);
          assertBytes(t, body, expected, `${kind}: ${size}`);
          const range = await site.get(`${size}`, { headers: { range: 'bytes=1-70000' } });
          if (size > 1) assertBytes(t, range.body, expected.subarray(1, 70001), `${kind}: a range of ${size}`);
          else t.is(range.status, size === 0 ? 200 : 416);
        }
        const allowed: readonly SourceName[] = bindings.libc === false ? ['mapped', 'read'] : ALLOWED[only ?? 'all'];
        for (const source of Object.keys(site.sent())) {
          t.true(allowed.includes(source as SourceName), `${kind}: ${source}, expected one of ${allowed}`);
        }
        const { mapper } = site.handler.stats();
        t.is(mapper, bindings.mmapIo === false ? (bindings.libc === false ? undefined : 'libc') : 'mmap-io');
        await assertAllBack(t, site);
      }
    });
  }
}

for (const [name, bindings] of Object.entries(BINDINGS)) {
  for (const kind of ['http', 'h2c'] as const) {
    test(`${kind}, ${name}: a large resident file is mapped if a binding can map it`, async (t) => {
      const site = await openFileSite(t, kind, { bindings });
      writePattern(site.directory, 'large', 2 * MIB + 100, 1);
      await site.get('large');
      const none = bindings.mmapIo === false && bindings.libc === false;
      const copiesTail = bindings.libc !== false;
      const { mapped = 0, read = 0, copied = 0 } = site.sent();
      t.is(mapped + copied + read, 2 * MIB + 100);
      if (none) t.is(read, 2 * MIB + 100);
      // The partial last page is copied, with the window before it or alone.
      else t.true(copiesTail ? mapped >= 2 * MIB && read === 0 : mapped === 2 * MIB + 100, JSON.stringify(site.sent()));
      t.is(site.handler.stats().copiesResident, copiesTail);
    });
  }
}

test('without preadv2, small artifacts are mapped including their partial last page', async (t) => {
  const site = await openFileSite(t, 'http', { bindings: { libc: false } });
  for (const size of [1, 1000, 4096, 5000, 64 * KIB - 1]) {
    const expected = writePattern(site.directory, `${size}`, size, 3);
    const before = site.sent().mapped ?? 0;
    assertBytes(t, (await site.get(`${size}`)).body, expected);
    t.deepEqual(site.sent(), { mapped: before + size });
  }
});

test("files are mapped over TLS if the option map is 'always'", async (t) => {
  for (const kind of ['https', 'h2'] as const) {
    const site = await openFileSite(t, kind, { map: 'always' });
    const expected = writePattern(site.directory, 'large', 4 * MIB, 1);
    assertBytes(t, (await site.get('large')).body, expected);
    t.deepEqual(site.sent(), { mapped: 4 * MIB });
    t.deepEqual(site.handler.stats().unmapped, {});
    await assertAllBack(t, site);
  }
});
