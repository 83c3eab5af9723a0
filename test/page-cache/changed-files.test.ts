import { appendFile, link, rename, truncate, unlink, utimes, writeFile } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { openFileSite } from '../helpers/file-site.js';

/** Changes of a file after a download, and the body of the next response. */
const CHANGES: readonly {
  title: string;
  change(path: string): Promise<unknown>;
  body: string | undefined;
}[] = [
  { title: 'a file that was appended to', change: (path) => appendFile(path, ', more'), body: 'first, more' },
  { title: 'a file that was rewritten in place', change: (path) => writeFile(path, 'other'), body: 'other' },
  { title: 'a file that was truncated', change: (path) => truncate(path, 3), body: 'fir' },
  { title: 'a file that was replaced by rename', change: (path) => renameOver(path, 'third'), body: 'third' },
  { title: 'a file that was deleted', change: unlink, body: undefined },
  { title: 'a file with another modification time', change: (path) => utimes(path, 1, 1), body: 'first' },
  { title: 'a file with another hard link', change: (path) => link(path, `${path}-too`), body: 'first' },
];

async function renameOver(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

for (const { title, change, body } of CHANGES) {
  test(`if files are not immutable, the next request checks ${title}`, async (t) => {
    const site = await openFileSite(t, 'http', { artifact: { immutable: false } });
    const path = `${site.directory}/file`;
    await writeFile(path, 'first');
    const before = await site.get('file');
    t.is(before.body.toString(), 'first');
    await change(path);
    const after = await site.get('file');
    t.is(after.status, body === undefined ? 404 : 200);
    if (body !== undefined) t.is(after.body.toString(), body);
    assertTag(
      t,
      before.headers.etag,
      after.headers.etag,
      body === 'first' && title !== 'a file with another modification time',
    );
  });
}

function assertTag(t: ExecutionContext, before: string | undefined, after: string | undefined, isSame: boolean): void {
  if (isSame) t.is(after, before);
  else t.not(after, before);
}
