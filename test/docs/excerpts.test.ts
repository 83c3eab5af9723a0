import { readdir, readFile } from 'node:fs/promises';
import test from 'ava';
import { PAGES } from '../helpers/pages.js';

/** Excerpts of the source begin with this line. They are not run. */
const EXCERPT = /^```ts excerpt\n(.*?)^```$/gms;

test('every excerpt is in the source', async (t) => {
  const names = (await readdir('src', { recursive: true })).filter((name) => name.endsWith('.ts'));
  const sources = await Promise.all(names.map((name) => readFile(`src/${name}`, 'utf8')));
  let count = 0;
  for (const page of PAGES) {
    for (const [, excerpt = ''] of (await readFile(page, 'utf8')).matchAll(EXCERPT)) {
      count++;
      t.true(
        sources.some((source) => source.includes(excerpt)),
        `${page}:\n${excerpt}`,
      );
    }
  }
  t.true(count > 0);
});
