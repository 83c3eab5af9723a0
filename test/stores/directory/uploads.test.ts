import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import fc from 'fast-check';
import { directoryStore } from '../../../src/stores/directory/store.js';
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

test('what was put can be read back, also without an announced length', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  for (const [key, length] of [
    ['empty', 0],
    ['a/b/c', 3],
    ['large', 3_000_000],
  ] as const) {
    t.deepEqual(await put(store, key, content(length)), { created: true });
    await assertFile(t, located(store, key).path, content(length));
  }
  const body = Readable.from([content(100_000), content(100_000, 1)]);
  t.false((await store.put('large', body, { signal: never() })).created);
  await assertFile(t, located(store, 'large').path, Buffer.concat([content(100_000), content(100_000, 1)]));
  t.deepEqual(await entriesBelow(store.root), ['a/', 'a/b/', 'a/b/c', 'empty', 'large']);
});

test('overwriting replaces the file: who has it open keeps what was there', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', 'old');
  const before = await stat(located(store, 'a').path);
  t.false((await put(store, 'a', 'newer')).created);
  t.is(await readFile(located(store, 'a').path, 'utf8'), 'newer');
  t.not((await stat(located(store, 'a').path)).ino, before.ino);
});

test('until an upload is complete there is nothing, or what was there', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'old', 'old');
  for (const key of ['old', 'new']) {
    const body = bodyOf([content(100_000)]);
    const upload = store.put(key, body, { signal: never() });
    await until(async () => (await bytesInUploads(store.root)) === 100_000);
    t.deepEqual(await entriesOutsideUploads(store.root), ['old']);
    t.is(await readFile(located(store, 'old').path, 'utf8'), 'old');
    body.destroy(new Error('gone'));
    await t.throwsAsync(upload, { message: 'gone' });
  }
});

const failure = new Error('the body has failed');
const whole = (): Readable => Readable.from([content(10)]);
const failing = [
  ['fails at once', () => bodyOf([], failure), undefined, { is: failure }],
  ['fails in the middle', () => bodyOf([content(100_000)], failure), undefined, { is: failure }],
  ['fails where it should end', () => bodyOf([content(10)], failure), 10, { is: failure }],
  ['is destroyed', () => bodyOf([content(10)]).destroy(), undefined, { code: 'ERR_STREAM_PREMATURE_CLOSE' }],
  ['is too short', whole, 11, refusal('ERR_HOTBLOB_INCOMPLETE', /announced 11 bytes and had 10/)],
  ['is too long', whole, 9, refusal('ERR_HOTBLOB_INCOMPLETE', /announced 9 bytes and had 10/)],
  [
    'is too long and does not end',
    () => bodyOf([content(10)]),
    9,
    refusal('ERR_HOTBLOB_INCOMPLETE', /announced 9 bytes and had 10/),
  ],
] as const;

for (const [what, bodyFor, size, error] of failing) {
  test(`a body that ${what} leaves nothing`, async (t) => {
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

test('an abort ends an upload whose body is silent', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const controller = new AbortController();
  const body = bodyOf([content(100_000)]);
  const upload = store.put('a/b', body, { signal: controller.signal });
  await until(async () => (await bytesInUploads(store.root)) === 100_000);
  const reason = new Error('the client has gone');
  controller.abort(reason);
  await t.throwsAsync(upload, { is: reason });
  t.true(body.destroyed);
  t.deepEqual(await entriesBelow(store.root), []);
});

test('an abort after the last byte, while it goes to the disk', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const controller = new AbortController();
  const reason = new Error('the client has gone');
  const body = Readable.from([content(100_000)]);
  body.once('end', () => setImmediate(() => controller.abort(reason)));
  await t.throwsAsync(store.put('a/b', body, { signal: controller.signal }), { is: reason });
  t.deepEqual(await entriesBelow(store.root), []);
});

test('an upload that is aborted before it starts does not start', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const reason = new Error('the client has gone');
  const body = bodyOf([content(10)]);
  await t.throwsAsync(store.put('a', body, { signal: AbortSignal.abort(reason) }), { is: reason });
  t.true(body.destroyed);
  t.deepEqual(await readdir(store.root), []);
});

test('an abort at any moment leaves a whole artifact or nothing', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const bytes = content(300_000);
  const outcomes = { stored: 0, refused: 0 };
  const attempt = async (turns: number): Promise<void> => {
    const controller = new AbortController();
    const chunks = [0, 1, 2].map((index) => bytes.subarray(index * 100_000, (index + 1) * 100_000));
    const upload = store.put('a/b/c', Readable.from(chunks), { signal: controller.signal, size: bytes.byteLength });
    const settled = upload.then(
      () => true,
      () => false,
    );
    for (let turn = 0; turn < turns; turn++) await new Promise((resolve) => setImmediate(resolve));
    controller.abort(new Error('the client has gone'));
    const stored = await settled;
    outcomes[stored ? 'stored' : 'refused']++;
    t.deepEqual(await entriesBelow(store.root), stored ? ['a/', 'a/b/', 'a/b/c'] : []);
    if (!stored) return;
    await assertFile(t, located(store, 'a/b/c').path, bytes);
    await store.delete('a/b/c');
  };
  // Until it comes too late: how many turns that takes depends on the disk.
  for (let turns = 0; outcomes.stored < 3; turns = Math.ceil(turns * 1.2) + 1) await attempt(turns);
  t.true(outcomes.refused > 3);
});

test('concurrent uploads of one key: one of them wins, whole', async (t) => {
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

test("uploads and deletions in one directory do not get into each other's way", async (t) => {
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

test('a key cannot be a directory and an artifact', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', 'x');
  await put(store, 'b/c', 'x');
  await mkdir(join(store.root, 'empty'));
  for (const key of ['a/b', 'a/b/c', 'b', 'empty']) {
    await t.throwsAsync(put(store, key, 'y'), refusal('ERR_HOTBLOB_INVALID_KEY', /in the way/), key);
  }
  t.deepEqual(await entriesBelow(store.root), ['a', 'b/', 'b/c', 'empty/']);
});

test('a part of a key that the file system finds too long', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  for (const key of ['x'.repeat(256), `a/${'x'.repeat(256)}`, `a/b/${'x'.repeat(256)}/c`]) {
    await t.throwsAsync(put(store, key, 'y'), refusal('ERR_HOTBLOB_KEY_TOO_LONG'));
  }
  t.deepEqual(await entriesBelow(store.root), []);
});

test('a directory that has been emptied by hand works on', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', 'x');
  await rm(store.root, { recursive: true });
  await put(store, 'a/b', 'x');
  t.is(await readFile(located(store, 'a/b').path, 'utf8'), 'x');
});

test('a closed store takes nothing, once what was under way is done', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const body = bodyOf([content(10)]);
  const upload = store.put('a', body, { signal: never() });
  const closing = store.close();
  await t.throwsAsync(put(store, 'b', 'x'), refusal('ERR_HOTBLOB_OVERLOADED', /closed/));
  body.push(null);
  await closing;
  t.deepEqual(await entriesBelow(store.root), ['a'], 'close waits for it');
  await upload;
});

test('a disk that is full', async (t) => {
  const result = await onFullDisk(t);
  if (result === undefined) {
    t.falsy(process.env.CI, 'where CI is set the test must run');
    t.log('skipped: needs root or user namespaces, to mount a small file system');
    return;
  }
  t.like(result, {
    refusedWith: { name: 'HotblobError', code: 'ERR_HOTBLOB_STORAGE_FULL', cause: 'ENOSPC' },
    entries: ['first'],
    firstIsWhole: true,
    nextIsStored: true,
  });
});

async function entriesOutsideUploads(root: string): Promise<string[]> {
  return (await entriesBelow(root)).filter((name) => !name.startsWith('.hotblob/'));
}

async function bytesInUploads(root: string): Promise<number> {
  const uploads = join(root, '.hotblob', 'uploads');
  const names = await readdir(uploads).catch(() => []);
  const stats = await Promise.all(names.map((name) => stat(join(uploads, name))));
  return stats.reduce((sum, { size }) => sum + size, 0);
}
