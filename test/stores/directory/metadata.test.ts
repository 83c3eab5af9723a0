import { execFileSync, fork } from 'node:child_process';
import { once } from 'node:events';
import { chmod, copyFile, readdir, readFile, rename, rm, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import type { UploadMetadata } from '../../../src/contract/artifact.js';
import { Sidecars } from '../../../src/stores/directory/metadata.js';
import { type DirectoryStore, directoryStore } from '../../../src/stores/directory/store.js';
import { PRIVATE } from '../../../src/util/permissions.js';
import { until } from '../../helpers/poll.js';
import { content, corruptEvents, entriesBelow, located, put, refusal, temporaryDirectory } from '../fixture.js';

const OLD = { contentType: 'text/old', headers: { 'x-artifact-tag': 'old' } };
const NEW = { cacheControl: 'max-age=1', headers: { 'x-artifact-tag': 'new' } };
const HOUR_MS = 60 * 60 * 1000;
const PROGRAM = fileURLToPath(new URL('../describing-child.ts', import.meta.url));

/** Returns the metadata of an artifact, without undefined fields. */
async function metadataOf(store: DirectoryStore, key: string): Promise<UploadMetadata> {
  const { contentType, contentEncoding, cacheControl, headers } = (await store.get(key)) ?? {};
  return Object.fromEntries(
    Object.entries({ contentType, contentEncoding, cacheControl, headers }).filter(([, value]) => value !== undefined),
  );
}

/** Returns the paths of the sidecar files relative to the directory of the store. */
async function sidecarsIn(store: DirectoryStore): Promise<string[]> {
  const names = await entriesBelow(store.root);
  return names.filter((name) => name.startsWith('.hotblob/metadata/') && !name.endsWith('/'));
}

test('without any metadata, lookups are synchronous and no sidecar files are created', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', 'x');
  await put(store, 'b', 'x', { metadata: { contentType: 'application/octet-stream' } });
  t.deepEqual(located(store, 'a'), { kind: 'file', path: join(store.root, 'a'), immutable: false, root: store.root });
  t.deepEqual(await entriesBelow(store.root), ['a', 'b']);
});

test('a lookup is synchronous shortly after another one of the same key', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'plain', 'x');
  await put(store, 'a', 'x', { metadata: OLD });
  for (const key of ['a', 'plain']) {
    const [first, second] = [store.get(key), store.get(key)];
    t.true(first instanceof Promise && second instanceof Promise);
    t.deepEqual(await first, await second);
    t.like(located(store, key), key === 'a' ? OLD : { kind: 'file', path: join(store.root, key) });
    await until('the entry is revalidated', () => store.get(key) instanceof Promise);
  }
  t.true(store.get('none') instanceof Promise);
  await store.get('none');
  t.true(store.get('none') instanceof Promise, 'a miss is not cached');
});

test('a file that is rewritten with its size and modification time kept has no metadata, unless files are immutable', async (t) => {
  for (const immutable of [false, true]) {
    const dir = await temporaryDirectory(t);
    const store = await directoryStore(dir, { immutable });
    await put(store, 'a', content(1000), { metadata: OLD });
    const [path, saved] = [join(dir, 'a'), join(dir, 'saved')];
    execFileSync('cp', ['-p', path, saved]);
    const before = await stat(path, { bigint: true });
    for (const expected of [OLD, immutable ? OLD : {}]) {
      t.deepEqual(await metadataOf(store, 'a'), expected);
      const restarted = await directoryStore(dir, { immutable });
      t.deepEqual(await metadataOf(restarted, 'a'), expected);
      await restarted.close();
      // With the promise only the mode may change.
      if (!immutable) await writeFile(path, content(1000, 1));
      await chmod(path, 0o600);
      execFileSync('touch', ['-r', saved, path]);
      t.is((await stat(path, { bigint: true })).mtimeNs, before.mtimeNs);
      await until('the entry is revalidated', () => store.get('a') instanceof Promise);
    }
    await store.close();
  }
});

test('metadata survives a restart, in a sidecar file next to the unchanged artifact', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir);
  await put(store, 'a/b', content(1000), { metadata: OLD });
  await store.close();
  const again = await directoryStore(dir);
  t.deepEqual(await metadataOf(again, 'a/b'), OLD);
  t.true((await readFile(join(dir, 'a/b'))).equals(content(1000)));
  const [sidecar = '', ...others] = await sidecarsIn(again);
  t.deepEqual(others, []);
  t.regex(sidecar, /^\.hotblob\/metadata\/[0-9a-f]{2}\/[0-9a-f]{2}\/[0-9a-f]{60}-[0-9a-z]+-rs-[0-9a-z]+$/);
});

test('an overwrite, a deletion and an eviction remove the sidecar file', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 44_000 });
  await put(store, 'a', content(100), { metadata: OLD });
  await put(store, 'a', content(100), { metadata: NEW });
  t.deepEqual(await metadataOf(store, 'a'), NEW);
  t.is((await sidecarsIn(store)).length, 1);
  await put(store, 'a', content(100));
  t.deepEqual(await metadataOf(store, 'a'), {});
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
  t.deepEqual(await metadataOf(store, 'b'), NEW);
});

const REPLACEMENTS: Readonly<Record<string, (path: string, other: string) => Promise<unknown>>> = {
  'by mv': (path, other) => rename(other, path),
  'by a copy over it': (path, other) => copyFile(other, path),
  'by truncation': (path) => truncate(path, 500),
  'by a file of the same time and size': async (path, other) => {
    const { atime, mtime } = await stat(path);
    await utimes(other, atime, mtime);
    await rename(other, path);
  },
};

for (const [way, replace] of Object.entries(REPLACEMENTS)) {
  test(`a file that is replaced ${way} has no metadata`, async (t) => {
    const dir = await temporaryDirectory(t);
    const store = await directoryStore(join(dir, 'store'));
    await put(store, 'a', content(1000), { metadata: OLD });
    t.deepEqual(await metadataOf(store, 'a'), OLD);
    await writeFile(join(dir, 'other'), content(1000, 1));
    await replace(join(store.root, 'a'), join(dir, 'other'));
    t.deepEqual(await metadataOf(await directoryStore(store.root), 'a'), {}, 'in a store without a cached lookup');
    await until('the entry is revalidated', async () => (await metadataOf(store, 'a')).contentType === undefined);
    t.deepEqual(await metadataOf(store, 'a'), {});
    await put(store, 'a', content(1000), { metadata: NEW });
    t.deepEqual(await metadataOf(store, 'a'), NEW);
  });
}

test('a file that is renamed to another key has no metadata', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', content(1000), { metadata: OLD });
  await rename(join(store.root, 'a'), join(store.root, 'b'));
  t.deepEqual(await metadataOf(store, 'b'), {});
});

test('sees metadata written by another process, the first and later ones', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir);
  const other = await directoryStore(dir);
  await put(store, 'a', content(10));
  t.is(located(other, 'a').contentType, undefined);
  await put(store, 'a', content(20), { metadata: OLD });
  await until('the first metadata is seen', async () => (await metadataOf(other, 'a')).contentType === 'text/old');
  await put(store, 'a', content(20), { metadata: NEW });
  await until('the new metadata is seen', async () => (await metadataOf(other, 'a')).cacheControl === 'max-age=1');
  t.deepEqual(await metadataOf(other, 'a'), NEW);
  await put(store, 'a', content(20));
  await until('the removal is seen', async () => (await metadataOf(other, 'a')).headers === undefined);
  t.deepEqual(await sidecarsIn(store), []);
});

test('after concurrent uploads of two stores to one key, body and metadata are of the same upload', async (t) => {
  const dir = await temporaryDirectory(t);
  const stores = await Promise.all([directoryStore(dir), directoryStore(dir)]);
  for (let round = 0; round < 10; round++) {
    await Promise.all(
      Array.from({ length: 8 }, (_, index) => {
        const metadata = index % 4 === 3 ? {} : { headers: { 'x-artifact-length': `${1000 + index}` } };
        return put(stores[index % 2] ?? stores[0], 'a', content(1000 + index), { metadata });
      }),
    );
    const { size } = await stat(join(dir, 'a'));
    const expected = (size - 1000) % 4 === 3 ? {} : { headers: { 'x-artifact-length': `${size}` } };
    t.deepEqual(await metadataOf(await directoryStore(dir), 'a'), expected);
  }
});

test('a failed upload leaves no sidecar file', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', content(10), { metadata: OLD });
  await t.throwsAsync(put(store, 'a/b', content(10), { metadata: NEW }), refusal('ERR_HOTBLOB_INVALID_KEY'));
  const tooMuch = { headers: { 'x-artifact-tag': 'x'.repeat(5000) } };
  await t.throwsAsync(put(store, 'a', content(10), { metadata: tooMuch }), refusal('ERR_HOTBLOB_METADATA_TOO_LARGE'));
  t.is((await sidecarsIn(store)).length, 1);
  t.deepEqual(await metadataOf(store, 'a'), OLD);
});

test('an artifact whose metadata is corrupt is a miss, reported once, and removed', async (t) => {
  for (const corrupt of ['', '\n', '"a"\n', '"b"\n{"t":"text/old"}', `"a"\n{"t":7}`]) {
    const store = await directoryStore(await temporaryDirectory(t));
    const events = corruptEvents(t, store.root);
    await put(store, 'a', content(10), { metadata: OLD });
    const [sidecar = ''] = await sidecarsIn(store);
    await writeFile(join(store.root, sidecar), corrupt);
    const reader = await directoryStore(store.root, { readOnly: true });
    for (let attempt = 0; attempt < 2; attempt++) t.is(await reader.get('a'), undefined);
    t.is(reader.stats().corrupt, 1);
    t.deepEqual(
      events.splice(0).map((details) => /^a: the metadata of 'a' .*\.hotblob/.test(details)),
      [true],
    );
    const fresh = await directoryStore(store.root);
    t.is(await fresh.get('a'), undefined);
    t.is(events.splice(0).length, 1);
    t.is(fresh.stats().corrupt, 1);
    t.deepEqual(await sidecarsIn(fresh), []);
    t.false((await readdir(fresh.root)).includes('a'));
    await put(fresh, 'a', content(10), { metadata: NEW });
    t.deepEqual(await metadataOf(fresh, 'a'), NEW);
  }
});

test('a replacement of an artifact whose metadata is corrupt is kept', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 10_000_000 });
  t.teardown(() => store.close());
  for (let round = 0; round < 60; round++) {
    const key = `${round}`;
    await put(store, key, content(10), { metadata: OLD });
    const fresh = await directoryStore(store.root, { maxBytes: 10_000_000 });
    t.teardown(() => fresh.close());
    for (const sidecar of await sidecarsIn(store)) await writeFile(join(store.root, sidecar), '');
    // The upload replaces the artifact before, while or after the lookup finds that it is corrupt.
    const upload = put(fresh, key, content(11));
    for (let turn = 0; turn < round; turn++) await nextTurn();
    await Promise.all([fresh.get(key), upload]);
    t.is((await stat(join(store.root, key))).size, 11, `after ${round} turns`);
    await fresh.delete(key);
  }
});

test('an upload with ifAbsent replaces an artifact whose metadata is corrupt', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  await put(store, 'a', content(10), { metadata: OLD });
  const [sidecar = ''] = await sidecarsIn(store);
  await writeFile(join(store.root, sidecar), '');
  const fresh = await directoryStore(store.root);
  await put(fresh, 'a', content(10), { metadata: NEW, ifAbsent: true });
  t.deepEqual(await metadataOf(fresh, 'a'), NEW);
});

test('opening the store removes sidecar files of missing artifacts that are older than an hour', async (t) => {
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
  await until('stale sidecar files are removed', async () => (await sidecarsIn(again)).length === 2);
  t.deepEqual(await metadataOf(again, 'kept'), OLD);
  t.deepEqual(await metadataOf(again, 'replaced'), {});
  await again.close();
  t.is((await sidecarsIn(again)).length, 2, 'the young one may belong to an upload in flight');
});

test('after a kill at any moment, body and metadata of an artifact belong together', async (t) => {
  const dir = await temporaryDirectory(t);
  for (let round = 0; round < 4; round++) {
    const child = fork(PROGRAM, [dir, String(round)], { execArgv: ['--import=tsx'] });
    t.teardown(() => child.kill('SIGKILL'));
    const exit = once(child, 'exit');
    let count = 0;
    child.on('message', () => count++);
    await until('some uploads are complete', () => count > 20 + 3 * round || child.exitCode !== null);
    child.kill('SIGKILL');
    t.deepEqual(await exit, [null, 'SIGKILL']);
    const store = await directoryStore(dir);
    for (const key of (await readdir(dir)).filter((name) => !name.startsWith('.'))) {
      const body = await readFile(join(dir, key), 'utf8');
      const described = (await metadataOf(store, key)).headers?.['x-artifact-body'];
      t.is(described, body.startsWith('described') ? body : undefined, key);
    }
    await store.close();
  }
});

test('writes sidecar files while a sweep removes their empty directories', async (t) => {
  const sidecars = new Sidecars(await temporaryDirectory(t), true, PRIVATE);
  let isDone = false;
  const sweeping = (async () => {
    while (!isDone) await sidecars.sweep(() => isDone);
  })();
  try {
    for (let ino = 0n; ino < 2000n; ino++) {
      const body = { ino, size: 1n, mtimeNs: 1n, ctimeNs: 1n };
      await sidecars.write('a', body, Buffer.from('{"t":"text/new"}'));
      t.deepEqual(await sidecars.read('a', body), { contentType: 'text/new' });
      await sidecars.remove('a', body);
    }
  } finally {
    isDone = true;
    await sweeping;
  }
});
