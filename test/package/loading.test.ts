import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import test from 'ava';

const run = promisify(execFile);
const manifest: { readonly exports: object } = JSON.parse(await readFile('package.json', 'utf8'));

// Start-up time depends on the machine, so these tests assert which modules are loaded instead. All optional packages are
// installed here, so any of them could be loaded.

/** Packages that an import of hotblob may load. `debug` tries to load `supports-color`, which is optional. */
const EXPECTED = new Set(['debug', 'ms', 'supports-color', 'has-flag']);

/** Code that prints the packages and the native bindings that are loaded. */
const REPORT = `
const { createRequire } = await import('node:module');
const files = Object.keys(createRequire(process.cwd() + '/').cache);
const packages = files.flatMap((file) => /.*node_modules\\/((?:@[^/]+\\/)?[^/]+)/.exec(file)?.[1] ?? []);
process.report.excludeNetwork = true;
const { sharedObjects } = process.report.getReport();
console.log(JSON.stringify({
  packages: [...new Set(packages)],
  bindings: sharedObjects.filter((file) => file.endsWith('.node')),
}));`;

interface Loaded {
  readonly packages: readonly string[];
  readonly bindings: readonly string[];
}

async function loadedBy(program: string, inputType: 'module' | 'commonjs' = 'module'): Promise<Loaded> {
  const text = inputType === 'module' ? program + REPORT : `(async () => {${program}${REPORT}})()`;
  const { stdout } = await run(process.execPath, [`--input-type=${inputType}`, '-e', text]);
  return JSON.parse(stdout);
}

for (const subpath of Object.keys(manifest.exports).filter((each) => !each.endsWith('.json'))) {
  const name = `hotblob${subpath.slice(1)}`;
  test(`${name} loads no native binding and only the expected packages`, async (t) => {
    for (const loaded of [
      await loadedBy(`await import('${name}');`),
      await loadedBy(`require('${name}');`, 'commonjs'),
    ]) {
      t.deepEqual(loaded.bindings, []);
      t.deepEqual(
        loaded.packages.filter((each) => !EXPECTED.has(each)),
        [],
      );
    }
  });
}

test('createHandler loads koffi', async (t) => {
  const { packages, bindings } = await loadedBy(`
    const { createHandler, memoryStore } = await import('hotblob');
    createHandler({ store: memoryStore() });`);
  t.true(packages.includes('koffi'));
  t.true(bindings.some((file) => file.includes('koffi')));
});
