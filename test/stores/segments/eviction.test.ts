import { createHash } from 'node:crypto';
import { open, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import fc from 'fast-check';
import type { UploadMetadata } from '../../../src/contract/artifact.js';
import { segmentStore } from '../../../src/stores/segments/store.js';
import { bodyOf, content, diskUsage, never, put, refusal, temporaryDirectory, until } from '../fixture.js';
import { assertBody, findingsIn, read } from './fixture.js';

async function segmentBytesIn(dir: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(join(dir, 'segments'))) {
    const size = stat(join(dir, 'segments', name)).then((stats) => stats.size);
    bytes += await size.catch(() => 0); // unlinked since it was listed
  }
  return bytes;
}

test('disk usage stays within maxBytes after every upload, and the last upload is stored', async (t) => {
  const parent = await temporaryDirectory(t);
  const puts = fc.array(
    fc.tuple(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'), fc.integer({ min: 0, max: 40_000 }), fc.boolean()),
    { minLength: 1, maxLength: 30 },
  );
  let run = 0;
  await fc.assert(
    fc.asyncProperty(puts, async (list) => {
      const dir = join(parent, String(run++));
      const store = await segmentStore(dir, { maxBytes: 100_000 });
      for (const [seed, [key, length, isAnnounced]] of list.entries()) {
        await put(store, key, content(length, seed), isAnnounced ? {} : { size: undefined });
        t.true((await segmentBytesIn(dir)) <= 100_000);
        await assertBody(t, store, key, content(length, seed));
      }
      await store.close();
      t.deepEqual((await findingsIn(dir)).findings, []);
    }),
    { numRuns: 20 },
  );
});

test('concurrent uploads of more than maxBytes all succeed, and disk usage stays within maxBytes', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir, { maxBytes: 400_000 });
  const keys = Array.from({ length: 200 }, (_, index) => `k${index}`);
  await Promise.all(keys.map((key, seed) => put(store, key, content(10_000, seed))));
  t.true((await segmentBytesIn(dir)) <= 400_000);
  const found = await Promise.all(keys.map((key) => read(store, key)));
  const stored = found.filter((bytes) => bytes !== undefined);
  t.true(stored.length > 10 && stored.length < 41, `${stored.length} are stored`);
  await store.close();
});

test('artifacts that are read repeatedly are retained; the others are evicted', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { maxBytes: 1_000_000 });
  await put(store, 'popular', content(10_000));
  await put(store, 'small and popular', 'x');
  for (let index = 0; index < 400; index++) {
    await put(store, `once/${index}`, content(10_000, index));
    await assertBody(t, store, 'popular', content(10_000));
    await assertBody(t, store, 'small and popular', Buffer.from('x'));
  }
  t.is(store.get('once/0'), undefined);
  t.not(store.get('once/399'), undefined);
  await store.close();
});

test('the coldest segment is evicted, not the oldest', async (t) => {
  const dir = await temporaryDirectory(t);
  const options = { maxBytes: 990_000, segmentBytes: 100_000 };
  const first = await segmentStore(dir, options);
  for (let index = 0; index < 40; index++) await put(first, `k${index}`, content(20_000, index));
  await first.close();
  // After reopening, no artifact counts as used. Each segment holds five bodies.
  const store = await segmentStore(dir, options);
  for (let index = 0; index < 15; index++) t.not(store.get(`k${index}`), undefined);
  await put(store, 'new', content(20_000));
  const numbers = Array.from({ length: 40 }, (_, index) => index);
  const evicted = numbers.filter((number) => store.get(`k${number}`) === undefined);
  t.deepEqual(evicted, [15, 16, 17, 18, 19]);
  await store.close();
});

for (const [kind, keyOf, length, metadata] of [
  [
    'empty artifacts with metadata',
    (index) => `${index}`,
    0,
    { headers: { 'x-artifact-description': 'x'.repeat(4000) } },
  ],
  ['tiny artifacts', (index) => createHash('sha256').update(`${index}`).digest('hex'), 10, undefined],
  ['artifacts with long keys', (index) => `${'x'.repeat(900)}/${index}`, 0, undefined],
] as const satisfies (readonly [string, (index: number) => string, number, UploadMetadata | undefined])[]) {
  test(`${kind} count with their space in the index`, async (t) => {
    const maxBytes = 2 ** 23;
    const store = await segmentStore(await temporaryDirectory(t), { maxBytes, durability: 'none' });
    for (let index = 0; (store.stats().evicted ?? 0) < 1000; index += 200) {
      const puts = Array.from({ length: 200 }, (_, offset) =>
        put(store, keyOf(index + offset), content(length), { metadata }),
      );
      await Promise.all(puts);
      const bytes = await diskUsage(store.root);
      t.true(bytes <= maxBytes, `${bytes} bytes are in use`);
    }
    await store.close();
  });
}

test('a reader with an open descriptor can read an evicted segment to its end', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { maxBytes: 100_000 });
  await put(store, 'a', content(60_000));
  const artifact = await store.get('a');
  if (artifact?.kind !== 'file') return t.fail();
  const handle = await open(artifact.path);
  await put(store, 'b', content(80_000));
  t.is(store.get('a'), undefined);
  await until(async () => !(await readdir(join(store.root, 'segments'))).some((name) => artifact.path.endsWith(name)));
  const bytes = Buffer.alloc(60_000);
  await handle.read(bytes, 0, bytes.length, artifact.offset);
  t.true(bytes.equals(content(60_000)));
  await handle.close();
  await store.close();
});

test('an upload larger than maxBytes is refused and evicts nothing', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { maxBytes: 100_000 });
  await put(store, 'a', content(50_000));
  await t.throwsAsync(
    put(store, 'b', content(100_001)),
    refusal('ERR_HOTBLOB_TOO_LARGE', /at most \d+ bytes, the client announced 100001/),
  );
  const body = Readable.from([content(60_000), content(60_000)]);
  await t.throwsAsync(store.put('b', body, { signal: never() }), refusal('ERR_HOTBLOB_TOO_LARGE'));
  await assertBody(t, store, 'a', content(50_000));
  await store.close();
});

test('bytes that an upload in flight has sent are not evicted: other uploads are refused until it has ended', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { maxBytes: 1_000_000 });
  const controller = new AbortController();
  const slow = store.put('slow', bodyOf([content(800_000)]), { signal: controller.signal, size: 860_000 });
  await until(async () => (await segmentBytesIn(store.root)) > 0);
  await t.throwsAsync(put(store, 'a', content(200_000)), refusal('ERR_HOTBLOB_STORAGE_FULL'));
  controller.abort(new Error('aborted'));
  await t.throwsAsync(slow, { message: 'aborted' });
  await put(store, 'a', content(200_000));
  await assertBody(t, store, 'a', content(200_000));
  await store.close();
});

for (const [title, sent] of [
  ['nothing', 0],
  ['a part', 300_000],
] as const) {
  test(`uploads that announce almost maxBytes and send ${title} evict nothing`, async (t) => {
    const store = await segmentStore(await temporaryDirectory(t), { maxBytes: 8_000_000 });
    const keys = Array.from({ length: 8 }, (_, index) => `key/${index}`);
    for (const [seed, key] of keys.entries()) await put(store, key, content(270_000, seed));
    const controller = new AbortController();
    const slow = Array.from({ length: 5 }, (_, index) => {
      const chunks = sent === 0 ? [] : [content(sent)];
      return store.put(`slow/${index}`, bodyOf(chunks), { signal: controller.signal, size: 6_900_000 });
    });
    const outcomes = Promise.allSettled(slow);
    await until(() => (store.stats().bytes ?? 0) >= 8 * 270_000 + 5 * sent);
    for (const [seed, key] of keys.entries()) await put(store, `other/${key}`, content(270_000, seed));
    for (const [seed, key] of keys.entries()) {
      await assertBody(t, store, key, content(270_000, seed));
      await assertBody(t, store, `other/${key}`, content(270_000, seed));
    }
    t.is(store.stats().evicted, 0);
    controller.abort(new Error('aborted'));
    for (const { status } of await outcomes) t.is(status, 'rejected');
    await until(() => (store.stats().bytes ?? 0) < 16 * 271_000);
    await store.close();
  });
}
