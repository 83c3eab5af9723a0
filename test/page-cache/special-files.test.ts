import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { assertAllBack, assertBytes, openFileSite } from '../helpers/file-site.js';
import { temporaryDirectory, writePattern } from '../helpers/files.js';
import { descriptorsBelow } from '../helpers/page-cache.js';
import { until } from '../helpers/poll.js';

test('a path that is not a regular file is a miss, and opening it does not block', async (t) => {
  const site = await openFileSite(t, 'http', {
    artifact: (key) => (key === 'device' ? { path: '/dev/null' } : key === 'tty' ? { path: '/dev/ptmx' } : {}),
  });
  const { directory } = site;
  mkdirSync(join(directory, 'directory'));
  execFileSync('mkfifo', [join(directory, 'fifo')]);
  symlinkSync('loop', join(directory, 'loop'));
  symlinkSync('nowhere', join(directory, 'dangling'));
  writeFileSync(join(directory, 'file'), 'x');
  const names = ['directory', 'fifo', 'device', 'tty', 'loop', 'dangling', 'nothing', 'file/below', 'x'.repeat(300)];
  for (const method of ['GET', 'HEAD']) {
    for (const name of names) t.is((await site.get(name, { method })).status, 404, `${method} ${name}`);
  }
  t.is((await site.get('file')).status, 200);
  t.deepEqual(descriptorsBelow(directory), [join(directory, 'file')]);
  await assertAllBack(t, site);
});

test('a symbolic link out of the root is a miss, a link inside the root is followed', async (t) => {
  const outside = await temporaryDirectory(t);
  const root = await temporaryDirectory(t);
  const site = await openFileSite(t, 'http', { directory: root, artifact: { root } });
  const secret = writePattern(outside, 'secret', 100, 1);
  const inside = writePattern(root, 'inside', 100, 2);
  // The path of this directory starts with the path of the root, but the directory is not below the root.
  const neighbour = `${root}-neighbour`;
  mkdirSync(neighbour);
  writePattern(neighbour, 'secret', 100, 3);
  t.teardown(() => execFileSync('rm', ['-r', neighbour]));
  symlinkSync(join(outside, 'secret'), join(root, 'out'));
  symlinkSync(outside, join(root, 'out-directory'));
  symlinkSync(join(neighbour, 'secret'), join(root, 'neighbour'));
  symlinkSync('inside', join(root, 'in'));
  for (const key of ['out', 'out-directory/secret', 'neighbour']) t.is((await site.get(key)).status, 404, key);
  assertBytes(t, (await site.get('in')).body, inside);
  assertBytes(t, (await site.get('inside')).body, inside);
  t.deepEqual([...new Set(descriptorsBelow(root))], [join(root, 'inside')]);
  const open = await openFileSite(t, 'http', { directory: root });
  assertBytes(t, (await open.get('out')).body, secret, 'without a root');
  await assertAllBack(t, site);
});

test('a root applies to each request that has one, even if the file is already open without a root', async (t) => {
  const outside = await temporaryDirectory(t);
  const directory = await temporaryDirectory(t);
  writePattern(outside, 'secret', 100, 1);
  symlinkSync(join(outside, 'secret'), join(directory, 'link'));
  const site = await openFileSite(t, 'http', {
    directory,
    artifact: (key) => ({ path: join(directory, 'link'), ...(key === 'rooted' && { root: directory }) }),
  });
  for (let round = 0; round < 3; round++) {
    t.is((await site.get('free')).status, 200);
    t.is((await site.get('rooted')).status, 404);
    const concurrent = await Promise.all(['free', 'rooted', 'free', 'rooted'].map((key) => site.get(key)));
    t.deepEqual(
      concurrent.map(({ status }) => status),
      [200, 404, 200, 404],
    );
  }
});

test('a file that became empty has an empty body, and a region beyond the end of its file is answered with 500', async (t) => {
  const site = await openFileSite(t, 'http', {
    artifact: (key) => (key === 'region' ? { path: join(site.directory, 'file'), offset: 10, length: 90 } : {}),
  });
  writePattern(site.directory, 'file', 100, 1);
  t.is((await site.get('region')).body.byteLength, 90);
  truncateSync(join(site.directory, 'file'), 50);
  const unchecked = await site.get('region').catch(() => undefined);
  t.true(unchecked === undefined || unchecked.status === 500);
  const status = async (key: string) => (await site.get(key, { method: 'HEAD' })).status;
  await until('the path is checked again', async () => (await status('region')) === 500);
  t.is((await site.get('region')).status, 500);
  truncateSync(join(site.directory, 'file'), 0);
  await until(
    'the empty file is served',
    async () => (await site.get('file', { method: 'HEAD' })).headers['content-length'] === '0',
  );
  const empty = await site.get('file');
  t.deepEqual([empty.status, empty.body.byteLength], [200, 0]);
  await assertAllBack(t, site);
});
