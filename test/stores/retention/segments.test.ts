import { PassThrough } from 'node:stream';
import { mock } from 'node:test';
import test, { type ExecutionContext } from 'ava';
import { SegmentIndex } from '../../../src/stores/segments/segment-index.js';
import { type SegmentStore, segmentStore } from '../../../src/stores/segments/store.js';
import { type FakeTime, fakeTime } from '../../helpers/fake-time.js';
import { until } from '../../helpers/poll.js';
import { bodyOf, content, never, put, refusal, temporaryDirectory } from '../fixture.js';
import { findingsIn } from '../segments/fixture.js';

const HOUR_MS = 60 * 60 * 1000;
const KIB = 1024;
const MAX_BYTES = 8 * KIB * KIB;
const SIZE = 10 * KIB;

const numbered = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

async function putAll(store: SegmentStore, keys: readonly string[]): Promise<void> {
  for (const [seed, key] of keys.entries()) await put(store, key, content(SIZE, seed));
}

async function keysIn(store: SegmentStore, prefix = ''): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list()) if (key.startsWith(prefix)) keys.push(key);
  return keys.sort();
}

/** Lets time pass until `count` artifacts have expired, at most 100 hours. Returns the hours. */
async function hoursUntilExpired(time: FakeTime, store: SegmentStore, count: number): Promise<number> {
  let hours = 0;
  await until('artifacts have expired', async () => {
    if (store.stats().expired === count || hours === 100) return true;
    await time.advance(HOUR_MS);
    hours++;
    return false;
  });
  return hours;
}

test('a scope that uploads much evicts neither the rest nor another scope within its limit', async (t) => {
  const dir = await temporaryDirectory(t);
  const retain = [
    { scope: 'main', maxBytes: 4 * KIB * KIB },
    { scope: 'pr/*', maxBytes: KIB * KIB },
  ];
  const open = () => segmentStore(dir, { maxBytes: MAX_BYTES, retain });
  const main = numbered('.scopes/main/', 100).sort();
  const rest = numbered('rest', 20).sort();
  let store = await open();
  await putAll(store, [...main, ...rest]);
  for (let round = 0; round < 2; round++) {
    for (let number = 0; number < 3; number++) await putAll(store, numbered(`.scopes/pr%2f${number}/${round}`, 100));
    t.deepEqual(await keysIn(store, '.scopes/main/'), main);
    t.deepEqual(await keysIn(store, 'rest'), rest);
    const prBytes = (await keysIn(store, '.scopes/pr')).length * SIZE;
    t.true(prBytes <= KIB * KIB && prBytes > (KIB * KIB) / 4, `${prBytes} bytes`);
    await store.close();
    store = await open();
  }
  // The rest has what the limits of the rules leave.
  await putAll(store, numbered('rest', 1000));
  t.deepEqual(await keysIn(store, '.scopes/main/'), main);
  t.true((store.stats().bytes ?? 0) <= MAX_BYTES);
  await store.close();
  t.deepEqual((await findingsIn(dir)).findings, []);
});

test('artifacts that were stored with other rules move to the segments of their rule before their segment is evicted', async (t) => {
  const dir = await temporaryDirectory(t);
  const main = numbered('.scopes/main/', 50).sort();
  let store = await segmentStore(dir, { maxBytes: MAX_BYTES });
  const others = numbered('rest', 300);
  await putAll(
    store,
    main.flatMap((key, index) => [key, ...others.slice(index * 6, index * 6 + 6)]),
  );
  await store.close();
  for (const scope of ['main', 'ma*']) {
    store = await segmentStore(dir, { maxBytes: MAX_BYTES, retain: [{ scope, maxBytes: 4 * KIB * KIB }] });
    t.deepEqual(await keysIn(store, '.scopes/main/'), main);
    await putAll(store, numbered(`${scope}more`, 1000));
    t.deepEqual(await keysIn(store, '.scopes/main/'), main);
    await store.close();
  }
  store = await segmentStore(dir, { maxBytes: MAX_BYTES });
  await putAll(store, numbered('again', 1000));
  t.deepEqual(await keysIn(store, '.scopes/main/'), []);
  await store.close();
});

test('if the limit of a rule was lowered, uploads into the rest evict what is above the limit', async (t) => {
  const dir = await temporaryDirectory(t);
  const withLimits = (maxBytes: number, ofRule: number) =>
    segmentStore(dir, { maxBytes, retain: [{ scope: 'pr', maxBytes: ofRule }], durability: 'none' });
  let store = await withLimits(2 * MAX_BYTES, MAX_BYTES);
  await putAll(store, numbered('.scopes/pr/', 700));
  await store.close();
  store = await withLimits(MAX_BYTES / 2, MAX_BYTES / 4);
  t.teardown(() => store.close());
  const rest = numbered('rest', 100).sort();
  await putAll(store, rest);
  t.deepEqual(await keysIn(store, 'rest'), rest);
  t.true((store.stats().bytes ?? 0) <= MAX_BYTES / 2);
  // Within its limit, the rule is protected again.
  await putAll(store, numbered('.scopes/pr/new', 50));
  const kept = await keysIn(store, '.scopes/pr/');
  await putAll(store, numbered('more', 500));
  t.deepEqual(await keysIn(store, '.scopes/pr/'), kept);
});

/** Delays the commits of segment stores until the returned object is released. */
function holdCommits(t: ExecutionContext) {
  const commit = SegmentIndex.prototype.commit;
  let release = (): void => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const { mock: held } = mock.method(
    SegmentIndex.prototype,
    'commit',
    async function (this: SegmentIndex, ...args: Parameters<typeof commit>): Promise<void> {
      await released;
      await commit.apply(this, args);
    },
  );
  t.teardown(() => held.restore());
  return { release, hasBegun: () => until('a commit has begun', () => held.callCount() > 0) };
}

test.serial('an upload into a full rule does not wait for uploads of others', async (t) => {
  const retain = [{ scope: 'pr', maxBytes: KIB * KIB }];
  const store = await segmentStore(await temporaryDirectory(t), { maxBytes: MAX_BYTES, retain });
  const controller = new AbortController();
  const { signal } = controller;
  const stalled = store.put('.scopes/pr/stalled', bodyOf([content(800_000)]), { signal, size: 860_000 });
  const aborted = t.throwsAsync(stalled, { name: 'AbortError', any: true });
  await until('the upload has stalled', () => (store.stats().bytes ?? 0) >= 800_000);
  const commits = holdCommits(t);
  const other = put(store, 'other', content(SIZE));
  await commits.hasBegun();
  await t.throwsAsync(put(store, '.scopes/pr/a', content(400_000)), refusal('ERR_HOTBLOB_STORAGE_FULL'));
  commits.release();
  await other;
  controller.abort();
  await aborted;
  await store.close();
});

test.serial('an upload into a full rule waits for an upload of the rule that is being committed', async (t) => {
  const retain = [{ scope: 'pr', maxBytes: KIB * KIB }];
  const store = await segmentStore(await temporaryDirectory(t), { maxBytes: MAX_BYTES, retain });
  const commits = holdCommits(t);
  const first = put(store, '.scopes/pr/first', content(900_000));
  await commits.hasBegun();
  const second = put(store, '.scopes/pr/second', content(200_000));
  await new Promise((resolve) => setImmediate(resolve));
  commits.release();
  await Promise.all([first, second]);
  t.deepEqual(await keysIn(store), ['.scopes/pr/second']);
  await store.close();
});

test('an upload above the limit of its rule is refused, and evicts nothing', async (t) => {
  const store = await segmentStore(await temporaryDirectory(t), { retain: [{ scope: 'pr', maxBytes: 100 * KIB }] });
  t.teardown(() => store.close());
  await putAll(store, ['.scopes/pr/a']);
  await t.throwsAsync(put(store, '.scopes/pr/b', content(200 * KIB)), refusal('ERR_HOTBLOB_TOO_LARGE'));
  t.deepEqual(await keysIn(store), ['.scopes/pr/a']);
});

test.serial('artifacts expire that were neither uploaded nor read; the last read survives a restart', async (t) => {
  const time = fakeTime(t);
  const dir = await temporaryDirectory(t);
  const retain = [{ scope: 'pr', maxAgeMs: 10 * HOUR_MS }];
  let store = await segmentStore(dir, { retain });
  await putAll(store, ['.scopes/pr/read', '.scopes/pr/unused', 'other']);
  await put(store, '.scopes/pr/inline', 'x');
  await time.advance(6 * HOUR_MS);
  store.get('.scopes/pr/read');
  await store.close();
  store = await segmentStore(dir, { retain });
  const uses: Record<string, number> = {};
  for await (const { key, usedAt = 0 } of store.list()) uses[key] = Math.round((Date.now() - usedAt) / HOUR_MS);
  t.deepEqual(uses, { '.scopes/pr/inline': 6, '.scopes/pr/read': 0, '.scopes/pr/unused': 6, other: 6 });
  await time.advance(6 * HOUR_MS);
  await until('two artifacts have expired', () => store.stats().expired === 2);
  t.deepEqual(await keysIn(store), ['.scopes/pr/read', 'other']);
  t.deepEqual([store.stats().artifacts, store.stats().evicted], [2, 2]);
  await time.advance(6 * HOUR_MS);
  await until('the other artifact of the rule has expired', () => store.stats().expired === 3);
  await store.close();
  t.deepEqual((await findingsIn(dir)).findings, []);
});

test.serial(
  'an artifact that is read does not expire, one that is not does, although the clock was set back',
  async (t) => {
    const time = fakeTime(t);
    const store = await segmentStore(await temporaryDirectory(t), { retain: [{ maxAgeMs: 10 * HOUR_MS }] });
    t.teardown(() => store.close());
    time.setClock(1000 * HOUR_MS);
    await time.advance(60_000);
    await putAll(store, ['read', 'unused']);
    for (const key of ['read', 'unused']) store.get(key);
    time.setClock(-1000 * HOUR_MS);
    let hours = 0;
    await until('the unused artifact has expired', async () => {
      store.get('read');
      await time.advance(HOUR_MS);
      hours++;
      return store.stats().expired === 1 || hours === 500;
    });
    t.true(hours >= 9 && hours < 500, `${hours}`);
    t.deepEqual(await keysIn(store), ['read']);
  },
);

test.serial('an artifact whose upload was in flight during a pass expires', async (t) => {
  const time = fakeTime(t);
  const retain = [{ maxAgeMs: 10 * HOUR_MS }];
  const store = await segmentStore(await temporaryDirectory(t), { segmentBytes: KIB * KIB, retain });
  t.teardown(() => store.close());
  const before = store.stats().bytes ?? 0;
  const body = new PassThrough();
  const uploaded = store.put('large', body, { size: 600 * KIB, signal: never() });
  body.write(content(300 * KIB));
  await until('the segment has bytes', () => (store.stats().bytes ?? 0) > before);
  await put(store, 'small', content(SIZE));
  await time.advance(HOUR_MS);
  await time.advance(6 * HOUR_MS);
  body.end(content(300 * KIB));
  await uploaded;
  const hours = await hoursUntilExpired(time, store, 2);
  t.true(hours >= 10 && hours <= 14, `${hours}`);
});

test.serial('an artifact expires although its age was examined before the clock was set back', async (t) => {
  const time = fakeTime(t);
  const store = await segmentStore(await temporaryDirectory(t), {
    retain: [{ scope: 'pr', maxAgeMs: 10 * HOUR_MS }, { maxAgeMs: 20 * HOUR_MS }],
  });
  t.teardown(() => store.close());
  time.setClock(1000 * HOUR_MS);
  await putAll(store, ['.scopes/pr/a', 'b']);
  await time.advance(HOUR_MS);
  await time.advance(HOUR_MS);
  time.setClock(-1000 * HOUR_MS);
  const hours = await hoursUntilExpired(time, store, 2);
  t.true(hours >= 20 && hours <= 24, `${hours}`);
});

test.serial('a read is written to the index once an hour, and its row is removed with the artifact', async (t) => {
  const time = fakeTime(t);
  const store = await segmentStore(await temporaryDirectory(t));
  t.teardown(() => store.close());
  await putAll(store, ['a']);
  const before = store.stats().bytes ?? 0;
  const stored = (): boolean => (store.stats().bytes ?? 0) > before;
  for (let minute = 0; minute < 50; minute++) {
    store.get('a');
    store.get('missing');
    await time.advance(60_000);
  }
  t.false(stored());
  await time.advance(20 * 60_000);
  store.get('a');
  await until('the last use is stored', async () => {
    await time.advance(60_000);
    return stored();
  });
  await store.delete('a');
  await until('the last use is removed', async () => {
    await time.advance(60_000);
    return (store.stats().bytes ?? 0) <= before;
  });
  t.pass();
});

test.serial('reads before a restart decide what is evicted after it', async (t) => {
  const time = fakeTime(t);
  const dir = await temporaryDirectory(t);
  const open = () => segmentStore(dir, { maxBytes: MAX_BYTES });
  const popular = numbered('popular', 10).sort();
  let store = await open();
  await putAll(store, [...popular, ...numbered('other', 300)]);
  await time.advance(2 * HOUR_MS);
  for (const key of popular) store.get(key);
  await store.close();
  store = await open();
  await putAll(store, numbered('new', 700));
  t.deepEqual(await keysIn(store, 'popular'), popular);
  t.true((store.stats().evicted ?? 0) >= 300);
  await store.close();
});
