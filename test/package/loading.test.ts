import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import test from 'ava';

const run = promisify(execFile);
const manifest: { readonly exports: object } = JSON.parse(await readFile('package.json', 'utf8'));

// Time is the machine's, what is loaded is ours. Here all optional packages are installed, so that each could be.

/** Packages that a program may load by importing this one. `debug` asks for `supports-color`, and does without. */
const EXPECTED = new Set(['debug', 'ms', 'supports-color', 'has-flag']);

/** Prints the packages and the native bindings that are loaded. */
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
  test(`${name} loads nothing that it may never need`, async (t) => {
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

test('a handler loads what it can send files with', async (t) => {
  const { packages, bindings } = await loadedBy(`
    const { createHandler, memoryStore } = await import('hotblob');
    createHandler({ store: memoryStore() });`);
  t.true(packages.includes('koffi'));
  t.true(bindings.some((file) => file.includes('koffi')));
});
