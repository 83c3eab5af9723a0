import { chmod, mkdir, open, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { until } from '../../helpers/poll.js';
import {
  assertFile,
  bodyOf,
  content,
  diskUsage,
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
/** Sizes in these tests are in blocks of the file system. */
const BLOCK = 4096;
/** Limit for 100 blocks of bodies, and for the inodes and directories of a test. */
const MAX_BYTES = 100 * BLOCK + 40_000;

test.serial('rejects an upload if the files in its way cannot be deleted', async (t) => {
  const dir = await temporaryDirectory(t);
  await mkdir(join(dir, 'kept'));
  await writeFile(join(dir, 'kept', 'a'), content(90 * BLOCK));
  await chmod(join(dir, 'kept'), 0o555);
  await giveToUnprivileged(dir);
  await unprivileged(async () => {
    const store = await directoryStore(dir, { maxBytes: MAX_BYTES });
    await t.throwsAsync(
      put(store, 'b', content(20 * BLOCK)),
      refusal('ERR_HOTBLOB_STORAGE_FULL', /files that this process may not delete 3[89]\d{4} in/),
    );
    await put(store, 'c', content(10 * BLOCK));
  });
  t.deepEqual(await entriesBelow(dir), ['c', 'kept/', 'kept/a']);
});

test('refused uploads with metadata do not change the statistics', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 10_000_000 });
  t.teardown(() => store.close());
  await put(store, 'a', content(50_000), { metadata: { contentType: 'text/plain' } });
  await until('the directory has been scanned', () => store.stats().artifacts === 1);
  const before = store.stats().bytes;
  for (let count = 0; count < 20; count++) {
    const upload = put(store, 'a', content(1000), { ifAbsent: true, metadata: { contentType: 'text/plain' } });
    await t.throwsAsync(upload, refusal('ERR_HOTBLOB_EXISTS'));
  }
  t.is(store.stats().bytes, before);
});

test('evicts the least recently used files, and no more than an upload needs', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: MAX_BYTES });
  for (const key of ['a', 'b', 'c', 'd']) await put(store, key, content(25 * BLOCK));
  t.deepEqual(await entriesBelow(store.root), ['a', 'b', 'c', 'd'], 'the limit itself is allowed');
  store.get('a');
  await put(store, 'e', content(25 * BLOCK));
  t.deepEqual(await entriesBelow(store.root), ['a', 'c', 'd', 'e']);
});

for (const order of ['abc', 'cba']) {
  test(`uses within one millisecond keep their order: ${order}`, async (t) => {
    const store = await directoryStore(await temporaryDirectory(t), { maxBytes: MAX_BYTES });
    for (const key of order) await put(store, key, content(30 * BLOCK));
    for (const key of order) store.get(key);
    await put(store, 'new', content(30 * BLOCK));
    const expected = [...order].slice(1).concat('new');
    t.deepEqual(await entriesBelow(store.root), expected.sort());
  });
}

test('an upload counts as the latest use, even if the file system clock lags behind', async (t) => {
  // The file system clock advances only every few milliseconds.
  for (let round = 0; round < 10; round++) {
    const store = await directoryStore(await temporaryDirectory(t), { maxBytes: MAX_BYTES });
    for (const key of ['a', 'b']) await put(store, key, content(30 * BLOCK));
    store.get('a');
    await put(store, 'c', content(30 * BLOCK));
    await put(store, 'd', content(50 * BLOCK));
    t.deepEqual(await entriesBelow(store.root), ['c', 'd']);
  }
});

test('after every upload the limit holds and the new artifact is stored', async (t) => {
  const puts = fc.array(
    fc.tuple(fc.constantFrom('a', 'b', 'c/d', 'c/e', 'f/g/h'), fc.integer({ min: 0, max: 250_000 })),
    {
      minLength: 1,
      maxLength: 12,
    },
  );
  const parent = await temporaryDirectory(t);
  let run = 0;
  await fc.assert(
    fc.asyncProperty(puts, async (list) => {
      const store = await directoryStore(join(parent, String(run++)), { maxBytes: 300_000 });
      for (const [key, length] of list) {
        await put(store, key, content(length));
        t.true((await diskUsage(store.root)) <= 300_000);
        await assertFile(t, located(store, key).path, content(length));
      }
      await store.close();
    }),
    { numRuns: 20 },
  );
});

test('the directories of the store itself count', async (t) => {
  const store = await directoryStore(join(await temporaryDirectory(t), 'store'), { maxBytes: 300_000 });
  // The first upload creates directories after the scan.
  await until('the directory has been scanned', () => store.stats().artifacts === 0);
  for (const key of ['a', 'b']) await put(store, key, content(35 * BLOCK));
  const bytes = await diskUsage(store.root);
  t.true(bytes <= 300_000, `${bytes} bytes are in use`);
  await store.close();
});

test('the limit holds with concurrent uploads, and no more files than needed are evicted', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: MAX_BYTES });
  const keys = [...'abcdefghijklmnopqrst'];
  await Promise.all(keys.map((key) => put(store, key, content(10 * BLOCK))));
  const bytes = await diskUsage(store.root);
  t.true(bytes <= MAX_BYTES && bytes >= 80 * BLOCK, `${bytes} bytes`);
});

test('an open file that is evicted can be read to its end', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: MAX_BYTES });
  await put(store, 'a', content(90 * BLOCK));
  const handle = await open(located(store, 'a').path);
  await put(store, 'b', content(90 * BLOCK));
  t.deepEqual(await entriesBelow(store.root), ['b']);
  t.deepEqual(await handle.readFile(), content(90 * BLOCK));
  await handle.close();
});

test('after a restart, file times give the order of eviction', async (t) => {
  const dir = await temporaryDirectory(t);
  const hoursAgo = { read: [1, 9], written: [8, 2], neither: [5, 5], long: [20, 20] } as const;
  for (const [key, [read, written]] of Object.entries(hoursAgo)) {
    await writeFile(join(dir, key), content(25 * BLOCK));
    await utimes(join(dir, key), new Date(Date.now() - read * HOUR_MS), new Date(Date.now() - written * HOUR_MS));
  }
  const store = await directoryStore(dir, { maxBytes: MAX_BYTES });
  await put(store, 'new', content(50 * BLOCK));
  t.deepEqual(await entriesBelow(dir), ['new', 'read', 'written']);
});

test('a file time in the future counts as the time of the scan', async (t) => {
  const dir = await temporaryDirectory(t);
  for (const [key, hours] of [
    ['future', 5],
    ['past', -5],
  ] as const) {
    const time = new Date(Date.now() + hours * HOUR_MS);
    await writeFile(join(dir, key), content(45 * BLOCK));
    await utimes(join(dir, key), time, time);
  }
  const store = await directoryStore(dir, { maxBytes: MAX_BYTES });
  await put(store, 'new', content(15 * BLOCK));
  t.deepEqual(await entriesBelow(dir), ['future', 'new']);
  await put(store, 'newer', content(80 * BLOCK));
  t.deepEqual(await entriesBelow(dir), ['new', 'newer'], 'it is not protected for ever');
});

test('lookups evict nothing, even above the limit', async (t) => {
  const dir = await temporaryDirectory(t);
  await writeFile(join(dir, 'a'), content(200 * BLOCK));
  const store = await directoryStore(dir, { maxBytes: MAX_BYTES });
  store.get('a');
  await until('the first scan', () => store.stats().artifacts === 1);
  t.deepEqual(await entriesBelow(dir), ['a']);
  await store.close();
});

test('an upload that is refused for its size evicts nothing', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: MAX_BYTES });
  await put(store, 'a', content(90 * BLOCK));
  const large = { signal: never(), size: MAX_BYTES };
  const silent = bodyOf([]);
  await t.throwsAsync(store.put('b', silent, large), refusal('ERR_HOTBLOB_TOO_LARGE'));
  t.deepEqual(await entriesBelow(store.root), ['a']);
  const chunks = [content(60 * BLOCK), content(60 * BLOCK)];
  await t.throwsAsync(store.put('b', bodyOf(chunks), { signal: never() }), refusal('ERR_HOTBLOB_TOO_LARGE'));
  await put(store, 'b', content(100 * BLOCK));
  t.deepEqual(await entriesBelow(store.root), ['b'], 'an upload of the size of the limit fits');
  const tiny = await directoryStore(await temporaryDirectory(t), { maxBytes: 4096 });
  await t.throwsAsync(put(tiny, 'a', ''), refusal('ERR_HOTBLOB_TOO_LARGE', /maxBytes/));
});

test('tiny and empty artifacts, metadata, directories and uploads in flight count with their space on the disk', async (t) => {
  const maxBytes = 2 ** 20;
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes });
  const metadata = { headers: { 'x-artifact-description': 'x'.repeat(4000) } };
  const controller = new AbortController();
  const slow = store.put('slow', bodyOf([content(5 * BLOCK)]), { signal: controller.signal });
  const slowOutcome = t.throwsAsync(slow, { any: true, name: 'AbortError' });
  const uploads: ((name: number) => Promise<unknown>)[] = [
    (name) => put(store, `tiny-${name}`, content(100)),
    (name) => put(store, `described-${name}`, '', { metadata }),
    (name) => put(store, `a/${name}/b/c/d`, content(1)),
    // Replaces and deletes artifacts with metadata as well.
    (name) => put(store, `replaced-${name % 3}`, content(1), { metadata }),
    (name) => store.delete(`described-${name - 10}`),
  ];
  for (const upload of uploads) {
    for (let first = 0; first < 80; first += 20) {
      await Promise.all(Array.from({ length: 20 }, (_, index) => upload(first + index)));
      const bytes = await diskUsage(store.root);
      t.true(bytes <= maxBytes, `${bytes} bytes are in use`);
    }
  }
  t.true((store.stats().artifacts ?? 0) > 5);
  controller.abort();
  await slowOutcome;
  await store.close();
});

test('deletions and uploads of other processes count', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir, { maxBytes: MAX_BYTES });
  const other = await directoryStore(dir, { maxBytes: MAX_BYTES });
  await put(store, 'a', content(80 * BLOCK));
  await put(store, 'b', content(10 * BLOCK));
  await rm(join(dir, 'a'));
  await put(store, 'c', content(85 * BLOCK));
  t.deepEqual(await entriesBelow(dir), ['b', 'c'], 'nothing is evicted');
  // The file system clock lags behind Date.now() by some milliseconds: repeat until "d" is newer than the use of "c".
  const used = Date.now();
  await until('"d" is the newest file', async () => {
    // So small that there is space for it twice: a scan may also count the temporary file of this upload.
    await put(other, 'd', content(15 * BLOCK));
    return (await stat(join(dir, 'd'))).mtimeMs > used + 1;
  });
  await put(store, 'e', content(60 * BLOCK));
  t.deepEqual(await entriesBelow(dir), ['d', 'e']);
});

test('an upload evicts without a scan, and a scan in the background finds the files of other programs', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir, { maxBytes: MAX_BYTES });
  await put(store, 'a', content(30 * BLOCK));
  await put(store, 'b', content(30 * BLOCK));
  const old = new Date(Date.now() - HOUR_MS);
  await writeFile(join(dir, 'old'), content(30 * BLOCK));
  await utimes(join(dir, 'old'), old, old);
  await put(store, 'c', content(60 * BLOCK));
  t.deepEqual(await entriesBelow(dir), ['b', 'c', 'old'], 'a scan would have found the oldest file');
  await until('the limit holds', async () => (await diskUsage(dir)) <= MAX_BYTES);
  t.deepEqual(await entriesBelow(dir), ['b', 'c']);
  await store.close();
});

test('an upload to a directory above its limit evicts only what it needs, and the rest is evicted later', async (t) => {
  const dir = await temporaryDirectory(t);
  for (let index = 0; index < 300; index++) await writeFile(join(dir, String(index)), content(BLOCK));
  const store = await directoryStore(dir, { maxBytes: MAX_BYTES });
  await put(store, 'new', content(10 * BLOCK));
  t.true((await entriesBelow(dir)).length > 200);
  await until('the limit holds', async () => (await diskUsage(dir)) <= MAX_BYTES);
  const left = await entriesBelow(dir);
  t.true(left.includes('new') && left.length > 50, `${left.length} files are left`);
  await store.close();
});

test('overwriting one artifact repeatedly evicts nothing and starts no scan', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: MAX_BYTES });
  await put(store, 'a', content(10 * BLOCK));
  await put(store, 'b', content(40 * BLOCK));
  // A scan would count this file and evict others.
  await writeFile(join(store.root, 'c'), content(90 * BLOCK));
  for (let round = 0; round < 20; round++) await put(store, 'b', content(40 * BLOCK + round));
  t.deepEqual(await entriesBelow(store.root), ['a', 'b', 'c']);
});

test('removes directories that become empty, but no symbolic links and none of their targets', async (t) => {
  const parent = await temporaryDirectory(t);
  await writeFile(join(parent, 'outside'), content(500 * BLOCK));
  const store = await directoryStore(join(parent, 'store'), { maxBytes: MAX_BYTES });
  await symlink('../outside', join(store.root, 'link'));
  await symlink('..', join(store.root, 'up'));
  await put(store, 'a/b/c', content(60 * BLOCK));
  await put(store, 'd/e', content(60 * BLOCK));
  t.deepEqual(await entriesBelow(store.root), ['d/', 'd/e', 'link', 'up']);
  t.is((await stat(join(parent, 'outside'))).size, 500 * BLOCK);
});

test('evicts the oldest files of a directory with many files', async (t) => {
  const dir = await temporaryDirectory(t);
  for (let index = 0; index < 600; index++) {
    const path = join(dir, `d${index % 7}`);
    if (index < 7) await mkdir(path);
    await writeFile(join(path, String(index)), content(BLOCK));
    const time = new Date(Date.now() - (1000 - index) * 1000);
    await utimes(join(path, String(index)), time, time);
  }
  const store = await directoryStore(dir, { maxBytes: 595 * 5120 });
  await put(store, 'new', content(BLOCK));
  const left = (await entriesBelow(dir)).filter((name) => !name.endsWith('/')).map((name) => name.split('/').at(-1));
  t.true(left.length > 550 && left.length < 600, `${left.length} files are left`);
  const expected = Array.from({ length: left.length - 1 }, (_, index) => String(601 - left.length + index));
  t.deepEqual(left.sort(), [...expected, 'new'].sort());
});

test('close() waits for an upload that evicts', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: MAX_BYTES });
  await put(store, 'a', content(90 * BLOCK));
  const upload = put(store, 'b', content(90 * BLOCK));
  await store.close();
  t.deepEqual(await entriesBelow(store.root), ['b']);
  await upload;
});

test('parallel uploads and deletions during scans leave the usage exact', async (t) => {
  const root = await temporaryDirectory(t);
  const store = await directoryStore(root, { maxBytes: 512 * BLOCK });
  const random = fc.sample(fc.integer({ min: 0, max: 400 }), { numRuns: 600, seed: 1 });
  const work = async (part: readonly number[]): Promise<void> => {
    for (const number of part) {
      if (number % 7 === 0) await store.delete(`key-${number - 1}`);
      else await put(store, `key-${number}`, content((1 + (number % 20)) * BLOCK));
    }
  };
  await Promise.all([0, 1, 2, 3].map((part) => work(random.slice(part * 150, part * 150 + 150))));
  await store.close();
  const { artifacts, bytes } = store.stats();
  const rescanned = await directoryStore(root, { maxBytes: 512 * BLOCK });
  await until('the scan has ended', () => rescanned.stats().bytes !== undefined);
  t.like(rescanned.stats(), { artifacts, bytes });
  await rescanned.close();
});
