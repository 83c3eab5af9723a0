import { readFile } from 'node:fs/promises';
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core';
import test from 'ava';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { Publication } from '../helpers/installation.js';

interface Manifest {
  readonly exports: Record<string, string | { import: { types: string } }>;
  readonly typedocOptions: { readonly entryPoints: readonly string[] };
}

const manifest: Manifest = JSON.parse(await readFile('package.json', 'utf8'));

test('publint finds no problem in the tarball', async (t) => {
  const publication = await Publication.create();
  t.teardown(() => publication.close());
  const tarball = await readFile(publication.tarball);
  const { messages, pkg } = await publint({
    pack: { tarball: tarball.buffer.slice(tarball.byteOffset, tarball.byteOffset + tarball.byteLength) },
    strict: true,
  });
  t.is(pkg['name'], 'hotblob');
  t.deepEqual(
    messages.map((message) => formatMessage(message, pkg, { color: false })),
    [],
  );
});

test('every kind of module resolution finds types that match the code', async (t) => {
  const publication = await Publication.create();
  t.teardown(() => publication.close());
  const result = await checkPackage(createPackageFromTarballData(await readFile(publication.tarball)));
  if (!result.types) {
    t.fail('the tarball contains no types');
    return;
  }
  const entryPoints = Object.keys(result.entrypoints).sort();
  t.deepEqual(entryPoints, Object.keys(manifest.exports).sort());
  // node10 does not support `exports`, so only the main entry point can resolve.
  const problems = result.problems.filter(
    (problem) => !('resolutionKind' in problem && problem.resolutionKind === 'node10' && problem.entrypoint !== '.'),
  );
  t.deepEqual(problems, []);
});

test('the API reference covers every entry point', async (t) => {
  const { entryPoints } = manifest.typedocOptions;
  const sources = Object.values(manifest.exports).flatMap((target) =>
    typeof target === 'string' ? [] : target.import.types.replace(/^\.\/dist\/(.*)\.d\.ts$/, 'src/$1.ts'),
  );
  t.deepEqual([...entryPoints].sort(), sources.sort());
});

test('npm verifies every package of the lockfile, and takes none from elsewhere', async (t) => {
  const { packages } = JSON.parse(await readFile('package-lock.json', 'utf8')) as {
    readonly packages: Readonly<Record<string, { readonly integrity?: string; readonly resolved?: string }>>;
  };
  const installed = Object.entries(packages).filter(([path]) => path !== '');
  t.true(installed.length > 500);
  t.deepEqual(
    installed.filter(([, { integrity }]) => !integrity?.startsWith('sha512-')).map(([path]) => path),
    [],
  );
  const hosts = installed.flatMap(([, { resolved }]) => (resolved === undefined ? [] : [new URL(resolved).host]));
  t.deepEqual(
    hosts.filter((host) => host !== 'registry.npmjs.org'),
    [],
  );
});
