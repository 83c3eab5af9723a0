import { appendFile, chmod, link, rename, stat, truncate, unlink, utimes, writeFile } from 'node:fs/promises';
import test from 'ava';
import { entityTagsOf } from '../../src/page-cache/file-version.js';
import { openFileSite } from '../helpers/file-site.js';

/** Changes of a file after a download, and the body of the next response. */
const CHANGES: readonly {
  title: string;
  change(path: string): Promise<unknown>;
  body: string | undefined;
}[] = [
  { title: 'a file that was appended to', change: (path) => appendFile(path, ', more'), body: 'first, more' },
  { title: 'a file that was rewritten in place', change: (path) => writeFile(path, 'other'), body: 'other' },
  {
    title: 'a file that was rewritten with its size and modification time kept',
    change: rewriteSilently,
    body: 'FIRST',
  },
  { title: 'a file that was truncated', change: (path) => truncate(path, 3), body: 'fir' },
  { title: 'a file that was replaced by rename', change: (path) => renameOver(path, 'third'), body: 'third' },
  { title: 'a file that was deleted', change: unlink, body: undefined },
  { title: 'a file with another modification time', change: (path) => utimes(path, 1, 1), body: 'first' },
  { title: 'a file with another hard link', change: (path) => link(path, `${path}-too`), body: 'first' },
];

/** Rewrites a file like `cp -p` or `rsync --inplace -t` may do. */
async function rewriteSilently(path: string): Promise<void> {
  const before = await stat(path);
  // A clock tick of the file system.
  do {
    await writeFile(path, 'FIRST');
  } while ((await stat(path)).ctimeMs === before.ctimeMs);
  await utimes(path, before.atime, before.mtime);
}

async function renameOver(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

for (const { title, change, body } of CHANGES) {
  test(`if files are not immutable, the next request checks ${title}`, async (t) => {
    const site = await openFileSite(t, 'http', { artifact: { immutable: false } });
    const path = `${site.directory}/file`;
    await writeFile(path, 'first');
    await utimes(path, 1, 1);
    const before = await site.get('file');
    t.is(before.body.toString(), 'first');
    await change(path);
    const after = await site.get('file');
    t.is(after.status, body === undefined ? 404 : 200);
    if (body !== undefined) t.is(after.body.toString(), body);
    t.not(after.headers.etag, before.headers.etag);
    // The bytes that a client has are never joined to others.
    const range = await site.get('file', { headers: { range: 'bytes=1-', 'if-range': before.headers.etag ?? '' } });
    t.is(range.status, body === undefined ? 404 : 200);
  });
}

test('the entity tag of an immutable file stays the same if only its mode, links, times of access or name change', async (t) => {
  const site = await openFileSite(t, 'http', { artifact: { immutable: true } });
  const path = `${site.directory}/file`;
  await writeFile(path, 'first');
  const { etag } = (await site.get('file')).headers;
  const { ctimeMs } = await stat(path);
  await chmod(path, 0o600);
  await link(path, `${path}-too`);
  await rename(path, `${path}-moved`);
  await rename(`${path}-moved`, path);
  t.not((await stat(path)).ctimeMs, ctimeMs);
  const restarted = await openFileSite(t, 'http', { directory: site.directory });
  t.is((await restarted.get('file')).headers.etag, etag);
  // Another file that has the same inode, size and times, as far as a program can set them.
  const stats = await stat(path, { bigint: true });
  t.not(entityTagsOf({ ...stats, birthtimeNs: stats.birthtimeNs + 1n, ctimeNs: stats.ctimeNs + 1n }).immutable, etag);
});
