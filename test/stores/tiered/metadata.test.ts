import { join } from 'node:path';
import test from 'ava';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { memoryStore } from '../../../src/stores/memory.js';
import type { TieredStore } from '../../../src/stores/tiered/store.js';
import { upstreamStore } from '../../../src/stores/upstream/store.js';
import { until } from '../../helpers/poll.js';
import { content, put, refusal, temporaryDirectory } from '../fixture.js';
import { createTiered, getArtifact, readBytes } from './fixture.js';

const METADATA = { contentType: 'text/x-artifact', contentEncoding: 'gzip', headers: { 'x-artifact-tag': 'abc' } };
const BYTES = content(300_000);

const writable = (store: TieredStore) => store as Required<TieredStore>;

test('write-through stores metadata in both stores', async (t) => {
  const local = memoryStore();
  const remote = memoryStore();
  const store = writable(await createTiered(t, { local, remote }));
  await put(store, 'a', BYTES, { metadata: METADATA });
  for (const each of [store, local, remote]) t.like(await getArtifact(each, 'a'), METADATA);
  await put(store, 'a', BYTES);
  for (const each of [store, local, remote]) t.false('headers' in (await getArtifact(each, 'a')));
});

test('rejects metadata that is too large, which is not a failure of the remote store', async (t) => {
  const local = memoryStore();
  const remote = memoryStore();
  const store = writable(await createTiered(t, { local, remote, failureThreshold: 1 }));
  const metadata = { headers: { 'x-artifact-tag': 'x'.repeat(5000) } };
  await t.throwsAsync(put(store, 'a', BYTES, { metadata }), refusal('ERR_HOTBLOB_METADATA_TOO_LARGE'));
  t.is(store.stats().remote, 'closed');
  t.is(local.get('a'), undefined);
  t.is(remote.get('a'), undefined);
});

test('write-back sends metadata to the remote store after a restart', async (t) => {
  const dir = await temporaryDirectory(t);
  const queueDir = join(dir, 'queue');
  const local = await directoryStore(join(dir, 'local'));
  const unreachable = upstreamStore('http://127.0.0.1:1');
  const options = { local, writes: 'writeBack', queueDir, failureThreshold: 1 } as const;
  const beforeRestart = writable(await createTiered(t, { ...options, remote: unreachable }));
  await put(beforeRestart, 'described', BYTES, { metadata: METADATA });
  await put(beforeRestart, 'replaced', BYTES, { metadata: METADATA });
  await put(beforeRestart, 'replaced', BYTES);
  await beforeRestart.close();
  await local.close();

  const remote = memoryStore();
  const reopened = await directoryStore(local.root);
  const afterRestart = await createTiered(t, { ...options, local: reopened, remote });
  await until('the queue is empty', () => afterRestart.stats().queued === 0);
  t.like(remote.get('described'), METADATA);
  t.false('headers' in (remote.get('replaced') ?? {}));
  t.true(BYTES.equals((await readBytes(remote, 'described')) ?? Buffer.of()));
});
