import test from 'ava';
import { content, put } from '../fixture.js';
import { find, MIB, PART, read, type Site, serviceFor } from './fixture.js';

const site = serviceFor(test);

/** What there was at least one of, and how many were timed. */
function counted({ store }: Site): Record<string, number> {
  const { requests = [], latency } = store.stats();
  const seen = requests.filter(({ count }) => count > 0);
  const counts = seen.map(({ operation, outcome, count }) => [`${operation} ${outcome}`, count]);
  return { ...Object.fromEntries(counts), timed: latency?.counts.reduce((sum, count) => sum + count, 0) };
}

test('requests to the service are counted one by one', async (t) => {
  const at = await site(t);
  const { store, wire } = at;
  t.is(await store.get('a'), undefined);
  t.deepEqual(counted(at), { 'get missing': 1, timed: 1 });
  await put(store, 'a', content(1000));
  await put(store, 'empty', '');
  // To know whether the key was free takes a HEAD.
  t.deepEqual(counted(at), { 'get missing': 3, 'put ok': 2, timed: 3 });
  await read(await find(store, 'a'));
  await find(store, 'empty');
  const afterReads = counted(at);
  t.true((afterReads['get ok'] ?? 0) >= 2);
  t.is(await store.delete('a'), true);
  t.is(await store.delete('a'), false);
  t.is(counted(at)['delete ok'], 1);
  t.is(counted(at)['get missing'], 4);
  const { timed = 0, ...rest } = counted(at);
  t.is(
    Object.values(rest).reduce((sum, count) => sum + count, 0),
    wire.asked.length,
  );
  t.is(timed, wire.asked.filter((what) => !what.startsWith('PUT')).length);
});

test('an upload in parts is as many requests; a service that fails has failed, with all attempts once', async (t) => {
  const at = await site(t, { partBytes: PART });
  const { store, wire } = at;
  const bytes = content(PART + MIB);
  await put(store, 'long', bytes);
  t.is(counted(at)['put ok'], 4, 'to begin, two parts, and the end');
  t.true(bytes.equals(await read(await find(store, 'long'))));
  const { 'get ok': found = 0 } = counted(at);
  wire.fault = () => ({ answer: 403, code: 'AccessDenied' });
  await t.throwsAsync(store.get('long'));
  await t.throwsAsync(put(store, 'b', content(10)));
  await t.throwsAsync(store.delete('long'));
  const { 'get failed': failed = 0, 'put failed': notPut = 0, 'get ok': foundNow } = counted(at);
  t.is(foundNow, found);
  t.true(failed + notPut >= 3);
});

test('a client that leaves is none', async (t) => {
  const at = await site(t);
  at.wire.fault = () => ({ ignore: true });
  const client = new AbortController();
  const lookup = at.store.get('a', { signal: client.signal });
  client.abort(new Error('the client is gone'));
  await t.throwsAsync(lookup);
  t.deepEqual(counted(at), { timed: 0 });
});
