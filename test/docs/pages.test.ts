import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import test from 'ava';
import { anchorsOf, PAGES, proseOf } from '../helpers/pages.js';

/** Relative links: `[text](target)` and `![text](target)`. */
const LINK = /\]\((?![a-z]+:)([^)\s]+)\)/g;

for (const page of PAGES) {
  test(`every relative link of ${page} resolves`, async (t) => {
    const broken: string[] = [];
    for (const [, target = ''] of (await proseOf(page)).matchAll(LINK)) {
      const [path = '', anchor] = target.split('#');
      const file = path === '' ? page : normalize(join(dirname(page), path));
      if (!existsSync(file)) broken.push(target);
      else if (anchor !== undefined && !anchorsOf(await proseOf(file)).has(anchor)) broken.push(target);
    }
    t.deepEqual(broken, []);
  });
}

test('the index links every page of docs/', async (t) => {
  const index = await readFile('docs/README.md', 'utf8');
  const pages = (await readdir('docs')).filter((name) => name.endsWith('.md') && name !== 'README.md');
  t.deepEqual(
    pages.filter((name) => !index.includes(`](${name})`)),
    [],
  );
});

test('every page of docs/ starts with the question that it answers', async (t) => {
  for (const page of PAGES.filter((name) => name.startsWith('docs/'))) {
    const [, first = ''] = (await readFile(page, 'utf8')).split('\n\n');
    const [sentence = ''] = first.split(/(?<=[.!?]) /);
    t.true(sentence.endsWith('?'), page);
  }
});

test('the README has at most 250 lines, and its first screen shows how to send an artifact', async (t) => {
  const readme = await readFile('README.md', 'utf8');
  t.true(readme.split('\n').length <= 251);
  const screen = readme.split('\n').slice(0, 30).join('\n');
  t.regex(screen, /npm install hotblob/);
  t.regex(screen, /await hot\.send\(request, response, artifact\)/);
});
