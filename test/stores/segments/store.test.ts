import { readdir, readFile, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import { type SegmentStore, segmentStore } from '../../../src/stores/segments/store.js';
import { bodyOf, content, never, put, refusal, temporaryDirectory, until } from '../fixture.js';
import { assertBody, bodyOfSeed, findingsIn, read } from './fixture.js';

const LENGTHS = [0, 1, 256, 257, 4096, 262_144, 262_145, 3_000_000];

test('an upload with or without an announced length can be read back, also after reopening', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir, { segmentBytes: 1_000_000 });
  for (const [index, length] of LENGTHS.entries()) {
    const size = index % 2 === 0 ? length : undefined;
    const result = await put(store, `a/${length}`, content(length), { size });
    t.true(result.created);
    await assertBody(t, store, `a/${length}`, content(length));
  }
  t.is(store.get('a'), undefined);
  await store.close();
  const again = await segmentStore(dir, { segmentBytes: 1_000_000 });
  for (const length of LENGTHS) await assertBody(t, again, `a/${length}`, content(length));
  await again.close();
  t.deepEqual(await findingsIn(dir), {
    findings: [],
    artifacts: LENGTHS.length,
    bytes: LENGTHS.reduce((sum, length) => sum + length, 0),
  });
});

test('a body may consist of any number of chunks of any size', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t));
  const chunks = Array.from({ length: 3000 }, (_, index) => content(index % 300, index));
  await store.put('a', Readable.from(chunks), { signal: never() });
  await assertBody(t, store, 'a', Buffer.concat(chunks));
  await store.close();
});

test('small bodies are bytes artifacts, larger ones are regions of an immutable file', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t));
  const before = Date.now();
  for (const length of [256, 257]) await put(store, String(length), content(length));
  t.like(store.get('256'), { kind: 'bytes', bytes: content(256) });
  t.like(store.get('257'), { kind: 'file', length: 257, offset: 0, immutable: true });
  for (const key of ['256', '257']) {
    const artifact = await store.get(key);
    const time = artifact?.lastModified?.getTime() ?? 0;
    t.true(time >= before && time <= Date.now());
    t.regex(artifact?.etag ?? '', /^"[\w-]{22}"$/);
  }
  await store.close();
});

test('the entity tag depends on the bytes only', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t));
  const { etag } = await put(store, 'a', content(1000));
  t.is((await store.get('a'))?.etag, etag);
  t.is((await put(store, 'b', content(1000))).etag, etag);
  t.not((await put(store, 'c', content(1000, 1))).etag, etag);
  t.is((await store.get('a'))?.etag, etag);
  await store.close();
});

for (const turns of [0, 1, 2, 4, 8]) {
  test(`no other body is written into the segment of an upload of unknown length (after ${turns} turns)`, async (t) => {
    const store = await segmentStore(await temporaryDirectory(t));
    const keys = Array.from({ length: 20 }, (_, index) => `key/${index}`);
    const chunks = Array.from({ length: 12 }, (_, index) => content(50_000, index));
    const body = new Readable({ read() {} });
    // As much as is buffered in memory. The next chunk reserves a segment.
    for (const chunk of chunks.slice(0, 5)) body.push(chunk);
    const upload = store.put('open', body, { signal: never() });
    const early = keys.slice(0, 10).map((key, seed) => put(store, key, content(5000, seed)));
    // Depending on the number of turns, these have reserved regions of that segment and are not written yet.
    for (let turn = 0; turn < turns; turn++) await setImmediate();
    body.push(chunks[5]);
    await Promise.all(early);
    await Promise.all(keys.slice(10).map((key, seed) => put(store, key, content(5000, seed + 10))));
    for (const chunk of chunks.slice(6)) body.push(chunk);
    body.push(null);
    await upload;
    await assertBody(t, store, 'open', Buffer.concat(chunks));
    for (const [seed, key] of keys.entries()) await assertBody(t, store, key, content(5000, seed));
    await store.close();
  });
}

test('put replaces and delete removes bodies of every size', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir);
  const lengths = [10, 1000, 300_000, 20, 400_000, 2000];
  for (const [index, length] of lengths.entries()) {
    t.is((await put(store, 'a', content(length))).created, index === 0);
    await assertBody(t, store, 'a', content(length));
  }
  t.true(await store.delete('a'));
  t.false(await store.delete('a'));
  t.is(store.get('a'), undefined);
  t.true((await put(store, 'a', 'x')).created);
  await store.close();
  t.like(await findingsIn(dir), { findings: [], artifacts: 1 });
});

test('an artifact that get returned stays readable after a replacement and a delete', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t));
  await put(store, 'a', content(5000));
  const before = store.get('a');
  await put(store, 'a', content(5000, 1));
  await store.delete('a');
  await put(store, 'b', content(5000, 2));
  t.like(before, { kind: 'file', length: 5000 });
  const file = await readFile(join(store.root, 'segments', '0000000001.segment'));
  t.true(file.subarray(0, 5000).equals(content(5000)));
  await store.close();
});

test('after concurrent uploads of one key, the artifact is one of them, intact', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { segmentBytes: 1_000_000 });
  const lengths = fc.array(fc.integer({ min: 0, max: 400_000 }), { minLength: 2, maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(lengths, fc.boolean(), async (list, isAnnounced) => {
      await store.delete('a/b');
      const bodies = list.map((length, seed) => bodyOfSeed(seed, length));
      const results = await Promise.all(
        bodies.map((bytes) => put(store, 'a/b', bytes, isAnnounced ? {} : { size: undefined })),
      );
      t.is(results.filter(({ created }) => created).length, 1);
      const bytes = await read(store, 'a/b');
      t.true(bodies.some((body) => bytes?.equals(body)));
    }),
    { numRuns: 40 },
  );
  await store.close();
});

test('any sequence of operations gives the result of a Map, also after reopening', async (t) => {
  const parent = await temporaryDirectory(t);
  const key = fc.constantFrom('a', 'a/b', 'A', 'é', 'e\u0301', `${'k'.repeat(1000)}`, '\u{1f600}', 'x'.repeat(64));
  const operation = fc.oneof(
    fc.record({ kind: fc.constant('put' as const), key, length: fc.integer({ min: 0, max: 3000 }) }),
    fc.record({ kind: fc.constant('delete' as const), key }),
    fc.record({ kind: fc.constant('reopen' as const) }),
  );
  let run = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(operation, { maxLength: 25 }), async (operations) => {
      const dir = join(parent, String(run++));
      const options = { segmentBytes: 4000 };
      let store: SegmentStore = await segmentStore(dir, options);
      const model = new Map<string, Buffer>();
      for (const [seed, step] of operations.entries()) {
        if (step.kind === 'put') {
          const bytes = bodyOfSeed(seed, step.length);
          t.is((await put(store, step.key, bytes)).created, !model.has(step.key));
          model.set(step.key, bytes);
        } else if (step.kind === 'delete') {
          t.is(await store.delete(step.key), model.delete(step.key));
        } else {
          await store.close();
          store = await segmentStore(dir, options);
        }
        for (const [stored, bytes] of model) await assertBody(t, store, stored, bytes);
      }
      await store.close();
      t.like(await findingsIn(dir), { findings: [], artifacts: model.size });
    }),
    { numRuns: 25 },
  );
});

const failure = new Error('the body failed');
const failing = [
  ['fails at once', () => bodyOf([], failure), undefined, { is: failure }],
  ['fails in the middle', () => bodyOf([content(1000)], failure), 2000, { is: failure }],
  ['is large and fails', () => bodyOf([content(400_000)], failure), 500_000, { is: failure }],
  [
    'is large, has no announced length and fails',
    () => bodyOf([content(400_000)], failure),
    undefined,
    { is: failure },
  ],
  ['is too short', () => Readable.from([content(10)]), 11, refusal('ERR_HOTBLOB_INCOMPLETE')],
  ['is large and too short', () => Readable.from([content(400_000)]), 500_000, refusal('ERR_HOTBLOB_INCOMPLETE')],
  ['is too long', () => bodyOf([content(10)]), 9, refusal('ERR_HOTBLOB_INCOMPLETE')],
] as const;

for (const [description, createBody, size, error] of failing) {
  test(`an upload whose body ${description} rejects and changes nothing`, async (t) => {
    const dir = await temporaryDirectory(t);
    const store = await segmentStore(dir);
    await put(store, 'old', content(1000));
    for (const key of ['old', 'new']) {
      const body = createBody();
      await t.throwsAsync(store.put(key, body, { signal: never(), size }), error);
      t.true(body.destroyed);
    }
    t.is(store.get('new'), undefined);
    await assertBody(t, store, 'old', content(1000));
    await put(store, 'next', content(300_000));
    await assertBody(t, store, 'next', content(300_000));
    await store.close();
    t.like(await findingsIn(dir), { findings: [], artifacts: 2 });
  });
}

test('an abort ends an upload whose body has stalled, whether it is buffered or written directly', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t));
  for (const size of [undefined, 1000, 600_000]) {
    const controller = new AbortController();
    const body = bodyOf([content(900)]);
    const upload = store.put('a', body, { signal: controller.signal, size });
    await until(() => body.readableFlowing !== null || body.readableDidRead);
    const reason = new Error('the client disconnected');
    controller.abort(reason);
    await t.throwsAsync(upload, { is: reason });
    t.true(body.destroyed);
    t.is(store.get('a'), undefined);
  }
  await store.close();
});

test('the space of a large failed upload is freed at once', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { segmentBytes: 1_000_000 });
  const body = bodyOf([content(800_000)], failure);
  await t.throwsAsync(store.put('a', body, { signal: never(), size: 900_000 }), { is: failure });
  await until(async () => (await readdir(join(store.root, 'segments'))).length === 0);
  await store.close();
  t.pass();
});

test('uploads that fail among others take little space and do not affect them', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t));
  const stored = new Map<string, Buffer>();
  for (let round = 0; round < 20; round++) {
    const uploads = Array.from({ length: 12 }, async (_, index) => {
      const length = [300_000, 400_000, 20_000, 500][index % 4] ?? 0;
      const bytes = content(length, round * 12 + index);
      const size = index % 3 === 0 ? undefined : length;
      const key = `${round}/${index}`;
      // Some bodies of each size fail early, some late, and some succeed.
      if ((round + index) % 4 !== 0) {
        const sent = (round + index) % 2 === 0 ? length - 1 : 1;
        const body = bodyOf([bytes.subarray(0, sent)], failure);
        return t.throwsAsync(store.put(key, body, { signal: never(), size }), { is: failure });
      }
      stored.set(key, bytes);
      return put(store, key, bytes, { size });
    });
    await Promise.all(uploads);
  }
  let bytes = 0;
  for (const [key, expected] of stored) {
    bytes += expected.byteLength;
    await assertBody(t, store, key, expected);
  }
  const names = await readdir(join(store.root, 'segments'));
  const sizes = await Promise.all(names.map((name) => stat(join(store.root, 'segments', name))));
  const onDisk = sizes.reduce((sum, { size }) => sum + size, 0);
  // A failed region that others follow leaves a gap. The failed uploads amount to 42 MB.
  t.log(`${onDisk} bytes on disk for ${bytes}`);
  t.true(onDisk < bytes + 15_000_000);
  await store.close();
  t.like(await findingsIn(store.root), { findings: [], artifacts: stored.size });
});

test('the space of overwritten artifacts is freed, also without maxBytes', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { segmentBytes: 100_000 });
  await put(store, 'kept', content(5000, 1));
  for (let round = 0; round < 100; round++) await put(store, 'a', content(20_000, round));
  const bytes = async (): Promise<number> => {
    const names = await readdir(join(store.root, 'segments'));
    const sizes = await Promise.all(
      names.map((name) =>
        stat(join(store.root, 'segments', name)).then(
          ({ size }) => size,
          () => 0, // unlinked since it was listed
        ),
      ),
    );
    return sizes.reduce((sum, size) => sum + size, 0);
  };
  await until(async () => (await bytes()) < 300_000);
  await assertBody(t, store, 'kept', content(5000, 1));
  await assertBody(t, store, 'a', content(20_000, 99));
  await store.close();
});

test('invalid keys and keys with unpaired surrogates are refused', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t));
  t.throws(() => store.get('\ud800'), refusal('ERR_HOTBLOB_INVALID_KEY'));
  await t.throwsAsync(put(store, 'a/\udc00', 'x'), refusal('ERR_HOTBLOB_INVALID_KEY'));
  await t.throwsAsync(put(store, '..', 'x'), refusal('ERR_HOTBLOB_INVALID_KEY'));
  await t.throwsAsync(put(store, 'a'.repeat(1025), 'x'), refusal('ERR_HOTBLOB_KEY_TOO_LONG'));
  await store.close();
});

test('put and get work without a signal', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { verifyReads: true });
  await store.put('inline', Readable.from(['x']));
  await store.put('file', Readable.from([content(5000)]), { size: 5000 });
  t.like(await store.get('inline'), { kind: 'bytes', bytes: Buffer.from('x') });
  t.like(await store.get('file'), { kind: 'file', length: 5000 });
  const body = bodyOf([content(100)], failure);
  await t.throwsAsync(store.put('failed', body), { is: failure });
  t.is(await store.get('failed'), undefined);
  await store.close();
});

test('close waits for uploads in flight; later operations reject with ERR_HOTBLOB_CLOSED', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir);
  const upload = put(store, 'a', content(500_000));
  await Promise.all([store.close(), store.close()]);
  t.true((await upload).created);
  t.throws(() => store.get('a'), refusal('ERR_HOTBLOB_CLOSED', /segment store is closed/));
  await t.throwsAsync(store.delete('a'), refusal('ERR_HOTBLOB_CLOSED'));
  const body = Readable.from(['x']);
  await t.throwsAsync(store.put('b', body, { signal: never() }), refusal('ERR_HOTBLOB_CLOSED'));
  t.true(body.destroyed);
  t.deepEqual((await readdir(dir)).sort(), [
    'format',
    'index.mdb',
    'index.mdb-lock',
    'reserve',
    'segments',
    'writer.mdb',
    'writer.mdb-lock',
  ]);
});

test.serial('only segments that accept bodies keep a descriptor open', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { segmentBytes: 20_000 });
  for (let index = 0; index < 100; index++) await put(store, `k${index}`, content(15_000, index));
  const descriptors = async (): Promise<number> => {
    const links = await Promise.all(
      (await readdir('/proc/self/fd')).map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')),
    );
    return links.filter((link) => link.startsWith(store.root) && link.endsWith('.segment')).length;
  };
  if (process.platform === 'linux') await until(async () => (await descriptors()) <= 4);
  await assertBody(t, store, 'k0', content(15_000));
  await store.close();
});
