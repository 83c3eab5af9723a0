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
  test(`${name} exports the same names to import and require, and has types`, async (t) => {
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

test('the adapters and the main entry point share their classes', async (t) => {
  for (const load of [(name: string) => import(name), (name: string) => Promise.resolve(require(name))]) {
    const { createHandler, memoryStore, HotblobError } = await load('hotblob');
    t.throws(() => createHandler({ store: {} }), { instanceOf: HotblobError, code: 'ERR_HOTBLOB_INVALID_STORE' });
    const { nodeListener } = await load('hotblob/node');
    t.is(typeof nodeListener(createHandler({ store: memoryStore() })), 'function');
  }
});

/** Returns the paths of all files that `npm pack` would put into the tarball. */
function packedFiles(): readonly string[] {
  const listing = execFileSync('npm', ['pack', '--dry-run', '--json'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [packed]: [{ files: { path: string }[] }] = JSON.parse(listing);
  return packed.files.map(({ path }) => path);
}

test('the tarball contains the build and the documentation, and nothing else', (t) => {
  const others = packedFiles().filter((path) => !path.startsWith('dist/') && !/^docs\/[\w-]+\.md$/.test(path));
  t.deepEqual(others.sort(), [
    'CHANGELOG.md',
    'CONTRIBUTING.md',
    'LICENSE',
    'README.md',
    'SECURITY.md',
    'package.json',
  ]);
});

test('every relative link of README.md points to a file in the tarball', async (t) => {
  const packed = new Set(packedFiles());
  const readme = await readFile('README.md', 'utf8');
  const targets = [...readme.matchAll(/\]\(([^)\s]+)\)|\b(?:src|href)="([^"]+)"/g)].map(
    ([, link, html]) => link ?? html ?? '',
  );
  const files = targets
    .filter((target) => !/^(?:[a-z]+:|#)/.test(target))
    .map((target) => target.replace(/^\.\/|#.*$/g, ''));
  t.true(files.length > 0);
  t.deepEqual(
    files.filter((file) => !packed.has(file)),
    [],
  );
});
