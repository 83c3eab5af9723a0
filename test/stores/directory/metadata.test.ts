import { fork } from 'node:child_process';
import { once } from 'node:events';
import { copyFile, readdir, readFile, rename, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { UploadMetadata } from '../../../src/contract/artifact.js';
import { Sidecars } from '../../../src/stores/directory/metadata.js';
import { type DirectoryStore, directoryStore } from '../../../src/stores/directory/store.js';
import { until } from '../../helpers/poll.js';
import { content, entriesBelow, located, put, refusal, temporaryDirectory } from '../fixture.js';

const OLD = { contentType: 'text/old', headers: { 'x-artifact-tag': 'old' } };
const NEW = { cacheControl: 'max-age=1', headers: { 'x-artifact-tag': 'new' } };
const HOUR_MS = 60 * 60 * 1000;
const PROGRAM = fileURLToPath(new URL('../describing-child.ts', import.meta.url));

/** What is said about an artifact. */
async function saidIn(store: DirectoryStore, key: string): Promise<UploadMetadata> {
  const { contentType, contentEncoding, cacheControl, headers } = await store.get(key);
  return Object.fromEntries(
    Object.entries({ contentType, contentEncoding, cacheControl, headers }).filter(([, value]) => value !== undefined),
  );
}

/** The files in which metadata is, by their names below the directory of the store. */
async function sidecarsIn(store: DirectoryStore): Promise<string[]> {
  const names = await entriesBelow(store.root);
  return names.filter((name) => name.startsWith('.hotblob/metadata/') && !name.endsWith('/'));
}

test('where nothing was ever said, lookups are answered at once, and nothing is there for it', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', 'x');
  await put(store, 'b', 'x', { metadata: { contentType: 'application/octet-stream' } });
  t.deepEqual(located(store, 'a'), { kind: 'file', path: join(store.root, 'a'), immutable: false, root: store.root });
  t.deepEqual(await entriesBelow(store.root), ['a', 'b']);
});

test('a lookup is answered at once where another one is not long ago', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'plain', 'x');
  await put(store, 'a', 'x', { metadata: OLD });
  for (const key of ['a', 'plain']) {
    const [first, second] = [store.get(key), store.get(key)];
    t.true(first instanceof Promise && second instanceof Promise);
    t.deepEqual(await first, await second);
    t.like(located(store, key), key === 'a' ? OLD : { kind: 'file', path: join(store.root, key) });
    await until('it is looked at again', () => store.get(key) instanceof Promise);
  }
  t.true(store.get('none') instanceof Promise);
  await store.get('none');
  t.true(store.get('none') instanceof Promise, 'a miss is not remembered');
});

test('it is there for the next process, in a file that the artifact does not know of', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir);
  await put(store, 'a/b', content(1000), { metadata: OLD });
  await store.close();
  const again = await directoryStore(dir);
  t.deepEqual(await saidIn(again, 'a/b'), OLD);
  t.true((await readFile(join(dir, 'a/b'))).equals(content(1000)));
  const [sidecar = '', ...others] = await sidecarsIn(again);
  t.deepEqual(others, []);
  t.regex(sidecar, /^\.hotblob\/metadata\/[0-9a-f]{2}\/[0-9a-f]{2}\/[0-9a-f]{60}-[0-9a-z]+-rs-[0-9a-z]+$/);
});

test('an overwrite, a deletion and an eviction take the file of it along', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 1000 });
  await put(store, 'a', content(100), { metadata: OLD });
  await put(store, 'a', content(100), { metadata: NEW });
  t.deepEqual(await saidIn(store, 'a'), NEW);
  t.is((await sidecarsIn(store)).length, 1);
  await put(store, 'a', content(100));
  t.deepEqual(await saidIn(store, 'a'), {});
  t.deepEqual(await sidecarsIn(store), []);
  await put(store, 'a', content(100), { metadata: OLD });
  t.true(await store.delete('a'));
  t.deepEqual(await sidecarsIn(store), []);
  await put(store, 'a', content(600), { metadata: OLD });
  await put(store, 'b', content(600), { metadata: NEW });
  t.deepEqual(
    (await entriesBelow(store.root)).filter((name) => !name.startsWith('.')),
    ['b'],
  );
  t.is((await sidecarsIn(store)).length, 1);
  t.deepEqual(await saidIn(store, 'b'), NEW);
});

test('it is not counted: an artifact of the size of the limit fits with it', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 1000 });
  await put(store, 'a', content(1000), { metadata: OLD });
  t.deepEqual(await saidIn(store, 'a'), OLD);
});

const REPLACEMENTS: Readonly<Record<string, (path: string, other: string) => Promise<unknown>>> = {
  'by mv': (path, other) => rename(other, path),
  'by a copy in its place': (path, other) => copyFile(other, path),
  'by what is shorter': (path) => truncate(path, 500),
  'by what has its time and size': async (path, other) => {
    const { atime, mtime } = await stat(path);
    await utimes(other, atime, mtime);
    await rename(other, path);
  },
};

for (const [way, replace] of Object.entries(REPLACEMENTS)) {
  test(`what somebody has put in the place of an artifact has no metadata: ${way}`, async (t) => {
    const dir = await temporaryDirectory(t);
    const store = await directoryStore(join(dir, 'store'));
    await put(store, 'a', content(1000), { metadata: OLD });
    t.deepEqual(await saidIn(store, 'a'), OLD);
    await writeFile(join(dir, 'other'), content(1000, 1));
    await replace(join(store.root, 'a'), join(dir, 'other'));
    t.deepEqual(await saidIn(await directoryStore(store.root), 'a'), {}, 'to whoever has not looked before');
    await until('it is looked at again', async () => (await saidIn(store, 'a')).contentType === undefined);
    t.deepEqual(await saidIn(store, 'a'), {});
    await put(store, 'a', content(1000), { metadata: NEW });
    t.deepEqual(await saidIn(store, 'a'), NEW);
  });
}

test('an artifact that is moved to another key leaves its metadata behind', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', content(1000), { metadata: OLD });
  await rename(join(store.root, 'a'), join(store.root, 'b'));
  t.deepEqual(await saidIn(store, 'b'), {});
});

test('another process is seen: the first that says something, and the next', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir);
  const other = await directoryStore(dir);
  await put(store, 'a', content(10));
  t.is(located(other, 'a').contentType, undefined);
  await put(store, 'a', content(20), { metadata: OLD });
  await until('it is seen', async () => (await saidIn(other, 'a')).contentType === 'text/old');
  await put(store, 'a', content(20), { metadata: NEW });
  await until('the next one is seen', async () => (await saidIn(other, 'a')).cacheControl === 'max-age=1');
  t.deepEqual(await saidIn(other, 'a'), NEW);
  await put(store, 'a', content(20));
  await until('that it has gone is seen', async () => (await saidIn(other, 'a')).headers === undefined);
  t.deepEqual(await sidecarsIn(store), []);
});

test('two processes put the same key at the same time: the artifact has its own metadata', async (t) => {
  const dir = await temporaryDirectory(t);
  const stores = await Promise.all([directoryStore(dir), directoryStore(dir)]);
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      Array.from({ length: 8 }, (_, index) => {
        const metadata = index % 4 === 3 ? {} : { headers: { length: `${1000 + index}` } };
        return put(stores[index % 2] ?? stores[0], 'a', content(1000 + index), { metadata });
      }),
    );
    const { size } = await stat(join(dir, 'a'));
    const expected = (size - 1000) % 4 === 3 ? {} : { headers: { length: `${size}` } };
    t.deepEqual(await saidIn(await directoryStore(dir), 'a'), expected);
  }
});

test('an upload that cannot be placed leaves nothing of it', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', content(10), { metadata: OLD });
  await t.throwsAsync(put(store, 'a/b', content(10), { metadata: NEW }), refusal('ERR_HOTBLOB_INVALID_KEY'));
  const tooMuch = { headers: { tag: 'x'.repeat(5000) } };
  await t.throwsAsync(put(store, 'a', content(10), { metadata: tooMuch }), refusal('ERR_HOTBLOB_METADATA_TOO_LARGE'));
  t.is((await sidecarsIn(store)).length, 1);
  t.deepEqual(await saidIn(store, 'a'), OLD);
});

test('metadata that is damaged is an error, until the artifact is put again', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', content(10), { metadata: OLD });
  const [sidecar = ''] = await sidecarsIn(store);
  const whole = await readFile(join(store.root, sidecar));
  for (const damaged of ['', '\n', '"a"\n', '"b"\n{"t":"text/old"}', `"a"\n{"t":7}`, whole.subarray(0, -1)]) {
    await writeFile(join(store.root, sidecar), damaged);
    const fresh = await directoryStore(store.root);
    await t.throwsAsync(async () => fresh.get('a'), refusal('ERR_HOTBLOB_CORRUPT', /metadata of 'a' .*\.hotblob/));
  }
  await put(store, 'a', content(10), { metadata: NEW });
  t.deepEqual(await saidIn(store, 'a'), NEW);
  t.is((await sidecarsIn(store)).length, 1);
});

test('what artifacts that were taken away have left is removed at the next opening, after an hour', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  for (const key of ['kept', 'taken', 'replaced', 'young']) await put(store, key, key, { metadata: OLD });
  const before = await sidecarsIn(store);
  t.is(before.length, 4);
  await rm(join(store.root, 'taken'));
  await rm(join(store.root, 'young'));
  await writeFile(join(store.root, 'new'), 'x');
  await rename(join(store.root, 'new'), join(store.root, 'replaced'));
  const twoHoursAgo = new Date(Date.now() - 2 * HOUR_MS);
  for (const name of before) {
    const path = join(store.root, name);
    const isYoung = (await readFile(path, 'utf8')).startsWith('"young"');
    if (!isYoung) await utimes(path, twoHoursAgo, twoHoursAgo);
  }
  const again = await directoryStore(store.root);
  await until('it is swept', async () => (await sidecarsIn(again)).length === 2);
  t.deepEqual(await saidIn(again, 'kept'), OLD);
  t.deepEqual(await saidIn(again, 'replaced'), {});
  await again.close();
  t.is((await sidecarsIn(again)).length, 2, 'and the young one may belong to an upload');
});

test('whenever the process is killed, an artifact has its own metadata', async (t) => {
  const dir = await temporaryDirectory(t);
  for (let round = 0; round < 4; round++) {
    const child = fork(PROGRAM, [dir, String(round)], { execArgv: ['--import=tsx'] });
    t.teardown(() => child.kill('SIGKILL'));
    const exit = once(child, 'exit');
    let count = 0;
    child.on('message', () => count++);
    await until('it has put some', () => count > 20 + 3 * round || child.exitCode !== null);
    child.kill('SIGKILL');
    t.deepEqual(await exit, [null, 'SIGKILL']);
    const store = await directoryStore(dir);
    for (const key of (await readdir(dir)).filter((name) => !name.startsWith('.'))) {
      const body = await readFile(join(dir, key), 'utf8');
      const said = (await saidIn(store, key)).headers?.['x-body'];
      t.is(said, body.startsWith('described') ? body : undefined, key);
    }
    await store.close();
  }
});

test('an upload that says something about itself is taken while a sweep removes the directories for that', async (t) => {
  const sidecars = new Sidecars(await temporaryDirectory(t));
  let isOver = false;
  const sweeping = (async () => {
    while (!isOver) await sidecars.sweep(() => isOver);
  })();
  try {
    for (let ino = 0n; ino < 2000n; ino++) {
      const body = { ino, size: 1n, mtimeNs: 1n };
      await sidecars.write('a', body, Buffer.from('{"t":"text/new"}'));
      t.deepEqual(await sidecars.read('a', body), { contentType: 'text/new' });
      await sidecars.remove('a', body);
    }
  } finally {
    isOver = true;
    await sweeping;
  }
});
