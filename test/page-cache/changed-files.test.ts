import { appendFile, link, rename, truncate, unlink, utimes, writeFile } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { openFileSite } from '../helpers/file-site.js';

/** What happens to a file right after it has been sent, and what the next request gets of it. */
const CHANGES: readonly {
  what: string;
  change(path: string): Promise<unknown>;
  body: string | undefined;
}[] = [
  { what: 'it is appended to', change: (path) => appendFile(path, ', more'), body: 'first, more' },
  { what: 'it is rewritten in place', change: (path) => writeFile(path, 'other'), body: 'other' },
  { what: 'it is cut off', change: (path) => truncate(path, 3), body: 'fir' },
  { what: 'another is renamed over it', change: (path) => renameOver(path, 'third'), body: 'third' },
  { what: 'it is deleted', change: unlink, body: undefined },
  { what: 'it is touched', change: (path) => utimes(path, 1, 1), body: 'first' },
  { what: 'it gets another name', change: (path) => link(path, `${path}-too`), body: 'first' },
];

async function renameOver(path: string, text: string): Promise<void> {
  await writeFile(`${path}.new`, text);
  await rename(`${path}.new`, path);
}

for (const { what, change, body } of CHANGES) {
  test(`without the promise, the next request sees it: ${what}`, async (t) => {
    const site = await openFileSite(t, 'http', { artifact: { immutable: false } });
    const path = `${site.directory}/file`;
    await writeFile(path, 'first');
    const before = await site.get('file');
    t.is(before.body.toString(), 'first');
    await change(path);
    const after = await site.get('file');
    t.is(after.status, body === undefined ? 404 : 200);
    if (body !== undefined) t.is(after.body.toString(), body);
    assertTag(t, before.headers.etag, after.headers.etag, body === 'first' && what !== 'it is touched');
  });
}

function assertTag(t: ExecutionContext, before: string | undefined, after: string | undefined, isSame: boolean): void {
  if (isSame) t.is(after, before);
  else t.not(after, before);
}
