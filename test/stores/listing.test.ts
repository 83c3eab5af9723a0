import { chmod, mkdir, realpath, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import test from 'ava';
import { openStore } from '../../src/cli/serve/open-store.js';
import type { Store, StoreEntry } from '../../src/contract/store.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { segmentStore } from '../../src/stores/segments/store.js';
import { tieredStore } from '../../src/stores/tiered/store.js';
import {
  content,
  entriesBelow,
  giveToUnprivileged,
  never,
  put,
  refusal,
  temporaryDirectory,
  unprivileged,
} from './fixture.js';
import { bytesOf } from './segments/fixture.js';

const HOUR_MS = 60 * 60 * 1000;

async function listed(store: Store): Promise<StoreEntry[]> {
  if (store.list === undefined) throw new Error('the store has no list()');
  const entries: StoreEntry[] = [];
  for await (const entry of store.list()) entries.push(entry);
  return entries.sort((a, b) => (a.key < b.key ? -1 : 1));
}

const keysOf = async (store: Store): Promise<string[]> => (await listed(store)).map(({ key }) => key);

test.serial('directory: leaves out directories without read permission', async (t) => {
  const dir = await temporaryDirectory(t);
  await writeFile(join(dir, 'a'), 'a');
  await mkdir(join(dir, 'secret'));
  await writeFile(join(dir, 'secret', 'b'), 'b');
  await giveToUnprivileged(dir);
  await chmod(join(dir, 'secret'), 0);
  await unprivileged(async () => t.deepEqual(await keysOf(await directoryStore(dir)), ['a']));
  await chmod(join(dir, 'secret'), 0o700);
});

test('directory: lists every file whose path is a valid key, but not the files of the store itself', async (t) => {
  const dir = join(await temporaryDirectory(t), 'new');
  const store = await directoryStore(dir);
  await put(store, 'ac/01', content(1000), { metadata: { contentType: 'text/plain' } });
  await put(store, 'ac/02', content(0));
  await mkdir(join(dir, 'deep', 'deeper'), { recursive: true });
  await writeFile(join(dir, 'deep', 'deeper', 'x y'), content(300));
  await mkdir(join(dir, 'empty'));
  await writeFile(join(dir, 'back\\slash'), 'no key');
  await writeFile(join(dir, 'new\nline'), 'no key');
  await symlink('ac/01', join(dir, 'link'));
  await symlink('ac', join(dir, 'folder'));
  t.true((await entriesBelow(dir)).some((name) => name.startsWith('.hotblob/metadata/')));
  const root = await realpath(dir);
  const artifact = (key: string) => ({ kind: 'file', path: join(root, key), root, immutable: true });
  t.deepEqual(
    (await listed(store)).map(({ usedAt: _, ...entry }) => entry),
    [
      { key: 'ac/01', size: 1000, artifact: artifact('ac/01') },
      { key: 'ac/02', size: 0, artifact: artifact('ac/02') },
      { key: 'deep/deeper/x y', size: 300, artifact: artifact('deep/deeper/x y') },
    ] as never,
  );
});

test('directory: usedAt is the latest of modification, access and lookup', async (t) => {
  const dir = await temporaryDirectory(t);
  const now = Date.now();
  const times = { read: [now - HOUR_MS, now - 2 * HOUR_MS], written: [now - 4 * HOUR_MS, now - 3 * HOUR_MS] } as const;
  for (const [name, [accessed, modified]] of Object.entries(times)) {
    await writeFile(join(dir, name), name);
    await utimes(join(dir, name), accessed / 1000, modified / 1000);
  }
  await writeFile(join(dir, 'future'), 'future');
  await utimes(join(dir, 'future'), now / 1000 + 3600, now / 1000 + 3600);
  const usesOf = async (store: Store) => {
    const { future = 0, ...uses } = Object.fromEntries(
      (await listed(store)).map(({ key, usedAt }) => [key, Math.round(usedAt)]),
    );
    t.true(future >= now && future <= Date.now(), 'a time in the future counts as that of the listing');
    return uses;
  };
  const uses = { read: now - HOUR_MS, written: now - 3 * HOUR_MS };
  for (const maxBytes of [undefined, 1e6]) {
    const store = await directoryStore(dir, { maxBytes });
    t.deepEqual(await usesOf(store), uses);
    const before = Date.now();
    store.get('written');
    const { written = 0, ...rest } = await usesOf(store);
    t.true(written >= before && written <= Date.now() + 1);
    t.deepEqual(rest, { read: uses.read });
    // Without a log, a store that is opened later knows only the times of the files.
    await store.close();
    await rm(join(dir, '.hotblob', 'last-uses'));
  }
});

test('directory: closing the store ends a list in flight', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  for (const key of ['a', 'b']) await put(store, key, 'x');
  await t.throwsAsync(async () => {
    for await (const _ of store.list()) await store.close();
  }, refusal('ERR_HOTBLOB_CLOSED'));
});

test('memory: lists each artifact with its upload time; listing is not a use and ends while artifacts are read', async (t) => {
  const overhead = 1024 + 2;
  const store = memoryStore({ maxBytes: 3 * (100 + overhead) });
  const before = Date.now();
  for (const key of ['a', 'b', 'c']) await put(store, key, content(100));
  const entries = await listed(store);
  t.deepEqual(
    entries.map(({ key, size }) => [key, size]),
    [
      ['a', 100],
      ['b', 100],
      ['c', 100],
    ],
  );
  for (const { key, artifact, usedAt } of entries) {
    t.true(usedAt >= before && usedAt <= Date.now());
    t.is<unknown, unknown>(artifact, store.get(key));
  }
  store.get('a');
  let count = 0;
  for await (const { key } of store.list()) {
    t.true(++count <= 3, 'the list does not end');
    store.get(key);
  }
  t.is(count, 3);
  store.get('a');
  await listed(store);
  await put(store, 'd', content(100));
  t.deepEqual(await keysOf(store), ['a', 'c', 'd'], 'a was read last; b is older than c');
  await store.close();
  await t.throwsAsync(listed(store), refusal('ERR_HOTBLOB_CLOSED'));
});

for (const readOnly of [false, true]) {
  test(`segments: ${readOnly ? 'a read-only store' : 'the writer'} lists the index, with small bodies as bytes`, async (t) => {
    const dir = await temporaryDirectory(t);
    const writer = await segmentStore(dir);
    const before = Date.now();
    await put(writer, 'small', content(100), { metadata: { contentType: 'text/plain' } });
    await put(writer, 'large', content(100_000));
    await put(writer, 'deleted', content(5000));
    await put(writer, 'overwritten', content(5000));
    await put(writer, 'overwritten', content(7000, 1));
    await writer.delete('deleted');
    const after = Date.now();
    const store = readOnly ? await segmentStore(dir, { readOnly: true }) : writer;
    const entries = await listed(store);
    t.deepEqual(
      entries.map(({ key, size, artifact }) => [key, size, artifact.kind]),
      [
        ['large', 100_000, 'file'],
        ['overwritten', 7000, 'file'],
        ['small', 100, 'bytes'],
      ],
    );
    const bodies = [content(100_000), content(7000, 1), content(100)];
    for (const [index, { key, artifact, usedAt }] of entries.entries()) {
      t.true(usedAt >= before && usedAt <= after);
      t.true((await bytesOf(artifact)).equals(bodies[index] ?? Buffer.alloc(0)), key);
      t.is(artifact.etag, (await store.get(key, { signal: never() }))?.etag);
    }
    await store.close();
    await t.throwsAsync(listed(store), refusal('ERR_HOTBLOB_CLOSED', /closed/));
    await writer.close();
  });
}

test('segments: a long list yields to the event loop, and rejects when the store is closed meanwhile', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { durability: 'none' });
  const keys = Array.from({ length: 3500 }, (_, index) => `key/${String(index).padStart(5, '0')}`);
  await Promise.all(keys.map((key) => put(store, key, key)));
  let turns = 0;
  let turn = setImmediate(function next() {
    turns++;
    turn = setImmediate(next);
  });
  t.teardown(() => clearImmediate(turn));
  const found: string[] = [];
  const perTurn = new Map<number, number>();
  for await (const { key } of store.list()) {
    found.push(key);
    perTurn.set(turns, (perTurn.get(turns) ?? 0) + 1);
  }
  t.deepEqual(found, keys);
  t.true(Math.max(...perTurn.values()) <= 1000, `${[...perTurn.values()]}`);
  let closing: Promise<void> | undefined;
  await t.throwsAsync(
    async () => {
      for await (const _ of store.list()) closing ??= store.close();
    },
    refusal('ERR_HOTBLOB_CLOSED', /closed/),
  );
  await closing;
});

test('tiered: lists the local store, if that has list()', async (t) => {
  const local = memoryStore();
  const remote = memoryStore();
  const store = await tieredStore({ local, remote });
  await store.put('both', Readable.from([content(1000)]), { signal: never() });
  await put(remote, 'remote-only', content(2000));
  t.deepEqual(await keysOf(store), ['both']);
  const plain = { get: local.get.bind(local), put: local.put.bind(local) };
  const withoutList = await tieredStore({ local: plain, remote });
  t.is(withoutList.list, undefined);
  await store.close();
  await withoutList.close();
});

test('the stores of the server have list(), with and without an upstream', async (t) => {
  for (const kind of ['directory', 'segments'] as const) {
    for (const upstream of [
      undefined,
      {
        url: 'http://127.0.0.1:9',
        token: undefined,
        mode: 'write' as const,
        spoolDir: undefined,
        maxSpoolBytes: undefined,
      },
    ]) {
      const dir = await temporaryDirectory(t);
      const options = {
        dir,
        kind,
        upstream,
        immutable: undefined,
        verifyReads: undefined,
        groupAccess: undefined,
        maxBytes: 1e6,
      };
      const { store } = await openStore(options);
      t.deepEqual(await listed(store), []);
      t.is(store.stats().maxBytes, 1e6);
      t.is(store.stats().remote, upstream && 'closed');
      await store.close();
    }
  }
});

for (const [name, open] of Object.entries({
  memory: async () => memoryStore(),
  directory: (dir: string) => directoryStore(dir),
  segments: (dir: string) => segmentStore(dir),
})) {
  test(`${name}: lists the artifact of one key, with its metadata, and without a use`, async (t) => {
    const store = await open(await temporaryDirectory(t));
    t.teardown(() => store.close());
    for (const key of ['a/b', 'a/bc', 'c']) {
      await put(store, key, content(100), { metadata: { contentType: 'text/plain', subject: `writer of ${key}` } });
    }
    const list = async (key: string) => {
      const entries: StoreEntry[] = [];
      for await (const entry of store.list({ key, metadata: true })) entries.push(entry);
      return entries;
    };
    const all = await listed(store);
    const [entry, ...others] = await list('a/b');
    t.deepEqual(others, []);
    t.like(entry, { key: 'a/b', size: 100, artifact: { subject: 'writer of a/b' } });
    for (const key of ['a', 'a/', 'missing', '../a', '.hotblob', '']) t.deepEqual(await list(key), [], key);
    // The times of a memory store are rounded at each listing.
    if (name !== 'memory') t.deepEqual(await listed(store), all);
  });
}
