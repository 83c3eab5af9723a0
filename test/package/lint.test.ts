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

test('publint finds nothing in what is published', async (t) => {
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

test('types are found by every kind of module resolution, and are those of the code', async (t) => {
  const publication = await Publication.create();
  t.teardown(() => publication.close());
  const result = await checkPackage(createPackageFromTarballData(await readFile(publication.tarball)));
  if (!result.types) {
    t.fail('there are none');
    return;
  }
  const ways = Object.keys(result.entrypoints).sort();
  t.deepEqual(ways, Object.keys(manifest.exports).sort());
  // node10 knows no subpaths: it is the one resolution that has the main entry alone.
  const problems = result.problems.filter(
    (problem) => !('resolutionKind' in problem && problem.resolutionKind === 'node10' && problem.entrypoint !== '.'),
  );
  t.deepEqual(problems, []);
});

test('the API reference covers every way in', async (t) => {
  const { entryPoints } = manifest.typedocOptions;
  const sources = Object.values(manifest.exports).flatMap((target) =>
    typeof target === 'string' ? [] : target.import.types.replace(/^\.\/dist\/(.*)\.d\.ts$/, 'src/$1.ts'),
  );
  t.deepEqual([...entryPoints].sort(), sources.sort());
});
