import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import fc from 'fast-check';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { testWith } from '../../helpers/peers.js';
import { onFullDisk } from '../disk-full.js';
import {
  assertFile,
  bodyOf,
  content,
  entriesBelow,
  located,
  never,
  put,
  refusal,
  temporaryDirectory,
  until,
} from '../fixture.js';

test('stores uploads with and without an announced length', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  for (const [key, length] of [
    ['empty', 0],
    ['a/b/c', 3],
    ['large', 3_000_000],
  ] as const) {
    t.like(await put(store, key, content(length)), { created: true });
    await assertFile(t, located(store, key).path, content(length));
  }
  const body = Readable.from([content(100_000), content(100_000, 1)]);
  t.false((await store.put('large', body, { signal: never() })).created);
  await assertFile(t, located(store, 'large').path, Buffer.concat([content(100_000), content(100_000, 1)]));
  t.deepEqual(await entriesBelow(store.root), ['a/', 'a/b/', 'a/b/c', 'empty', 'large']);
});

test('an overwrite replaces the file, so that an open descriptor keeps the old bytes', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', 'old');
  const before = await stat(located(store, 'a').path);
  t.false((await put(store, 'a', 'newer')).created);
  t.is(await readFile(located(store, 'a').path, 'utf8'), 'newer');
  t.not((await stat(located(store, 'a').path)).ino, before.ino);
});

test('until an upload is complete, the key has the previous artifact or none', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'old', 'old');
  for (const key of ['old', 'new']) {
    const body = bodyOf([content(100_000)]);
    const upload = store.put(key, body, { signal: never() });
    await until(async () => (await bytesInUploads(store.root)) === 100_000);
    t.deepEqual(await entriesOutsideUploads(store.root), ['old']);
    t.is(await readFile(located(store, 'old').path, 'utf8'), 'old');
    body.destroy(new Error('client disconnected'));
    await t.throwsAsync(upload, { message: 'client disconnected' });
  }
});

const failure = new Error('body failed');
const whole = (): Readable => Readable.from([content(10)]);
const failing = [
  ['fails at once', () => bodyOf([], failure), undefined, { is: failure }],
  ['fails in the middle', () => bodyOf([content(100_000)], failure), undefined, { is: failure }],
  ['fails instead of ending', () => bodyOf([content(10)], failure), 10, { is: failure }],
  ['is destroyed', () => bodyOf([content(10)]).destroy(), undefined, { code: 'ERR_STREAM_PREMATURE_CLOSE' }],
  ['is too short', whole, 11, refusal('ERR_HOTBLOB_INCOMPLETE', /expected 11 bytes as announced, received 10/)],
  ['is too long', whole, 9, refusal('ERR_HOTBLOB_INCOMPLETE', /expected 9 bytes as announced, received 10/)],
  [
    'is too long and does not end',
    () => bodyOf([content(10)]),
    9,
    refusal('ERR_HOTBLOB_INCOMPLETE', /expected 9 bytes as announced, received 10/),
  ],
] as const;

for (const [failureName, bodyFor, size, error] of failing) {
  test(`an upload whose body ${failureName} leaves nothing`, async (t) => {
    const store = await directoryStore(await temporaryDirectory(t));
    await put(store, 'old/a', 'old');
    for (const key of ['old/a', 'new/b/c']) {
      const body = bodyFor();
      await t.throwsAsync(store.put(key, body, { signal: never(), size }), error);
      t.true(body.destroyed);
    }
    t.deepEqual(await entriesBelow(store.root), ['old/', 'old/a']);
    t.is(await readFile(located(store, 'old/a').path, 'utf8'), 'old');
  });
}

test('an abort rejects an upload whose body is idle', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const controller = new AbortController();
  const body = bodyOf([content(100_000)]);
  const upload = store.put('a/b', body, { signal: controller.signal });
  await until(async () => (await bytesInUploads(store.root)) === 100_000);
  const reason = new Error('client disconnected');
  controller.abort(reason);
  await t.throwsAsync(upload, { is: reason });
  t.true(body.destroyed);
  t.deepEqual(await entriesBelow(store.root), []);
});

test('an abort after the last byte rejects an upload that is being synced to disk', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const controller = new AbortController();
  const reason = new Error('client disconnected');
  const body = Readable.from([content(100_000)]);
  body.once('end', () => setImmediate(() => controller.abort(reason)));
  await t.throwsAsync(store.put('a/b', body, { signal: controller.signal }), { is: reason });
  t.deepEqual(await entriesBelow(store.root), []);
});

test('an aborted signal rejects an upload before it creates a file', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const reason = new Error('client disconnected');
  const body = bodyOf([content(10)]);
  await t.throwsAsync(store.put('a', body, { signal: AbortSignal.abort(reason) }), { is: reason });
  t.true(body.destroyed);
  t.deepEqual(await readdir(store.root), []);
});

test('an abort at any moment leaves the whole artifact or nothing', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const bytes = content(300_000);
  const outcomes = { stored: 0, rejected: 0 };
  const attempt = async (turns: number): Promise<void> => {
    const controller = new AbortController();
    const chunks = [0, 1, 2].map((index) => bytes.subarray(index * 100_000, (index + 1) * 100_000));
    const upload = store.put('a/b/c', Readable.from(chunks), { signal: controller.signal, size: bytes.byteLength });
    const completion = upload.then(
      () => true,
      () => false,
    );
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
    controller.abort(new Error('client disconnected'));
    const stored = await completion;
    outcomes[stored ? 'stored' : 'rejected']++;
    t.deepEqual(await entriesBelow(store.root), stored ? ['a/', 'a/b/', 'a/b/c'] : []);
    if (!stored) return;
    await assertFile(t, located(store, 'a/b/c').path, bytes);
    await store.delete('a/b/c');
  };
  // Aborts later and later, until three uploads complete. How many turns that takes depends on the disk.
  for (let turns = 0; outcomes.stored < 3; turns = Math.ceil(turns * 1.2) + 1) await attempt(turns);
  t.true(outcomes.rejected > 3);
});

test('after concurrent uploads of one key, the artifact is one of them', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 200_000 }), { minLength: 2, maxLength: 8 }),
      async (lengths) => {
        const contents = lengths.map((length, seed) => content(length, seed));
        await Promise.all(contents.map((bytes) => put(store, 'a/b', bytes)));
        const winner = await readFile(located(store, 'a/b').path);
        t.true(contents.some((bytes) => bytes.equals(winner)));
        t.deepEqual(await entriesBelow(store.root), ['a/', 'a/b']);
        t.true(await store.delete('a/b'));
      },
    ),
    { numRuns: 25 },
  );
});

test('concurrent uploads and deletions in one directory all succeed', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const keys = ['a/b/c/1', 'a/b/c/2', 'a/b/3', 'a/4'];
  const work = async (key: string): Promise<void> => {
    for (let round = 0; round < 60; round++) {
      await put(store, key, key);
      t.is(await readFile(located(store, key).path, 'utf8'), key);
      t.true(await store.delete(key));
    }
  };
  await Promise.all(keys.map(work));
  t.deepEqual(await entriesBelow(store.root), []);
});

test('rejects a key that is a directory, or below an artifact', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', 'x');
  await put(store, 'b/c', 'x');
  await mkdir(join(store.root, 'empty'));
  for (const key of ['a/b', 'a/b/c', 'b', 'empty']) {
    await t.throwsAsync(put(store, key, 'y'), refusal('ERR_HOTBLOB_INVALID_KEY', /conflicts with another key/), key);
  }
  t.deepEqual(await entriesBelow(store.root), ['a', 'b/', 'b/c', 'empty/']);
});

test('rejects a key segment that is too long for the file system', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  for (const key of ['x'.repeat(256), `a/${'x'.repeat(256)}`, `a/b/${'x'.repeat(256)}/c`]) {
    await t.throwsAsync(put(store, key, 'y'), refusal('ERR_HOTBLOB_KEY_TOO_LONG'));
  }
  t.deepEqual(await entriesBelow(store.root), []);
});

test('works after the directory was deleted', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', 'x');
  await rm(store.root, { recursive: true });
  await put(store, 'a/b', 'x');
  t.is(await readFile(located(store, 'a/b').path, 'utf8'), 'x');
});

test('close() waits for uploads in flight and rejects every later call', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const body = bodyOf([content(10)]);
  const upload = store.put('a', body, { signal: never() });
  const closing = store.close();
  const closed = refusal('ERR_HOTBLOB_CLOSED', /^the directory store is closed$/);
  const late = bodyOf([content(10)]);
  await t.throwsAsync(store.put('b', late), closed);
  t.true(late.destroyed);
  t.throws(() => store.get('a'), closed);
  await t.throwsAsync(store.delete('a'), closed);
  await t.throwsAsync(async () => {
    for await (const _ of store.list());
  }, closed);
  body.push(null);
  await closing;
  t.deepEqual(await entriesBelow(store.root), ['a'], 'the upload in flight completes');
  await upload;
});

test('of uploads with ifAbsent in two stores of a directory, exactly one is stored', async (t) => {
  const dir = await temporaryDirectory(t);
  // Like two processes: the stores share nothing but the directory. One of them counts its uploads.
  const stores = [await directoryStore(dir), await directoryStore(dir, { maxBytes: 2 ** 30 })] as const;
  for (let round = 0; round < 20; round++) {
    const key = `a/${round}`;
    const puts = Array.from({ length: 6 }, (_, index) =>
      put(stores[index % 2 ? 1 : 0], key, content(1000, index), {
        ifAbsent: true,
        metadata: { headers: { 'x-artifact-index': `${index}` } },
      }),
    );
    const outcomes = await Promise.allSettled(puts);
    const winners = outcomes.flatMap(({ status }, index) => (status === 'fulfilled' ? [index] : []));
    t.is(winners.length, 1);
    const [winner = 0] = winners;
    for (const each of outcomes) if (each.status === 'rejected') t.is(each.reason.code, 'ERR_HOTBLOB_EXISTS');
    const artifact = await stores[0].get(key);
    if (artifact === undefined) return t.fail();
    t.deepEqual(artifact.headers, { 'x-artifact-index': `${winner}` });
    await assertFile(t, artifact.path, content(1000, winner));
    t.is((await stat(artifact.path)).nlink, 1);
  }
  await put(stores[0], 'file', 'x');
  await t.throwsAsync(put(stores[0], 'a', 'x', { ifAbsent: true }), refusal('ERR_HOTBLOB_INVALID_KEY'));
  await t.throwsAsync(put(stores[0], 'file/a', 'x', { ifAbsent: true }), refusal('ERR_HOTBLOB_INVALID_KEY'));
});

test('get() and put() work without options', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  t.like(await store.put('a', Readable.from([content(10)])), { created: true });
  t.like(await store.put('a', Readable.from([content(10)]), { size: 10 }), { created: false });
  t.deepEqual(store.get('a', {}), store.get('a'));
  await assertFile(t, located(store, 'a').path, content(10));
  const limited = await directoryStore(store.root, { maxBytes: 100_000 });
  t.like(await limited.put('b', Readable.from([content(10)])), { created: true });
});

// Skipped without the permission to mount a file system, but not in CI: there the test fails then.
const testOnSmallDisk = testWith(test, 'mount');

testOnSmallDisk(
  'rejects an upload that does not fit the disk, and stores the next ones, also in place of a deleted file that is still open',
  async (t) => {
    t.like(await onFullDisk(t), {
      error: { name: 'HotblobError', code: 'ERR_HOTBLOB_STORAGE_FULL', cause: 'ENOSPC' },
      entries: ['first'],
      firstIsIntact: true,
      thirdIsStored: true,
      openFiles: 1,
      fourthIsStored: true,
    });
  },
);

async function entriesOutsideUploads(root: string): Promise<string[]> {
  return (await entriesBelow(root)).filter((name) => !name.startsWith('.hotblob/'));
}

async function bytesInUploads(root: string): Promise<number> {
  const uploads = join(root, '.hotblob', 'uploads');
  const names = await readdir(uploads).catch(() => []);
  const stats = await Promise.all(names.map((name) => stat(join(uploads, name))));
  return stats.reduce((sum, { size }) => sum + size, 0);
}
