import { mkdir, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import test from 'ava';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { fakeTime } from '../../helpers/fake-time.js';
import { until } from '../../helpers/poll.js';
import { content, entriesBelow, put, refusal, temporaryDirectory } from '../fixture.js';

const HOUR_MS = 60 * 60 * 1000;
/** Size of a body, and the bytes that its file takes. */
const BLOCK = 4096;
const FILE = BLOCK + 1024;
const DIRECTORY = 5120;
const MAX_BYTES = 100 * FILE;

async function artifactsIn(dir: string): Promise<string[]> {
  return (await entriesBelow(dir)).filter((name) => !name.endsWith('/') && !name.startsWith('.hotblob/'));
}

async function putAll(store: Parameters<typeof put>[0], keys: readonly string[]): Promise<void> {
  for (const key of keys) await put(store, key, content(BLOCK));
}

const numbered = (prefix: string, count: number): string[] => Array.from({ length: count }, (_, i) => `${prefix}${i}`);

/** Creates files that were used `ages` hours ago. */
async function createFiles(dir: string, ages: Readonly<Record<string, number>>): Promise<void> {
  for (const [key, hours] of Object.entries(ages)) {
    const path = join(dir, key);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, content(BLOCK));
    await setLastUse(path, hours);
  }
}

function setLastUse(path: string, hours: number): Promise<void> {
  const time = (Date.now() - hours * HOUR_MS) / 1000;
  return utimes(path, time, time);
}

test('an upload that exceeds the limit of its rule evicts only the least recently used files of the rule', async (t) => {
  const dir = await temporaryDirectory(t);
  // An upload takes space for the rest of its last block, its inode, and two directories until it is complete.
  const retain = [{ scope: 'pr/*', maxBytes: 2 * FILE + 2 * DIRECTORY + (BLOCK + FILE + 2 * DIRECTORY) }];
  const store = await directoryStore(dir, { maxBytes: MAX_BYTES, retain });
  t.teardown(() => store.close());
  await putAll(store, ['main', ...numbered('.scopes/pr%2f7/', 3)]);
  store.get('.scopes/pr%2f7/0');
  await putAll(store, ['.scopes/pr%2f7/3', '.scopes/pr%2f7/4']);
  t.deepEqual(await artifactsIn(dir), ['.scopes/pr%2f7/0', '.scopes/pr%2f7/3', '.scopes/pr%2f7/4', 'main']);
  t.is(store.stats().evicted, 2);
});

test('uploads into other groups never evict files of a rule within its limit, also if the store is full', async (t) => {
  const dir = await temporaryDirectory(t);
  const kept = numbered('.scopes/main/', 10);
  const retain = [
    { scope: 'main', maxBytes: 50 * FILE },
    { scope: 'old', maxAgeMs: HOUR_MS },
  ];
  for (const options of [{ retain }, { retain: [...retain, { scope: 'pr', maxBytes: 40 * FILE }] }]) {
    const store = await directoryStore(dir, { maxBytes: MAX_BYTES, ...options });
    await putAll(store, [...kept, '.scopes/old/a']);
    await putAll(store, [...numbered('rest', 150), ...numbered('.scopes/pr/', 150)]);
    const stored = await artifactsIn(dir);
    t.deepEqual(
      stored.filter((key) => key.startsWith('.scopes/main/')),
      kept,
    );
    t.false(stored.includes('.scopes/old/a'));
    t.true((store.stats().bytes ?? 0) <= MAX_BYTES);
    await store.close();
  }
});

test('the directories and the metadata of a rule count towards its limit, also after a restart', async (t) => {
  const dir = await temporaryDirectory(t);
  const limit = 60 * FILE;
  const options = {
    maxBytes: 4 * limit,
    retain: [
      { scope: 'pr', maxBytes: limit },
      { scope: 'main', maxBytes: 2 * limit },
    ],
  };
  const deep = (name: string): string => `.scopes/pr/${name}/a/b/c/d/e`;
  const metadata = { contentType: 'text/plain' };
  let store = await directoryStore(dir, options);
  await putAll(store, numbered('.scopes/main/', 100));
  for (let index = 0; index < 30; index++) await put(store, deep(`${index}`), content(10), { metadata });
  // Six directories, a file and its metadata. The directories of the metadata may be shared.
  const perArtifact = 6 * DIRECTORY + 2 * FILE;
  const assertStored = async (): Promise<void> => {
    const stored = await artifactsIn(dir);
    t.is(stored.filter((key) => key.startsWith('.scopes/main/')).length, 100);
    const count = stored.filter((key) => key.startsWith('.scopes/pr/')).length;
    t.true(count >= 4 && count * perArtifact <= limit, `${count} are stored`);
  };
  await assertStored();
  await store.close();
  store = await directoryStore(dir, options);
  t.teardown(() => store.close());
  await until('the directory has been scanned', () => store.stats().artifacts !== undefined);
  for (let index = 30; index < 60; index++) await put(store, deep(`${index}`), content(10), { metadata });
  await assertStored();
});

test('deletions and purges free the directories of a rule, too', async (t) => {
  const limit = 30 * FILE;
  const store = await directoryStore(await temporaryDirectory(t), { retain: [{ scope: 'pr', maxBytes: limit }] });
  t.teardown(() => store.close());
  await putAll(store, numbered('.scopes/pr/nx/', 10));
  // One directory for each artifact: together they would exceed the limit.
  for (let index = 0; index < limit / DIRECTORY; index++) {
    await putAll(store, ['.scopes/pr/turborepo/a']);
    if (index % 2 === 0) await store.delete('.scopes/pr/turborepo/a');
    else t.is((await store.purge({ protocol: 'turborepo' })).artifacts, 1);
  }
  t.is(store.stats().evicted, 0);
});

test('an upload above the limit of its rule is refused, and evicts nothing', async (t) => {
  const dir = await temporaryDirectory(t);
  const retain = [
    { scope: 'pr', maxBytes: 5 * FILE },
    { scope: 'tiny', maxBytes: 1000 },
  ];
  const store = await directoryStore(dir, { retain });
  t.teardown(() => store.close());
  await putAll(store, ['.scopes/pr/a']);
  await t.throwsAsync(put(store, '.scopes/pr/b', content(5 * FILE)), refusal('ERR_HOTBLOB_TOO_LARGE'));
  const message = /^upload: maxBytes of a rule of retain is 1000, but an empty artifact takes \d+ bytes on the disk$/;
  await t.throwsAsync(put(store, '.scopes/tiny/b', ''), refusal('ERR_HOTBLOB_TOO_LARGE', message));
  t.deepEqual(await artifactsIn(dir), ['.scopes/pr/a']);
});

test('a lower limit of a rule than before is enforced from its next upload on, in the background', async (t) => {
  const dir = await temporaryDirectory(t);
  await createFiles(dir, {
    ...Object.fromEntries(numbered('.scopes/pr/', 9).map((key, age) => [key, age + 1])),
    main: 100,
  });
  const store = await directoryStore(dir, { retain: [{ scope: 'pr', maxBytes: 4 * FILE + DIRECTORY }] });
  t.teardown(() => store.close());
  await putAll(store, ['.scopes/pr/new']);
  // The excess includes the space of the upload in flight.
  await until('the excess is evicted', () => (store.stats().artifacts ?? 9) <= 5);
  const [first, ...others] = (await artifactsIn(dir)).reverse();
  t.is(first, 'main');
  t.deepEqual(others, ['.scopes/pr/new', ...numbered('.scopes/pr/', others.length - 1).reverse()]);
});

test('files that were not used for the age of their rule are removed at the start, the others are not', async (t) => {
  const dir = await temporaryDirectory(t);
  await createFiles(dir, {
    '.scopes/pr/old': 11,
    '.scopes/pr/new': 9,
    'main/old': 1000,
    'bazel/cas/old': 21,
    'bazel/cas/new': 19,
  });
  const retain = [
    { scope: 'pr', maxAgeMs: 10 * HOUR_MS },
    { protocol: 'bazel', maxAgeMs: 20 * HOUR_MS },
  ];
  const store = await directoryStore(dir, { retain });
  t.teardown(() => store.close());
  await until('two artifacts have expired', () => store.stats().expired === 2);
  t.deepEqual(await artifactsIn(dir), ['.scopes/pr/new', 'bazel/cas/new', 'main/old']);
  const { artifacts, evicted } = store.stats();
  t.deepEqual([artifacts, evicted], [3, 2]);
});

test.serial(
  'an artifact that is read does not expire, one that is not does, although the clock was set back',
  async (t) => {
    const time = fakeTime(t);
    const dir = await temporaryDirectory(t);
    const store = await directoryStore(dir, { retain: [{ maxAgeMs: 10 * HOUR_MS }] });
    t.teardown(() => store.close());
    time.setClock(1000 * HOUR_MS);
    await putAll(store, ['read', 'unused']);
    await setLastUse(join(dir, 'unused'), 0);
    time.setClock(-1000 * HOUR_MS);
    for (let hour = 0; hour < 24; hour += 4) {
      store.get('read');
      await time.advance(4 * HOUR_MS);
      await until('the store is idle', () => store.stats().artifacts !== undefined);
    }
    // A scan repairs the time in the future; the age counts from then on.
    let hours = 0;
    await until('the unused artifact has expired', async () => {
      store.get('read');
      await time.advance(HOUR_MS);
      hours++;
      return store.stats().expired === 1 || hours === 500;
    });
    t.true(hours < 500);
    t.deepEqual(await artifactsIn(dir), ['read']);
  },
);

test.serial('files that another program has added expire, too', async (t) => {
  const time = fakeTime(t);
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir, { retain: [{ maxAgeMs: 10 * HOUR_MS }] });
  t.teardown(() => store.close());
  await until('the directory has been scanned', () => store.stats().artifacts === 0);
  await createFiles(dir, { old: 11 });
  await until('the artifact has expired', async () => {
    await time.advance(HOUR_MS);
    return store.stats().expired === 1;
  });
  t.deepEqual(await artifactsIn(dir), []);
});

test.serial(
  'the last use survives a restart although the file times do not show it, with one record per hour',
  async (t) => {
    const time = fakeTime(t);
    const dir = await temporaryDirectory(t);
    const log = join(dir, '.hotblob', 'last-uses');
    const open = () => directoryStore(dir, { retain: [{ maxAgeMs: 10 * HOUR_MS }] });
    await createFiles(dir, { read: 9, unused: 9 });
    let store = await open();
    await until('the directory has been scanned', () => store.stats().artifacts === 2);
    for (let count = 0; count < 10; count++) {
      store.get('read');
      store.get(`missing ${count}`);
      await time.advance(60_000);
      await until('the last use is on the disk', () =>
        stat(log).then(
          ({ size }) => size === 12,
          () => false,
        ),
      );
    }
    await store.close();
    await time.advance(5 * HOUR_MS);
    store = await open();
    t.teardown(() => store.close());
    await until('the unused artifact has expired', () => store.stats().expired === 1);
    t.deepEqual(await artifactsIn(dir), ['read']);
    for await (const { usedAt = 0 } of store.list()) t.true(usedAt > Date.now() - 6 * HOUR_MS);
    await time.advance(6 * HOUR_MS);
    await until('the other artifact has expired', () => store.stats().expired === 1);
  },
);

test('a log that was torn by a crash is continued at its last whole record', async (t) => {
  const dir = await temporaryDirectory(t);
  const log = join(dir, '.hotblob', 'last-uses');
  await createFiles(dir, { a: 9, b: 9 });
  let store = await directoryStore(dir);
  store.get('a');
  await store.close();
  const whole = await readFile(log);
  t.is(whole.byteLength, 12);
  await writeFile(log, Buffer.concat([whole, whole.subarray(0, 5)]));
  store = await directoryStore(dir);
  store.get('b');
  await store.close();
  t.deepEqual([...(await readFile(log)).subarray(0, 12)], [...whole]);
  t.is((await stat(log)).size, 24);
  // A reader uses the log of the process that writes.
  const reader = await directoryStore(dir, { readOnly: true });
  for await (const { usedAt = 0 } of reader.list()) t.true(usedAt > Date.now() - HOUR_MS);
  await reader.close();
});

test('a time of the future in the log has no effect, and is replaced', async (t) => {
  const dir = await temporaryDirectory(t);
  const log = join(dir, '.hotblob', 'last-uses');
  await createFiles(dir, { a: 9 });
  let store = await directoryStore(dir);
  store.get('a');
  await store.close();
  const record = await readFile(log);
  record.writeUInt32LE(record.readUInt32LE(8) + 1_000_000, 8);
  await writeFile(log, record);
  store = await directoryStore(dir, { retain: [{ maxAgeMs: 8 * HOUR_MS }] });
  await until('the artifact has expired', () => store.stats().expired === 1);
  await createFiles(dir, { a: 9 });
  await store.close();
  store = await directoryStore(dir);
  store.get('a');
  await store.close();
  t.true((await readFile(log)).readUInt32LE(20) * 60_000 <= Date.now());
});
