import { readdir, rename, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { ReadWriteStore, Store } from '../../src/contract/store.js';
import { pathLocks } from '../../src/stores/directory/path-locks.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { segmentStore } from '../../src/stores/segments/store.js';
import { until } from '../helpers/poll.js';
import { content, diskUsage, entriesBelow, put, refusal, temporaryDirectory } from './fixture.js';
import { assertBody } from './segments/fixture.js';

const DAY_MS = 24 * 60 * 60 * 1000;

type PurgeableStore = ReadWriteStore & Required<Pick<Store, 'purge' | 'list'>>;
type Open = (t: ExecutionContext) => Promise<PurgeableStore>;

const KINDS: readonly (readonly [string, Open])[] = [
  ['memory', async () => memoryStore()],
  ['directory', async (t) => directoryStore(await temporaryDirectory(t))],
  ['directory with a limit', async (t) => directoryStore(await temporaryDirectory(t), { maxBytes: 2 ** 30 })],
  ['segments', async (t) => segmentStore(await temporaryDirectory(t), { durability: 'none' })],
];

async function fill(store: ReadWriteStore, count: number): Promise<void> {
  for (let start = 0; start < count; start += 100) {
    const keys = Array.from({ length: Math.min(100, count - start) }, (_, index) => start + index);
    await Promise.all(keys.map((key) => put(store, `nx/${key}`, content(100))));
  }
}

async function keysOf(store: Store): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list?.() ?? []) keys.push(key);
  return keys.sort();
}

for (const [kind, open] of KINDS) {
  test(`${kind}: only one purge runs at a time, and an abort stops it`, async (t) => {
    const store = await open(t);
    await fill(store, 300);
    const controller = new AbortController();
    const reason = new Error('enough');
    const first = store.purge({}, { signal: controller.signal });
    await t.throwsAsync(store.purge({}), refusal('ERR_HOTBLOB_PURGING', /another purge of this store is running/));
    await t.throwsAsync(store.purge({}, { dryRun: true }), refusal('ERR_HOTBLOB_PURGING'));
    controller.abort(reason);
    t.is(await t.throwsAsync(first), reason);
    const left = await keysOf(store);
    t.true(left.length > 0);
    t.deepEqual(await store.purge({}), { artifacts: left.length, bytes: left.length * 100 });
    t.deepEqual(await keysOf(store), []);
    await store.close();
  });

  test(`${kind}: a purge of a store that is closed meanwhile rejects`, async (t) => {
    const store = await open(t);
    await fill(store, 300);
    const purge = t.throwsAsync(store.purge({}), refusal('ERR_HOTBLOB_CLOSED'));
    const closing = store.close();
    await purge;
    await closing;
    await t.throwsAsync(store.purge({}), refusal('ERR_HOTBLOB_CLOSED'));
  });

  test(`${kind}: an error of onProgress stops a purge`, async (t) => {
    const store = await open(t);
    await fill(store, 10);
    const error = new Error('no more');
    const onProgress = (): never => {
      throw error;
    };
    t.is(await t.throwsAsync(store.purge({ scope: 'absent' }, { onProgress })), error);
    t.deepEqual(await store.purge({}), { artifacts: 10, bytes: 1000 });
    await store.close();
  });
}

test('directory: deletes what was used before a time', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir, { maxBytes: 2 ** 30 });
  await put(store, 'nx/new', content(5000));
  const old = (Date.now() - 30 * DAY_MS) / 1000;
  for (const name of ['nx/unused', 'nx/used']) {
    await writeFile(join(dir, name), content(5000));
    await utimes(join(dir, name), old, old);
  }
  await store.get('nx/used');
  const usedBefore = new Date(Date.now() - 7 * DAY_MS);
  t.deepEqual(await store.purge({ usedBefore }), { artifacts: 1, bytes: 5000 });
  t.deepEqual(await keysOf(store), ['nx/new', 'nx/used']);
  await store.close();
  // The last uses survive a restart.
  const again = await directoryStore(dir);
  t.deepEqual(await again.purge({ usedBefore }), { artifacts: 0, bytes: 0 });
  await again.close();
});

test('directory: deletes metadata and empty directories, and counts the space as free', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir, { maxBytes: 2 ** 30 });
  const metadata = { subject: 'ci' };
  await until('the directory has been scanned', () => store.stats().artifacts === 0);
  await put(store, 'nx', content(1), { metadata });
  await store.delete('nx');
  const before = { ...store.stats(), entries: await entriesBelow(dir) };
  for (let index = 0; index < 20; index++) await put(store, `nx/${index}/a`, content(5000), { metadata });
  t.deepEqual(await store.purge({}), { artifacts: 20, bytes: 100_000 });
  t.deepEqual({ ...store.stats(), entries: await entriesBelow(dir) }, before);
  await store.close();
});

test('directory: keeps a file that was replaced or used since the purge looked at it', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir);
  const old = (Date.now() - 30 * DAY_MS) / 1000;
  for (const name of ['replaced', 'used', 'unused']) {
    await put(store, name, content(100));
    await utimes(join(dir, name), old, old);
  }
  let release = (): void => {};
  const changed = new Promise<void>((resolve) => {
    release = resolve;
  });
  const [replaced, used] = [join(store.root, 'replaced'), join(store.root, 'used')];
  for (const path of [replaced, used]) void pathLocks.run(path, () => changed);
  const purge = store.purge({ usedBefore: new Date(Date.now() - DAY_MS) });
  await until('one file is deleted', async () => !(await keysOf(store)).includes('unused'));
  await writeFile(join(dir, '.hotblob', 'new'), content(50));
  await utimes(join(dir, '.hotblob', 'new'), old, old);
  await rename(join(dir, '.hotblob', 'new'), replaced);
  await utimes(used, Date.now() / 1000, old);
  release();
  t.deepEqual(await purge, { artifacts: 1, bytes: 100 });
  t.deepEqual(await keysOf(store), ['replaced', 'used']);
  await store.close();
});

test('segments: the space of purged artifacts is free, and the others are intact', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir, { segmentBytes: 2 ** 20 });
  const kept = content(200_000, 1);
  for (let index = 0; index < 20; index++) {
    await put(store, `.scopes/pr%2f1/nx/${index}`, content(200_000, index));
    if (index % 5 === 0) await put(store, `nx/${index}`, kept);
  }
  const before = await diskUsage(dir);
  t.deepEqual(await store.purge({ scope: 'pr/*' }), { artifacts: 20, bytes: 4_000_000 });
  for (const index of [0, 5, 10, 15]) await assertBody(t, store, `nx/${index}`, kept);
  t.true((await diskUsage(dir)) < before - 3_000_000);
  t.deepEqual(await store.purge({}), { artifacts: 4, bytes: 800_000 });
  t.deepEqual(await readdir(join(dir, 'segments')), []);
  await put(store, 'later', kept);
  await store.close();
  const again = await segmentStore(dir);
  await assertBody(t, again, 'later', kept);
  t.deepEqual(await keysOf(again), ['later']);
  await again.close();
});

test('segments: a purge deletes artifacts that compaction moves meanwhile, and keeps replaced ones', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { segmentBytes: 2 ** 20 });
  for (let index = 0; index < 60; index++) await put(store, `nx/${index}`, content(50_000, index));
  // Each upload again leaves dead bytes, so that compaction runs.
  const uploads = (async () => {
    for (let index = 0; index < 60; index++) await put(store, `gradle/${index % 3}`, content(300_000, index));
  })();
  const { artifacts } = await store.purge({ protocol: 'nx' });
  t.is(artifacts, 60);
  await uploads;
  t.deepEqual(await keysOf(store), ['gradle/0', 'gradle/1', 'gradle/2']);
  for (const index of [0, 1, 2]) await assertBody(t, store, `gradle/${index}`, content(300_000, 57 + index));
  await store.close();
});

test('segments: keeps what was read after a time', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir);
  for (const key of ['nx/read', 'nx/unread']) await put(store, key, content(100));
  const uploadedAt = Date.now();
  await until('the clock has advanced', () => Date.now() > uploadedAt + 1);
  const usedBefore = new Date(uploadedAt + 1);
  await store.get('nx/read');
  t.deepEqual(await store.purge({ usedBefore }), { artifacts: 1, bytes: 100 });
  t.deepEqual(await keysOf(store), ['nx/read']);
  await store.close();
});

test('a read-only store has no purge', async (t) => {
  const dirs = [await temporaryDirectory(t), await temporaryDirectory(t)] as const;
  await (await segmentStore(dirs[0])).close();
  for (const store of [
    await segmentStore(dirs[0], { readOnly: true }),
    await directoryStore(dirs[1], { readOnly: true }),
  ]) {
    t.is((store as Store).purge, undefined);
    await store.close();
  }
});
