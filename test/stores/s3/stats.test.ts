import test from 'ava';
import { content, put } from '../fixture.js';
import { getArtifact, MIB, PART, read, type Setup, setupFor } from './fixture.js';

const setup = setupFor(test);

/** Returns the counts that are not zero, and the number of timed requests. */
function counts({ store }: Setup): Record<string, number> {
  const { requests = [], latency } = store.stats();
  const nonZero = requests.filter(({ count }) => count > 0);
  const entries = nonZero.map(({ operation, outcome, count }) => [`${operation} ${outcome}`, count]);
  return { ...Object.fromEntries(entries), timed: latency?.counts.reduce((sum, count) => sum + count, 0) };
}

test('counts each request to the service', async (t) => {
  const current = await setup(t);
  const { store, proxy } = current;
  t.is(await store.get('a'), undefined);
  t.deepEqual(counts(current), { 'get missing': 1, timed: 1 });
  await put(store, 'a', content(1000));
  await put(store, 'empty', '');
  // Each upload sends a HEAD request to find out whether the key is new.
  t.deepEqual(counts(current), { 'get missing': 3, 'put ok': 2, timed: 3 });
  await read(await getArtifact(store, 'a'));
  await getArtifact(store, 'empty');
  const afterReads = counts(current);
  t.true((afterReads['get ok'] ?? 0) >= 2);
  t.is(await store.delete('a'), true);
  t.is(await store.delete('a'), false);
  t.is(counts(current)['delete ok'], 1);
  t.is(counts(current)['get missing'], 4);
  const { timed = 0, ...rest } = counts(current);
  t.is(
    Object.values(rest).reduce((sum, count) => sum + count, 0),
    proxy.operations.length,
  );
  t.is(timed, proxy.operations.filter((operation) => !operation.startsWith('PUT')).length);
});

test('counts each request of a multipart upload, and a failed request once for all attempts', async (t) => {
  const current = await setup(t, { partBytes: PART });
  const { store, proxy } = current;
  const bytes = content(PART + MIB);
  await put(store, 'long', bytes);
  t.is(counts(current)['put ok'], 4, 'create, two parts, complete');
  t.true(bytes.equals(await read(await getArtifact(store, 'long'))));
  const { 'get ok': found = 0 } = counts(current);
  proxy.fault = () => ({ status: 403, code: 'AccessDenied' });
  await t.throwsAsync(store.get('long'));
  await t.throwsAsync(put(store, 'b', content(10)));
  await t.throwsAsync(store.delete('long'));
  const { 'get failed': failed = 0, 'put failed': notPut = 0, 'get ok': foundNow } = counts(current);
  t.is(foundNow, found);
  t.true(failed + notPut >= 3);
});

test('does not count a request whose client has left', async (t) => {
  const current = await setup(t);
  current.proxy.fault = () => ({ ignore: true });
  const client = new AbortController();
  const lookup = current.store.get('a', { signal: client.signal });
  client.abort(new Error('the client is gone'));
  await t.throwsAsync(lookup);
  t.deepEqual(counts(current), { timed: 0 });
});
