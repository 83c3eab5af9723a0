import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { loadOptional, tryToLoad } from '../../src/util/load-optional.js';

test('loads an installed module', (t) => {
  t.deepEqual(tryToLoad('node:path'), { module: loadOptional('node:path') });
  t.is((loadOptional('node:path') as { sep: string }).sep, '/');
});

test('reports a module that is not installed as absent', (t) => {
  t.deepEqual(tryToLoad('hotblob-no-such-module'), { failure: 'absent' });
  t.is(loadOptional('hotblob-no-such-module'), undefined);
});

test('reports the error of an installed module that does not load', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'hotblob-load-'));
  t.teardown(() => rm(directory, { recursive: true }));
  const path = join(directory, 'broken.cjs');
  await writeFile(path, "require('hotblob-no-such-module');\n");
  const result = tryToLoad(path);
  t.true('failure' in result && result.failure instanceof Error);
  t.is(loadOptional(path), undefined);
});
