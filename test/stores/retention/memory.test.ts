import test from 'ava';
import { memoryStore } from '../../../src/stores/memory.js';
import { fakeTime } from '../../helpers/fake-time.js';
import { until } from '../../helpers/poll.js';
import { content, put, refusal } from '../fixture.js';

/** Bytes that an artifact with one KiB takes at most, with its key. */
const ARTIFACT = 2048 + 100;
const HOUR_MS = 60 * 60 * 1000;

test('an upload that exceeds the limit of its rule evicts only artifacts of the rule', async (t) => {
  const retain = [{ scope: 'pr/*', maxBytes: 3 * ARTIFACT }];
  const store = memoryStore({ maxBytes: 10 * ARTIFACT, retain });
  await put(store, 'main', content(1024));
  for (let index = 0; index < 20; index++) await put(store, `.scopes/pr%2f${index}/a`, content(1024));
  t.not(store.get('main'), undefined);
  t.deepEqual([store.stats().artifacts, store.stats().evicted], [4, 17]);
  t.not(store.get('.scopes/pr%2f19/a'), undefined);
});

test('uploads of the rest evict the rest, never artifacts of a rule within its limit', async (t) => {
  const retain = [
    { scope: 'main', maxBytes: 3 * ARTIFACT },
    { scope: 'old', maxAgeMs: HOUR_MS },
  ];
  const store = memoryStore({ maxBytes: 6 * ARTIFACT, retain });
  for (let index = 0; index < 3; index++) await put(store, `.scopes/main/${index}`, content(1024));
  await put(store, '.scopes/old/a', content(1024));
  for (let index = 0; index < 20; index++) await put(store, `${index}`, content(1024));
  for (let index = 0; index < 3; index++) t.not(store.get(`.scopes/main/${index}`), undefined);
  // A rule without `maxBytes` takes part in the order of the store.
  t.is(store.get('.scopes/old/a'), undefined);
  t.is(store.stats().artifacts, 6);
});

test('an upload above the limit of its rule is refused, and evicts nothing', async (t) => {
  const store = memoryStore({ retain: [{ scope: 'pr', maxBytes: 4096 }] });
  await put(store, '.scopes/pr/a', content(1024));
  await t.throwsAsync(put(store, '.scopes/pr/b', content(4096)), refusal('ERR_HOTBLOB_TOO_LARGE'));
  t.not(store.get('.scopes/pr/a'), undefined);
});

test.serial('artifacts expire when they were neither uploaded nor read for the age of their rule', async (t) => {
  const time = fakeTime(t);
  const store = memoryStore({ retain: [{ scope: 'pr', maxAgeMs: 10 * HOUR_MS }] });
  t.teardown(() => store.close());
  for (const key of ['.scopes/pr/read', '.scopes/pr/unused', 'other']) await put(store, key, content(10));
  await time.advance(6 * HOUR_MS);
  t.not(store.get('.scopes/pr/read'), undefined);
  time.setClock(-1000 * HOUR_MS);
  await time.advance(6 * HOUR_MS);
  await until('an artifact has expired', () => store.stats().expired === 1);
  t.is(store.get('.scopes/pr/unused'), undefined);
  t.deepEqual([store.stats().artifacts, store.stats().evicted], [2, 1]);
  await time.advance(10 * HOUR_MS);
  await until('all artifacts of the rule have expired', () => store.stats().expired === 2);
  t.not(store.get('other'), undefined);
});

test.serial('list() reports the last use if artifacts can expire', async (t) => {
  const time = fakeTime(t);
  const store = memoryStore({ retain: [{ maxAgeMs: 10 * HOUR_MS }] });
  t.teardown(() => store.close());
  await put(store, 'a', content(10));
  await time.advance(HOUR_MS);
  const before = Date.now();
  store.get('a');
  await time.advance(HOUR_MS);
  for await (const { usedAt = 0 } of store.list()) t.true(Math.abs(usedAt - before) < HOUR_MS / 2);
  t.is(store.stats().artifacts, 1);
});
