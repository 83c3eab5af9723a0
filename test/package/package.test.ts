import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import test from 'ava';

interface Manifest {
  readonly exports: Record<string, string | Record<'import' | 'require', { types: string; default: string }>>;
}

const manifest: Manifest = JSON.parse(await readFile('package.json', 'utf8'));
const require = createRequire(import.meta.url);

for (const [subpath, target] of Object.entries(manifest.exports)) {
  const name = `hotblob${subpath.slice(1)}`;
  test(`${name} is the same to import and to require, and has types`, async (t) => {
    if (typeof target === 'string') {
      t.true(existsSync(target));
      return;
    }
    for (const { types, default: file } of Object.values(target)) t.true(existsSync(types) && existsSync(file));
    const required: object = require(name);
    const imported: object = await import(name);
    t.deepEqual(Object.keys(required).sort(), Object.keys(imported).sort());
    t.true(Object.keys(imported).length > 0);
  });
}

test('the adapters and the main entry share their classes', async (t) => {
  for (const load of [(name: string) => import(name), (name: string) => Promise.resolve(require(name))]) {
    const { createHandler, memoryStore, HotblobError } = await load('hotblob');
    t.throws(() => createHandler({ store: {} }), { instanceOf: HotblobError, code: 'ERR_HOTBLOB_INVALID_STORE' });
    const { nodeListener } = await load('hotblob/node');
    t.is(typeof nodeListener(createHandler({ store: memoryStore() })), 'function');
  }
});

test('the package holds what is built, and nothing else', (t) => {
  const listing = execFileSync('npm', ['pack', '--dry-run', '--json'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [packed]: [{ files: { path: string }[] }] = JSON.parse(listing);
  const others = packed.files.map(({ path }) => path).filter((path) => !path.startsWith('dist/'));
  t.deepEqual(others.sort(), ['LICENSE', 'README.md', 'package.json']);
});
