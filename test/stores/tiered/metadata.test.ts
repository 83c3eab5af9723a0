import { join } from 'node:path';
import test from 'ava';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { memoryStore } from '../../../src/stores/memory.js';
import type { TieredStore } from '../../../src/stores/tiered/store.js';
import { upstreamStore } from '../../../src/stores/upstream/store.js';
import { until } from '../../helpers/poll.js';
import { content, put, refusal, temporaryDirectory } from '../fixture.js';
import { artifactIn, bytesIn, tiered } from './fixture.js';

const SAID = { contentType: 'text/x-artifact', contentEncoding: 'gzip', headers: { 'x-artifact-tag': 'abc' } };
const BYTES = content(300_000);

const writable = (store: TieredStore) => store as Required<TieredStore>;

test('an upload that goes through takes it to both', async (t) => {
  const local = memoryStore();
  const remote = memoryStore();
  const store = writable(await tiered(t, { local, remote }));
  await put(store, 'a', BYTES, { metadata: SAID });
  for (const each of [store, local, remote]) t.like(await artifactIn(each, 'a'), SAID);
  await put(store, 'a', BYTES);
  for (const each of [store, local, remote]) t.false('headers' in (await artifactIn(each, 'a')));
});

test('too much of it is refused, and is not the fault of the remote store', async (t) => {
  const local = memoryStore();
  const remote = memoryStore();
  const store = writable(await tiered(t, { local, remote, failureThreshold: 1 }));
  const metadata = { headers: { tag: 'x'.repeat(5000) } };
  await t.throwsAsync(put(store, 'a', BYTES, { metadata }), refusal('ERR_HOTBLOB_METADATA_TOO_LARGE'));
  t.is(store.stats().remote, 'closed');
  t.is(local.get('a'), undefined);
  t.is(remote.get('a'), undefined);
});

test('in the background: it is there for the remote store when the process has gone and another one goes on', async (t) => {
  const dir = await temporaryDirectory(t);
  const queueDir = join(dir, 'queue');
  const local = await directoryStore(join(dir, 'local'));
  const unreachable = upstreamStore('http://127.0.0.1:1');
  const options = { local, writes: 'writeBack', queueDir, failureThreshold: 1 } as const;
  const first = writable(await tiered(t, { ...options, remote: unreachable }));
  await put(first, 'described', BYTES, { metadata: SAID });
  await put(first, 'replaced', BYTES, { metadata: SAID });
  await put(first, 'replaced', BYTES);
  await first.close();
  await local.close();

  const remote = memoryStore();
  const again = await directoryStore(local.root);
  const second = await tiered(t, { ...options, local: again, remote });
  await until('the remote store has them', () => second.stats().queued === 0);
  t.like(remote.get('described'), SAID);
  t.false('headers' in (remote.get('replaced') ?? {}));
  t.true(BYTES.equals((await bytesIn(remote, 'described')) ?? Buffer.of()));
});
