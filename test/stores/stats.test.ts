import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import type { StoreStats } from '../../src/contract/store.js';
import { directoryStore } from '../../src/stores/directory/store.js';
import { memoryStore } from '../../src/stores/memory.js';
import { segmentStore } from '../../src/stores/segments/store.js';
import { tieredStore } from '../../src/stores/tiered/store.js';
import { content, put, temporaryDirectory, until } from './fixture.js';

test('directory: with a limit, reports artifacts and their space from the first scan and the changes since', async (t) => {
  const dir = await temporaryDirectory(t);
  await writeFile(join(dir, 'before'), content(1000));
  // The directories of the store count, too.
  const own = 3 * 5120;
  const maxBytes = own + 100_000;
  const store = await directoryStore(dir, { maxBytes });
  await until(() => store.stats().artifacts !== undefined);
  const assertStats = (expected: StoreStats) => t.deepEqual(store.stats(), { maxBytes, corrupt: 0, ...expected });
  // A file takes a block of 4 KiB and its inode, a directory as well.
  assertStats({ artifacts: 1, bytes: own + 5120, evicted: 0 });
  await put(store, 'a/b', content(2000));
  assertStats({ artifacts: 2, bytes: own + 3 * 5120, evicted: 0 });
  await put(store, 'a/b', content(2500));
  assertStats({ artifacts: 2, bytes: own + 3 * 5120, evicted: 0 });
  await store.delete('before');
  await store.delete('a');
  await store.delete('nothing');
  assertStats({ artifacts: 1, bytes: own + 2 * 5120, evicted: 0 });
  await writeFile(join(dir, 'other'), content(3000));
  await put(store, 'c', content(60_000));
  assertStats({ artifacts: 2, bytes: own + 2 * 5120 + 61_440 + 1024, evicted: 0 });
  // Files of other processes count from the next scan, which starts when a tenth of the limit has been evicted.
  await put(store, 'd', content(60_000));
  await until(() => store.stats().artifacts === 2);
  assertStats({ artifacts: 2, bytes: own + 5120 + 61_440 + 1024, evicted: 2 });
  await store.close();
});

test('directory: reports no artifacts without a limit, nor before the first scan', async (t) => {
  const dir = await temporaryDirectory(t);
  const unlimited = await directoryStore(dir);
  await put(unlimited, 'a', content(1000));
  t.deepEqual(unlimited.stats(), { corrupt: 0 });
  const store = await directoryStore(dir, { maxBytes: 100_000 });
  t.deepEqual(store.stats(), { maxBytes: 100_000, evicted: 0, corrupt: 0 });
  await rm(join(dir, 'a'));
  await put(store, 'b', content(500));
  const { artifacts = 0 } = store.stats();
  t.true(artifacts >= 1);
  await store.close();
});

test('memory: reports artifacts, bytes and evictions', async (t) => {
  const perArtifact = 100 + 1024 + 2;
  const store = memoryStore({ maxBytes: 3 * perArtifact });
  t.deepEqual(store.stats(), { artifacts: 0, bytes: 0, maxBytes: 3 * perArtifact, evicted: 0 });
  for (const key of ['a', 'b']) await put(store, key, content(100));
  await put(store, 'b', content(100, 1));
  t.deepEqual(store.stats(), { artifacts: 2, bytes: 2 * perArtifact, maxBytes: 3 * perArtifact, evicted: 0 });
  await store.delete('a');
  t.is(store.stats().artifacts, 1);
  for (const key of ['c', 'd', 'e', 'f']) await put(store, key, content(100));
  t.deepEqual(store.stats(), { artifacts: 3, bytes: 3 * perArtifact, maxBytes: 3 * perArtifact, evicted: 2 });
});

test('segments: reports artifacts, bytes and evictions', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await segmentStore(dir, { maxBytes: 400_000 });
  t.deepEqual(store.stats(), { artifacts: 0, bytes: 0, corrupt: 0, maxBytes: 400_000, evicted: 0 });
  await put(store, 'a', content(10_000));
  await put(store, 'small', content(100));
  await put(store, 'a', content(11_000));
  await put(store, 'b', content(12_000));
  await store.delete('b');
  await store.delete('nothing');
  const { artifacts, bytes = 0, evicted } = store.stats();
  t.deepEqual({ artifacts, evicted }, { artifacts: 2, evicted: 0 });
  t.true(bytes > 11_000 && bytes < 40_000, `${bytes} bytes`);
  const reader = await segmentStore(dir, { readOnly: true });
  t.deepEqual(reader.stats(), { artifacts: 2, corrupt: 0 });
  await reader.close();
  t.deepEqual(reader.stats(), {});
  for (let index = 0; index < 100; index++) await put(store, `k/${index}`, content(10_000, index));
  const full = store.stats();
  t.is((full.artifacts ?? 0) + (full.evicted ?? 0), 102);
  t.true((full.artifacts ?? 0) < 40 && (full.bytes ?? 0) <= 400_000, JSON.stringify(full));
  await store.close();
  const again = await segmentStore(dir, { maxBytes: 400_000 });
  t.deepEqual([again.stats().artifacts, again.stats().evicted], [full.artifacts, 0]);
  await again.close();
});

test('tiered: reports the statistics of the local store and the requests to the remote one', async (t) => {
  const local = memoryStore({ maxBytes: 1e6 });
  const requests = [{ operation: 'get', outcome: 'ok', count: 7 }] as const;
  const latency = { counts: [7], sum: 0.5 };
  const remote = { get: () => undefined, stats: () => ({ artifacts: 9, maxBytes: 99, requests, latency }) };
  const store = await tieredStore({ local, remote });
  await put(local, 'a', content(100));
  const idle = { remote: 'closed', flights: 0, rememberedMisses: 0, queued: 0, dropped: 0, unreplicated: 0 } as const;
  t.deepEqual(store.stats(), { ...local.stats(), requests, latency, ...idle });
  t.is(store.stats().artifacts, 1);
  const plain = { get: local.get.bind(local), put: local.put.bind(local) };
  const quiet = await tieredStore({ local: plain, remote: { get: () => undefined } });
  t.deepEqual(quiet.stats(), { ...idle, requests: undefined, latency: undefined });
  await store.close();
  await quiet.close();
});
