import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
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

test('each folder of src imports only folders that are below it in the list of docs/architecture.md', async (t) => {
  const text = await readFile('docs/architecture.md', 'utf8');
  const [, list = ''] = /\n\n(\| folder \| contains \|\n.*?)\n\n/s.exec(text) ?? [];
  const rows = list.split('\n').slice(2);
  const levelOf = (folder: string) => rows.findIndex((row) => row.includes(`\`src/${folder}/\``));
  const names = (await readdir('src', { recursive: true })).filter((name) => /^\w[\w-]*\/.*\.ts$/.test(name));
  const upward: string[] = [];
  let count = 0;
  for (const name of names) {
    const folder = name.split('/', 1)[0] ?? '';
    for (const [, path = ''] of (await readFile(`src/${name}`, 'utf8')).matchAll(/\bfrom '(\..*?)'/g)) {
      const imported = normalize(join(dirname(name), path));
      const other = imported.split('/', 1)[0] ?? '';
      if (other === folder) continue;
      count++;
      if (levelOf(other) <= levelOf(folder)) upward.push(`${name} imports ${imported}`);
    }
  }
  t.true(count > 500);
  t.deepEqual(upward, []);
});
