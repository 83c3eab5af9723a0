import { chmod, mkdir, open, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { type DirectoryStore, directoryStore } from '../../../src/stores/directory/store.js';
import { until } from '../../helpers/poll.js';
import {
  assertFile,
  bodyOf,
  content,
  entriesBelow,
  giveToUnprivileged,
  located,
  never,
  put,
  refusal,
  temporaryDirectory,
  unprivileged,
} from '../fixture.js';

const HOUR_MS = 60 * 60 * 1000;

test.serial('rejects an upload if the files in its way cannot be deleted', async (t) => {
  const dir = await temporaryDirectory(t);
  await mkdir(join(dir, 'kept'));
  await writeFile(join(dir, 'kept', 'a'), content(900));
  await chmod(join(dir, 'kept'), 0o555);
  await giveToUnprivileged(dir);
  await unprivileged(async () => {
    const store = await directoryStore(dir, { maxBytes: 1000 });
    await t.throwsAsync(put(store, 'b', content(200)), refusal('ERR_HOTBLOB_STORAGE_FULL', /900 of 1000 bytes/));
    await put(store, 'c', content(100));
  });
  t.deepEqual(await entriesBelow(dir), ['c', 'kept/', 'kept/a']);
});

test('evicts the least recently used files until a tenth of the limit is free', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 1000 });
  for (const key of ['a', 'b', 'c', 'd']) await put(store, key, content(250));
  t.deepEqual(await entriesBelow(store.root), ['a', 'b', 'c', 'd'], 'the limit itself is allowed');
  store.get('a');
  await put(store, 'e', content(250));
  t.deepEqual(await entriesBelow(store.root), ['a', 'd', 'e']);
});

for (const order of ['abc', 'cba']) {
  test(`uses within one millisecond keep their order: ${order}`, async (t) => {
    const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 1000 });
    for (const key of order) await put(store, key, content(300));
    for (const key of order) store.get(key);
    await put(store, 'new', content(300));
    const expected = [...order].slice(1).concat('new');
    t.deepEqual(await entriesBelow(store.root), expected.sort());
  });
}

test('an upload counts as the latest use, even if the file system clock lags behind', async (t) => {
  // The file system clock advances only every few milliseconds.
  for (let round = 0; round < 10; round++) {
    const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 1000 });
    for (const key of ['a', 'b']) await put(store, key, content(300));
    store.get('a');
    await put(store, 'c', content(300));
    await put(store, 'd', content(500));
    t.deepEqual(await entriesBelow(store.root), ['c', 'd']);
  }
});

test('after every upload the limit holds and the new artifact is stored', async (t) => {
  const puts = fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c/d', 'c/e', 'f/g/h'), fc.integer({ min: 0, max: 1000 })), {
    minLength: 1,
    maxLength: 12,
  });
  const parent = await temporaryDirectory(t);
  let run = 0;
  await fc.assert(
    fc.asyncProperty(puts, async (list) => {
      const store = await directoryStore(join(parent, String(run++)), { maxBytes: 1000 });
      for (const [key, length] of list) {
        await put(store, key, content(length));
        t.true((await bytesIn(store)) <= 1000);
        await assertFile(t, located(store, key).path, content(length));
      }
      await store.close();
    }),
    { numRuns: 30 },
  );
});

test('the limit holds with concurrent uploads, and no more files than needed are evicted', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 1000 });
  const keys = [...'abcdefghijklmnopqrst'];
  await Promise.all(keys.map((key) => put(store, key, content(100))));
  const bytes = await bytesIn(store);
  t.true(bytes <= 1000 && bytes >= 900, `${bytes} bytes`);
});

test('an open file that is evicted can be read to its end', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 1000 });
  await put(store, 'a', content(900));
  const handle = await open(located(store, 'a').path);
  await put(store, 'b', content(900));
  t.deepEqual(await entriesBelow(store.root), ['b']);
  t.deepEqual(await handle.readFile(), content(900));
  await handle.close();
});

test('after a restart, file times give the order of eviction', async (t) => {
  const dir = await temporaryDirectory(t);
  const hoursAgo = { read: [1, 9], written: [8, 2], neither: [5, 5], long: [20, 20] } as const;
  for (const [key, [read, written]] of Object.entries(hoursAgo)) {
    await writeFile(join(dir, key), content(250));
    await utimes(join(dir, key), new Date(Date.now() - read * HOUR_MS), new Date(Date.now() - written * HOUR_MS));
  }
  const store = await directoryStore(dir, { maxBytes: 1000 });
  await put(store, 'new', content(250));
  t.deepEqual(await entriesBelow(dir), ['new', 'read', 'written']);
});

test('a file time in the future does not protect a file from eviction', async (t) => {
  const dir = await temporaryDirectory(t);
  for (const [key, hours] of [
    ['future', 5],
    ['past', -5],
  ] as const) {
    const time = new Date(Date.now() + hours * HOUR_MS);
    await writeFile(join(dir, key), content(450));
    await utimes(join(dir, key), time, time);
  }
  const store = await directoryStore(dir, { maxBytes: 1000 });
  await put(store, 'new', content(150));
  t.deepEqual(await entriesBelow(dir), ['new', 'past']);
});

test('lookups evict nothing, even above the limit', async (t) => {
  const dir = await temporaryDirectory(t);
  await writeFile(join(dir, 'a'), content(2000));
  const store = await directoryStore(dir, { maxBytes: 1000 });
  store.get('a');
  await until('the first scan', () => store.stats().artifacts === 1);
  t.deepEqual(await entriesBelow(dir), ['a']);
  await store.close();
});

test('a failed upload evicts nothing', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 1000 });
  await put(store, 'a', content(900));
  await t.throwsAsync(put(store, 'b', content(900), { size: 901 }), refusal('ERR_HOTBLOB_INCOMPLETE'));
  const large = { signal: never(), size: 1001 };
  const silent = bodyOf([]);
  await t.throwsAsync(store.put('b', silent, large), refusal('ERR_HOTBLOB_TOO_LARGE', /1000 bytes/));
  const chunks = [content(600), content(600)];
  await t.throwsAsync(store.put('b', bodyOf(chunks), { signal: never() }), refusal('ERR_HOTBLOB_TOO_LARGE'));
  t.deepEqual(await entriesBelow(store.root), ['a']);
  await put(store, 'b', content(1000));
  t.deepEqual(await entriesBelow(store.root), ['b'], 'an upload of the size of the limit fits');
});

test('with a limit of 0 bytes, empty artifacts can be stored', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 0 });
  await t.throwsAsync(put(store, 'a', 'x'), refusal('ERR_HOTBLOB_TOO_LARGE'));
  await put(store, 'a', '');
  t.deepEqual(await entriesBelow(store.root), ['a']);
});

test('deletions and uploads of other processes count', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir, { maxBytes: 1000 });
  const other = await directoryStore(dir, { maxBytes: 1000 });
  await put(store, 'a', content(100));
  await put(store, 'b', content(800));
  await rm(join(dir, 'b'));
  await put(store, 'c', content(850));
  t.deepEqual(await entriesBelow(dir), ['a', 'c'], 'nothing is evicted');
  // The file system clock lags behind Date.now() by some milliseconds: repeat until "d" is newer than the use of "c".
  const used = Date.now();
  await until('"d" is the newest file', async () => {
    await put(other, 'd', content(300));
    return (await stat(join(dir, 'd'))).mtimeMs > used + 1;
  });
  await put(store, 'e', content(450));
  t.deepEqual(await entriesBelow(dir), ['d', 'e']);
});

test('overwriting one artifact repeatedly evicts nothing and starts no scan', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 1000 });
  await put(store, 'a', content(100));
  await put(store, 'b', content(400));
  // A scan would count this file and evict others.
  await writeFile(join(store.root, 'c'), content(900));
  for (let round = 0; round < 20; round++) await put(store, 'b', content(400 + round));
  t.deepEqual(await entriesBelow(store.root), ['a', 'b', 'c']);
});

test('removes directories that become empty, but no symbolic links and none of their targets', async (t) => {
  const parent = await temporaryDirectory(t);
  await writeFile(join(parent, 'outside'), content(5000));
  const store = await directoryStore(join(parent, 'store'), { maxBytes: 1000 });
  await symlink('../outside', join(store.root, 'link'));
  await symlink('..', join(store.root, 'up'));
  await put(store, 'a/b/c', content(600));
  await put(store, 'd/e', content(600));
  t.deepEqual(await entriesBelow(store.root), ['d/', 'd/e', 'link', 'up']);
  t.is((await stat(join(parent, 'outside'))).size, 5000);
});

test('evicts the oldest files of a directory with many files', async (t) => {
  const dir = await temporaryDirectory(t);
  for (let index = 0; index < 600; index++) {
    const path = join(dir, `d${index % 7}`);
    if (index < 7) await mkdir(path);
    await writeFile(join(path, String(index)), content(10));
    const time = new Date(Date.now() - (1000 - index) * 1000);
    await utimes(join(path, String(index)), time, time);
  }
  const store = await directoryStore(dir, { maxBytes: 6000 });
  await put(store, 'new', content(10));
  const left = (await entriesBelow(dir)).filter((name) => !name.endsWith('/')).map((name) => name.split('/').at(-1));
  const expected = Array.from({ length: 539 }, (_, index) => String(index + 61));
  t.deepEqual(left.sort(), [...expected, 'new'].sort());
});

test('close() waits for an upload that evicts', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 1000 });
  await put(store, 'a', content(900));
  const upload = put(store, 'b', content(900));
  await store.close();
  t.deepEqual(await entriesBelow(store.root), ['b']);
  await upload;
});

async function bytesIn(store: DirectoryStore): Promise<number> {
  const names = (await entriesBelow(store.root)).filter((name) => !name.endsWith('/'));
  const stats = await Promise.all(names.map((name) => stat(join(store.root, name))));
  return stats.reduce((sum, { size }) => sum + size, 0);
}
