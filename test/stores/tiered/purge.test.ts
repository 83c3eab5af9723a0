import { Readable } from 'node:stream';
import test from 'ava';
import type { PurgeProgress } from '../../../src/contract/purge.js';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { tieredStore } from '../../../src/stores/tiered/store.js';
import { content, put, refusal, temporaryDirectory } from '../fixture.js';

test('a purge deletes from both stores, and the result is the sum', async (t) => {
  const [local, remote] = [memoryStore(), memoryStore()];
  const store = await tieredStore({ local, remote });
  await store.put('nx/1', Readable.from([content(100)]));
  await put(remote, 'nx/2', content(10));
  await put(remote, 'gradle/1', content(1));
  const reports: PurgeProgress[] = [];
  const onProgress = (progress: PurgeProgress) => reports.push(progress);
  t.deepEqual(await store.purge?.({ protocol: 'nx' }, { dryRun: true }), { artifacts: 3, bytes: 210 });
  t.deepEqual(await store.purge?.({ protocol: 'nx' }, { onProgress }), { artifacts: 3, bytes: 210 });
  t.deepEqual(reports.at(-1), { artifacts: 3, bytes: 210, scanned: 4 });
  t.is(await store.get('nx/1'), undefined);
  t.is(await store.get('nx/2'), undefined);
  t.not(await store.get('gradle/1'), undefined);
  await store.close();
  await t.throwsAsync(async () => store.purge?.({}), refusal('ERR_HOTBLOB_CLOSED'));
});

test('after a purge, a local file is fetched from a remote store without purge again', async (t) => {
  const local = await directoryStore(await temporaryDirectory(t));
  const inner = memoryStore();
  const remote = { get: inner.get.bind(inner), put: inner.put.bind(inner) };
  const store = await tieredStore({ local, remote });
  await store.put('nx/1', Readable.from([content(100)]));
  await store.get('nx/1');
  t.deepEqual(await store.purge?.({}), { artifacts: 1, bytes: 100 });
  const again = await store.get('nx/1');
  t.is(again?.kind, 'stream');
  await store.close();
});

test('without purge of the local store, there is none', async (t) => {
  const store = await tieredStore({ local: { get: () => undefined, put: async () => ({}) }, remote: memoryStore() });
  t.is(store.purge, undefined);
  await store.close();
});
