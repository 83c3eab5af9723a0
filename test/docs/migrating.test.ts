import { readFile } from 'node:fs/promises';
import test from 'ava';

const page = await readFile('docs/migrating.md', 'utf8');

/** Where each package documents its options, and how it writes them. */
const PACKAGES: readonly { heading: string; readme: string; option: RegExp }[] = [
  { heading: 'express.static and serve-static', readme: 'serve-static/README.md', option: /^##### (\w+)/gm },
  { heading: 'send', readme: 'send/README.md', option: /^##### (\w+)/gm },
  { heading: 'sirv', readme: 'sirv/readme.md', option: /^#### opts\.(\w+)/gm },
  { heading: 'koa-send', readme: 'koa-send/README.md', option: /^ - \[?`(\w+)`/gm },
  { heading: '@fastify/static', readme: '@fastify/static/README.md', option: /^(?:#### `|- \[`)(\w+)`(?! Options)/gm },
];

for (const { heading, readme, option } of PACKAGES) {
  test(`${heading}: every option of the package has its row`, async (t) => {
    const text = await readFile(`node_modules/${readme}`, 'utf8');
    const options = new Set([...text.matchAll(option)].map(([, name = '']) => name));
    t.true(options.size >= 10, [...options].join(', '));
    const section = page.split(`\n## ${heading}\n`)[1]?.split('\n## ')[0] ?? '';
    const rows = [...section.matchAll(/^\| (`.*?) \|/gm)].map(([, cell = '']) => cell).join(' ');
    t.deepEqual(
      [...options].filter((name) => !rows.includes(`\`${name}\``)),
      [],
    );
  });
}
