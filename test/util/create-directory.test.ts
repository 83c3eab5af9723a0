import { stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'ava';
import { createDirectory } from '../../src/util/create-directory.js';
import { temporaryDirectory } from '../helpers/files.js';

test('creates the missing directories above, and returns the first', async (t) => {
  const dir = await temporaryDirectory(t);
  const path = join(dir, 'a', 'b', 'c');
  t.is(await createDirectory(path, 0o700), join(dir, 'a'));
  for (const created of [path, join(dir, 'a')]) t.is((await stat(created)).mode & 0o777, 0o700);
  t.is(await createDirectory(path, 0o700), undefined);
  t.is(await createDirectory(join(path, 'd'), 0o700), join(path, 'd'));
});

test('concurrent calls for one path all succeed', async (t) => {
  const dir = await temporaryDirectory(t);
  const path = join(dir, 'a', 'b', 'c');
  await t.notThrowsAsync(Promise.all(Array.from({ length: 20 }, () => createDirectory(path, 0o700))));
  t.true((await stat(path)).isDirectory());
});

test('accepts a symbolic link to a directory', async (t) => {
  const dir = await temporaryDirectory(t);
  await symlink(dir, join(dir, 'link'));
  t.is(await createDirectory(join(dir, 'link'), 0o700), undefined);
  t.is(await createDirectory(join(dir, 'link', 'a'), 0o700), join(dir, 'link', 'a'));
});

test('rejects for a file, the child of a file, and a symbolic link without a target', async (t) => {
  const dir = await temporaryDirectory(t);
  await writeFile(join(dir, 'file'), '');
  await symlink(join(dir, 'missing', 'target'), join(dir, 'link'));
  await t.throwsAsync(createDirectory(join(dir, 'file'), 0o700), { code: 'EEXIST' });
  await t.throwsAsync(createDirectory(join(dir, 'file', 'a', 'b'), 0o700), { code: 'ENOTDIR' });
  await t.throwsAsync(createDirectory(join(dir, 'link'), 0o700), { code: 'ENOENT' });
  await t.throwsAsync(createDirectory(join(dir, 'link', 'a'), 0o700), { code: 'ENOENT' });
});

(process.platform === 'linux' ? test : test.skip)('rejects where the system cannot create directories', async (t) => {
  await t.throwsAsync(createDirectory('/proc/hotblob/a', 0o700), { code: 'ENOENT' });
});
