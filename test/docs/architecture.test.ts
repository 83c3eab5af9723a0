import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import test from 'ava';

const PAGES = ['docs/architecture.md', 'CONTRIBUTING.md'].filter((page) => existsSync(page));

for (const page of PAGES) {
  test(`${page} names only files and folders that exist`, async (t) => {
    const text = await readFile(page, 'utf8');
    const paths = new Set(text.match(/\b(?:src|test|examples|docs)\/[\w./-]*\w(?:\.ts|\.md|\/)?/g));
    t.true(paths.size >= 5, [...paths].join(', '));
    t.deepEqual(
      [...paths].filter((path) => !existsSync(path)),
      [],
    );
  });
}

test('docs/architecture.md names every folder of src', async (t) => {
  const text = await readFile('docs/architecture.md', 'utf8');
  const folders = (await readdir('src', { withFileTypes: true })).filter((entry) => entry.isDirectory());
  t.deepEqual(
    folders.map(({ name }) => `\`src/${name}/\``).filter((name) => !text.includes(name)),
    [],
  );
});
