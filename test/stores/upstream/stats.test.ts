import test from 'ava';
import type { Store } from '../../../src/contract/store.js';
import { memoryStore } from '../../../src/stores/memory.js';
import { tieredStore } from '../../../src/stores/tiered/store.js';
import { upstreamStore } from '../../../src/stores/upstream/store.js';
import { LATENCY_BOUNDS_SECONDS } from '../../../src/util/histogram.js';
import { until } from '../../helpers/poll.js';
import { bodyOf, content, never, put } from '../fixture.js';
import { lookUp, read, startUpstream, storeOf, WIRES } from './fixture.js';

/** Returns the counts that are not zero. */
function countsOf(store: Store): Record<string, number> {
  const { requests = [] } = store.stats?.() ?? {};
  const seen = requests.filter(({ count }) => count > 0);
  return Object.fromEntries(seen.map(({ operation, outcome, count }) => [`${operation} ${outcome}`, count]));
}

function timedRequests(store: Store): number {
  return store.stats?.().latency?.counts.reduce((sum, count) => sum + count, 0) ?? Number.NaN;
}

for (const wire of WIRES) {
  test(`${wire}: counts requests by operation and outcome`, async (t) => {
    const upstream = await startUpstream(t, wire, (request, response) => {
      const status = Number(/\d+$/.exec(request.url ?? '')?.[0] ?? 200);
      request.resume().on('end', () => response.writeHead(status).end(request.method === 'GET' ? 'body' : ''));
    });
    const store = storeOf(t, upstream);
    t.deepEqual(countsOf(store), {});
    const get = (key: string) => store.get(key, { signal: never() });
    await read(await lookUp(store, 'there/200'));
    for (const status of [404, 410]) t.is(await get(`missing/${status}`), undefined);
    for (const status of [403, 500, 503]) await t.throwsAsync(get(`refused/${status}`));
    t.deepEqual(countsOf(store), { 'get ok': 1, 'get missing': 2, 'get failed': 3 });
    t.is(timedRequests(store), 6);
    await put(store, 'new/201', content(1000));
    await put(store, 'old/204', content(1000));
    for (const status of [404, 413, 507]) await t.throwsAsync(put(store, `refused/${status}`, content(1000)));
    t.is(timedRequests(store), 6, 'uploads are not timed, because the client sets their pace');
    t.true(await store.delete('there/204'));
    t.false(await store.delete('missing/404'));
    await t.throwsAsync(store.delete('refused/500'));
    t.deepEqual(countsOf(store), {
      'get ok': 1,
      'get missing': 2,
      'get failed': 3,
      'put ok': 2,
      'put failed': 3,
      'delete ok': 1,
      'delete missing': 1,
      'delete failed': 1,
    });
    t.is(timedRequests(store), 9);
  });
}

test('counts a request for every range, and for a body that was cancelled', async (t) => {
  const upstream = await startUpstream(t, 'http', (_, response) => response.end('whole'));
  const store = storeOf(t, upstream);
  const artifact = await lookUp(store, 'key');
  await read(artifact, { start: 1, end: 3 });
  await read(artifact);
  t.deepEqual(countsOf(store), { 'get ok': 3 });
  t.is(upstream.requests.length, 3);
});

test('a request without a response counts as failed and is not timed', async (t) => {
  const upstream = await startUpstream(t, 'http', (request) => request.socket.destroy());
  const store = storeOf(t, upstream);
  await t.throwsAsync(store.get('key', { signal: never() }));
  await t.throwsAsync(put(store, 'key', 'x'));
  t.deepEqual(countsOf(store), { 'get failed': 1, 'put failed': 1 });
  t.is(timedRequests(store), 0);
});

test('aborted lookups, failed upload bodies, invalid keys and a closed store are not counted', async (t) => {
  const upstream = await startUpstream(t, 'h2c', () => {});
  const store = storeOf(t, upstream);
  const client = new AbortController();
  const lookup = store.get('key', { signal: client.signal });
  await until('the request has arrived', () => upstream.requests.length === 1);
  client.abort(new Error('the client has disconnected'));
  await t.throwsAsync(lookup);
  const body = bodyOf([content(1000)], new Error('the client has disconnected'));
  await t.throwsAsync(store.put('key', body, { signal: never() }));
  await t.throwsAsync(store.get('../key', { signal: never() }));
  await store.close();
  await t.throwsAsync(store.get('key', { signal: never() }));
  t.deepEqual(countsOf(store), {});
});

test('a lookup that a tiered store gives up after lookupTimeoutMs counts as failed', async (t) => {
  const upstream = await startUpstream(t, 'http', () => {});
  const remote = storeOf(t, upstream);
  const store = await tieredStore({ local: memoryStore(), remote, lookupTimeoutMs: 100 });
  t.is(await store.get('key', { signal: never() }), undefined);
  await until('the lookup is counted', () => countsOf(remote)['get failed'] === 1);
  t.deepEqual(countsOf(store), { 'get failed': 1 });
  await store.close();
});

test('the latency is the time until the response headers', async (t) => {
  const delayMs = 120;
  const upstream = await startUpstream(t, 'http', (_, response) => {
    setTimeout(() => {
      response.writeHead(200, { 'content-length': 4 }).write('bo');
      setTimeout(() => response.end('dy'), 500);
    }, delayMs);
  });
  const store = upstreamStore(upstream.url);
  t.teardown(() => store.close());
  const startedAt = performance.now();
  const artifact = await lookUp(store, 'key');
  const seconds = (performance.now() - startedAt) / 1000;
  await read(artifact);
  const { counts = [], sum = 0 } = store.stats().latency ?? {};
  // Node's timers may fire a millisecond early.
  t.true(sum >= (delayMs - 2) / 1000 && sum <= seconds, `${sum} of ${seconds} s`);
  const bucket = counts.indexOf(1);
  t.true(sum <= (LATENCY_BOUNDS_SECONDS[bucket] ?? Number.POSITIVE_INFINITY));
  t.true(sum > (LATENCY_BOUNDS_SECONDS[bucket - 1] ?? 0));
});
