import { chmod, mkdir, readdir, readFile, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { join, relative, sep } from 'node:path';
import test from 'ava';
import fc from 'fast-check';
import { HotblobError } from '../../../src/contract/errors.js';
import { directoryStore } from '../../../src/stores/directory/store.js';
import { heapShareOfUrls } from '../../helpers/long-urls.js';
import {
  assertFile,
  content,
  entriesBelow,
  giveToUnprivileged,
  located,
  put,
  refusal,
  temporaryDirectory,
  unprivileged,
} from '../fixture.js';

test.serial('serves a read-only directory', async (t) => {
  const dir = await temporaryDirectory(t);
  await writeFile(join(dir, 'a'), 'x');
  await chmod(dir, 0o555);
  await unprivileged(async () => {
    const store = await directoryStore(dir, { maxBytes: 100_000 });
    t.is(await readFile(located(store, 'a').path, 'utf8'), 'x');
    await t.throwsAsync(put(store, 'b', 'x'), { code: 'EACCES' });
    await t.throwsAsync(store.delete('a'), { code: 'EACCES' });
    await store.close();
  });
});

test.serial('rejects a directory without read or search permission', async (t) => {
  const dir = await temporaryDirectory(t);
  const unreadable = join(dir, 'unreadable');
  await mkdir(unreadable);
  await chmod(dir, 0o755);
  await giveToUnprivileged(unreadable);
  await unprivileged(async () => {
    for (const mode of [0o200, 0o300, 0o600]) {
      await chmod(unreadable, mode);
      await t.throwsAsync(
        directoryStore(unreadable),
        refusal('ERR_HOTBLOB_INVALID_OPTION', /^dir: .*EACCES at .*unreadable/),
      );
    }
    const absent = join(unreadable, 'absent');
    await t.throwsAsync(directoryStore(absent), refusal('ERR_HOTBLOB_INVALID_OPTION', /^dir: .*EACCES/));
  });
});

test('a directory created by a store is immutable, also when it is opened again', async (t) => {
  const dir = join(await temporaryDirectory(t), 'x', 'y');
  const store = await directoryStore(dir);
  t.true(store.immutable);
  t.deepEqual(store.get('a/b'), { kind: 'file', path: join(dir, 'a', 'b'), immutable: true, root: dir });
  t.true((await directoryStore(dir)).immutable);
  const denied = await directoryStore(dir, { immutable: false });
  t.false(denied.immutable);
  t.false(located(denied, 'a').immutable);
});

test('a directory is immutable in each of several processes that create it at once', async (t) => {
  const parent = await temporaryDirectory(t);
  for (let round = 0; round < 30; round++) {
    const dir = join(parent, `${round}`, 'a/');
    const stores = await Promise.all(Array.from({ length: 3 }, () => directoryStore(dir)));
    t.deepEqual(
      stores.map(({ immutable }) => immutable),
      [true, true, true],
    );
    t.deepEqual(await readdir(join(parent, `${round}`)), ['a']);
  }
});

test('close() waits for an upload with ifAbsent', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t));
  const upload = put(store, 'a', 'x', { ifAbsent: true });
  await store.close();
  t.deepEqual(await entriesBelow(store.root), ['a']);
  await upload;
});

test('an existing directory is immutable only with the option', async (t) => {
  const dir = await temporaryDirectory(t);
  for (const options of [undefined, {}, { immutable: undefined }]) {
    const store = await directoryStore(dir, options);
    await put(store, 'a', 'x');
    t.false(store.immutable);
    t.false(located(store, 'a').immutable);
  }
  const immutable = await directoryStore(dir, { immutable: true });
  t.true(immutable.immutable);
  t.true(located(immutable, 'a').immutable);
  t.false((await directoryStore(dir)).immutable);
});

test('root is absolute, with symbolic links resolved', async (t) => {
  const dir = await temporaryDirectory(t);
  await mkdir(join(dir, 'real'));
  await symlink('real', join(dir, 'link'));
  const store = await directoryStore(relative(process.cwd(), join(dir, 'link')));
  t.is(store.root, join(dir, 'real'));
  t.is(located(store, 'a').root, store.root);
  t.is(located(store, 'a').path, join(dir, 'real', 'a'));
  t.is(located(await directoryStore('/'), 'a/b').path, '/a/b');
});

test('rejects a file as directory', async (t) => {
  const file = join(await temporaryDirectory(t), 'file');
  await writeFile(file, 'x');
  await t.throwsAsync(directoryStore(file), refusal('ERR_HOTBLOB_INVALID_OPTION', /^dir: .*a file at '.*file'/));
  await t.throwsAsync(directoryStore(join(file, 'a')), refusal('ERR_HOTBLOB_INVALID_OPTION', /^dir: .*a file at/));
});

test('validates options and does not change them', async (t) => {
  const dir = join(await temporaryDirectory(t), 'store');
  const refused = (options: object, message: RegExp) =>
    t.throwsAsync(directoryStore(dir, options), refusal('ERR_HOTBLOB_INVALID_OPTION', message));
  await refused(
    { maxByte: 1 },
    /^unknown option 'maxByte'; expected one of immutable, maxBytes, retain, groupAccess, readOnly$/,
  );
  await refused({ maxBytes: '1' }, /^maxBytes: expected a whole number of bytes, 0 or more, received '1'$/);
  await refused({ maxBytes: -1 }, /^maxBytes: .* received -1$/);
  await refused({ immutable: 'yes' }, /^immutable: expected true or false, received 'yes'$/);
  // @ts-expect-error a wrong type is tested
  await t.throwsAsync(directoryStore(dir, null), refusal('ERR_HOTBLOB_INVALID_OPTION', /^options: .* received null$/));
  for (const wrong of ['', undefined, 7]) {
    // @ts-expect-error a wrong type is tested
    await t.throwsAsync(directoryStore(wrong), refusal('ERR_HOTBLOB_INVALID_OPTION', /^dir: expected the path/));
  }
  await t.throwsAsync(stat(dir), { code: 'ENOENT' }, 'an invalid option creates no directory');
  await t.notThrowsAsync(directoryStore(dir, Object.freeze({ maxBytes: undefined, immutable: undefined })));
});

test('removes temporary files of killed processes after a day', async (t) => {
  const dir = await temporaryDirectory(t);
  const uploads = join(dir, '.hotblob', 'uploads');
  await mkdir(uploads, { recursive: true });
  for (const [name, hours] of [
    ['old', 25],
    ['young', 23],
  ] as const) {
    await writeFile(join(uploads, name), 'x');
    const written = Date.now() / 1000 - hours * 3600;
    await utimes(join(uploads, name), written, written);
  }
  await directoryStore(dir);
  t.deepEqual(await entriesBelow(dir), ['.hotblob/uploads/young']);
});

test("rejects keys in the store's own directory", async (t) => {
  const dir = join(await temporaryDirectory(t), 'store');
  const store = await directoryStore(dir);
  for (const key of [
    '.hotblob',
    '.hotblob/immutable',
    '.hotblob/uploads/x',
    '.HotBlob/immutable',
    '.HOTBLOB',
    '.hot\u200cblob/immutable',
    '.\uff48otblob/immutable',
    'lo\u017ft+found/x',
  ]) {
    const error = refusal('ERR_HOTBLOB_INVALID_KEY', /which are reserved$/);
    t.throws(() => store.get(key), error);
    await t.throwsAsync(put(store, key, 'x'), error);
    await t.throwsAsync(store.delete(key), error);
  }
  for (const key of ['.hotblob2', '.hotblo', 'a/.hotblob/b', 'hotblob']) await put(store, key, 'x');
  t.deepEqual(await entriesBelow(dir), ['.hotblo', '.hotblob2', 'a/', 'a/.hotblob/', 'a/.hotblob/b', 'hotblob']);
});

test('every key is rejected or stored inside the directory', async (t) => {
  const parent = await temporaryDirectory(t);
  const store = await directoryStore(join(parent, 'store'));
  const segment = fc.oneof(
    fc.constantFrom('.', '..', '', '.hotblob', 'a', 'b', ' ', '%2e%2e', '~', '\\', '\0', 'c:', '...', 'x'.repeat(256)),
    fc.string({ unit: 'binary', maxLength: 8 }),
  );
  const keys = fc.array(segment, { minLength: 1, maxLength: 5 }).map((segments) => segments.join('/'));
  let stored = 0;
  await fc.assert(
    fc.asyncProperty(keys, fc.uint8Array({ maxLength: 8 }), async (key, bytes) => {
      try {
        await put(store, key, bytes);
      } catch (error) {
        const code = error instanceof HotblobError ? error.code : error;
        t.true(code === 'ERR_HOTBLOB_INVALID_KEY' || code === 'ERR_HOTBLOB_KEY_TOO_LONG', String(error));
        return;
      }
      stored++;
      const { path } = located(store, key);
      t.true(path.startsWith(store.root + sep));
      t.deepEqual(await readFile(path), Buffer.from(bytes));
      t.true(await store.delete(key));
    }),
    { numRuns: 300 },
  );
  t.true(stored > 20, `${stored} keys were stored`);
  t.deepEqual(await entriesBelow(parent), [
    'store/',
    'store/.hotblob/',
    'store/.hotblob/immutable',
    'store/.hotblob/uploads/',
  ]);
});

test('delete() resolves to whether there was an artifact', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir);
  await put(store, 'a/b/c', 'x');
  await put(store, 'a/d', 'x');
  for (const key of ['z', 'a/z', 'z/z', 'a/d/z', 'a', 'a/b', `${'x'.repeat(256)}`])
    t.false(await store.delete(key), key);
  t.true(await store.delete('a/b/c'));
  t.false(await store.delete('a/b/c'));
  t.deepEqual(await entriesBelow(dir), ['a/', 'a/d'], 'an empty directory is removed too');
});

test('does not write or delete through symbolic links that lead out', async (t) => {
  const parent = await temporaryDirectory(t);
  const [dir, outside] = [join(parent, 'store'), join(parent, 'outside')];
  await mkdir(outside);
  await writeFile(join(outside, 'secret'), 'kept');
  const store = await directoryStore(dir);
  await symlink(outside, join(dir, 'out'));
  await symlink('..', join(dir, 'up'));
  await symlink('nowhere', join(dir, 'dangling'));
  await symlink('loop', join(dir, 'loop'));
  await symlink('.hotblob', join(dir, 'own'));
  for (const key of [
    'out/secret',
    'out/a',
    'out/new/a',
    'up/outside/secret',
    'dangling/a',
    'loop/a',
    'own/immutable',
  ]) {
    await t.throwsAsync(put(store, key, 'x'), refusal('ERR_HOTBLOB_INVALID_KEY', /symbolic link/), key);
    t.false(await store.delete(key), key);
  }
  t.deepEqual(await entriesBelow(outside), ['secret']);
  t.is(await readFile(join(outside, 'secret'), 'utf8'), 'kept');
  t.deepEqual(await entriesBelow(dir), ['dangling', 'loop', 'out', 'own', 'up']);
});

test('replaces and deletes a symbolic link in the place of an artifact without following it', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(join(dir, 'store'));
  await writeFile(join(dir, 'secret'), 'kept');
  await symlink('../secret', join(store.root, 'a'));
  await symlink('../secret', join(store.root, 'b'));
  t.false((await put(store, 'a', 'new')).created);
  t.is(await readFile(located(store, 'a').path, 'utf8'), 'new');
  t.true(await store.delete('b'));
  t.is(await readFile(join(dir, 'secret'), 'utf8'), 'kept');
  t.deepEqual(await entriesBelow(store.root), ['a']);
});

test('follows a symbolic link that stays inside the directory', async (t) => {
  const dir = await temporaryDirectory(t);
  const store = await directoryStore(dir);
  await mkdir(join(dir, 'real'));
  await symlink('real', join(dir, 'alias'));
  await put(store, 'alias/a/b', content(10));
  await assertFile(t, join(dir, 'real', 'a', 'b'), content(10));
  t.true(await store.delete('alias/a/b'));
});

test.serial('lookups do not keep the URLs in memory of which their keys are a part', async (t) => {
  const store = await directoryStore(await temporaryDirectory(t), { maxBytes: 1_000_000 });
  const share = await heapShareOfUrls(2000, (key) => store.get(key));
  t.true(share < 0.3, `${share} of the URLs are in memory`);
  await store.close();
});
