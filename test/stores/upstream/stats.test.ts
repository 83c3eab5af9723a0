import test from 'ava';
import type { Store } from '../../../src/contract/store.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { tieredStore } from '../../../src/stores/tiered/store.js';
import { upstreamStore } from '../../../src/stores/upstream/store.js';
import { LATENCY_BOUNDS_SECONDS } from '../../../src/util/histogram.js';
import { until } from '../../helpers/poll.js';
import { bodyOf, content, never, put } from '../fixture.js';
import { found, read, startPeer, storeOf, WIRES } from './fixture.js';

/** What there was at least one of. */
function counted(store: Store): Record<string, number> {
  const { requests = [] } = store.stats?.() ?? {};
  const seen = requests.filter(({ count }) => count > 0);
  return Object.fromEntries(seen.map(({ operation, outcome, count }) => [`${operation} ${outcome}`, count]));
}

function timed(store: Store): number {
  return store.stats?.().latency?.counts.reduce((sum, count) => sum + count, 0) ?? Number.NaN;
}

for (const wire of WIRES) {
  test(`${wire}: requests are counted by what was asked and how it went`, async (t) => {
    const peer = await startPeer(t, wire, (request, response) => {
      const status = Number(/\d+$/.exec(request.url ?? '')?.[0] ?? 200);
      request.resume().on('end', () => response.writeHead(status).end(request.method === 'GET' ? 'body' : ''));
    });
    const store = storeOf(t, peer);
    t.deepEqual(counted(store), {});
    const get = (key: string) => store.get(key, { signal: never() });
    await read(await found(store, 'there/200'));
    for (const status of [404, 410]) t.is(await get(`missing/${status}`), undefined);
    for (const status of [403, 500, 503]) await t.throwsAsync(get(`refused/${status}`));
    t.deepEqual(counted(store), { 'get ok': 1, 'get missing': 2, 'get failed': 3 });
    t.is(timed(store), 6);
    await put(store, 'new/201', content(1000));
    await put(store, 'old/204', content(1000));
    for (const status of [404, 413, 507]) await t.throwsAsync(put(store, `refused/${status}`, content(1000)));
    t.is(timed(store), 6, 'an upload takes as long as its client');
    t.true(await store.delete('there/204'));
    t.false(await store.delete('missing/404'));
    await t.throwsAsync(store.delete('refused/500'));
    t.deepEqual(counted(store), {
      'get ok': 1,
      'get missing': 2,
      'get failed': 3,
      'put ok': 2,
      'put failed': 3,
      'delete ok': 1,
      'delete missing': 1,
      'delete failed': 1,
    });
    t.is(timed(store), 9);
  });
}

test('every range is a request, and so is a body that has been let go', async (t) => {
  const peer = await startPeer(t, 'http', (_, response) => response.end('whole'));
  const store = storeOf(t, peer);
  const artifact = await found(store, 'key');
  await read(artifact, { start: 1, end: 3 });
  await read(artifact);
  t.deepEqual(counted(store), { 'get ok': 3 });
  t.is(peer.requests.length, 3);
});

test('a cache that cannot be reached has failed, and is not timed', async (t) => {
  const peer = await startPeer(t, 'http', (request) => request.socket.destroy());
  const store = storeOf(t, peer);
  await t.throwsAsync(store.get('key', { signal: never() }));
  await t.throwsAsync(put(store, 'key', 'x'));
  t.deepEqual(counted(store), { 'get failed': 1, 'put failed': 1 });
  t.is(timed(store), 0);
});

test('clients that leave, uploads that break off and keys that are none are no requests', async (t) => {
  const peer = await startPeer(t, 'h2c', () => {});
  const store = storeOf(t, peer);
  const client = new AbortController();
  const lookup = store.get('key', { signal: client.signal });
  await until('it is asked', () => peer.requests.length === 1);
  client.abort(new Error('the client is gone'));
  await t.throwsAsync(lookup);
  const body = bodyOf([content(1000)], new Error('the client is gone'));
  await t.throwsAsync(store.put('key', body, { signal: never() }));
  await t.throwsAsync(store.get('../key', { signal: never() }));
  await store.close();
  await t.throwsAsync(store.get('key', { signal: never() }));
  t.deepEqual(counted(store), {});
});

test('a lookup that tiers do not wait for any longer has failed', async (t) => {
  const peer = await startPeer(t, 'http', () => {});
  const remote = storeOf(t, peer);
  const store = await tieredStore({ local: memoryStore(), remote, lookupTimeoutMs: 100 });
  t.is(await store.get('key', { signal: never() }), undefined);
  await until('it is counted', () => counted(remote)['get failed'] === 1);
  t.deepEqual(counted(store), { 'get failed': 1 });
  await store.close();
});

test('the time is that to the head of the answer', async (t) => {
  const delayMs = 120;
  const peer = await startPeer(t, 'http', (_, response) => {
    setTimeout(() => {
      response.writeHead(200, { 'content-length': 4 }).write('bo');
      setTimeout(() => response.end('dy'), 500);
    }, delayMs);
  });
  const store = upstreamStore(peer.url);
  t.teardown(() => store.close());
  const startedAt = performance.now();
  const artifact = await found(store, 'key');
  const seconds = (performance.now() - startedAt) / 1000;
  await read(artifact);
  const { counts = [], sum = 0 } = store.stats().latency ?? {};
  // Timers of Node may fire a millisecond early.
  t.true(sum >= (delayMs - 2) / 1000 && sum <= seconds, `${sum} of ${seconds} s`);
  const bucket = counts.indexOf(1);
  t.true(sum <= (LATENCY_BOUNDS_SECONDS[bucket] ?? Number.POSITIVE_INFINITY));
  t.true(sum > (LATENCY_BOUNDS_SECONDS[bucket - 1] ?? 0));
});
