import { chmod, cp, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, join } from 'node:path';
import { build, defineConfig, type Options } from 'tsup';

const DIST = 'dist';
const ENTRIES = [
  'src/index.ts',
  'src/cli.ts',
  'src/server/index.ts',
  'src/adapters/node.ts',
  'src/adapters/express.ts',
  'src/adapters/koa.ts',
  'src/adapters/fastify.ts',
  'src/adapters/hono.ts',
  'src/protocols/index.ts',
  'src/stores/s3/index.ts',
  'src/dashboard/index.ts',
  'src/metrics/index.ts',
  'src/opentelemetry.ts',
  'src/testing/index.ts',
];

const common: Options = { entry: ENTRIES, target: 'node20', platform: 'node', outDir: DIST };

export default defineConfig([
  {
    ...common,
    format: 'cjs',
    splitting: true,
    shims: true,
    treeshake: true,
    onSuccess: async () => {
      await writeModules();
      await buildPage();
    },
    esbuildOptions(options) {
      // An install without optional packages stays below 1 MB. Names of methods stay, and lines that a stack trace can
      // point to.
      options.minify = true;
      options.lineLimit = 120;
    },
  },
  { ...common, format: ['esm', 'cjs'], dts: { only: true } },
]);

/**
 * What `import` gets: the exports of what `require` gets. A program that does both has one copy of everything, and so has
 * the package: what is shared by all of a process is shared by all of it.
 */
async function writeModules(): Promise<void> {
  const require = createRequire(import.meta.url);
  for (const entry of ENTRIES) {
    const file = entry.replace(/^src\//, '').replace(/\.ts$/, '');
    const name = basename(file);
    const path = join(DIST, `${file}.js`);
    if (name === 'cli') {
      await writeFile(path, `#!/usr/bin/env node\nimport './${name}.cjs';\n`);
      await chmod(path, 0o755);
      continue;
    }
    const exported = Object.keys(require(`./${DIST}/${file}.cjs`)).join(', ');
    await writeFile(path, `import all from './${name}.cjs';\nexport const { ${exported} } = all;\n`);
  }
}

/** The page of the dashboard, as browsers load it: with all that it needs. */
async function buildPage(): Promise<void> {
  const outDir = join(DIST, 'dashboard', 'page');
  await build({
    config: false,
    entry: { page: 'src/dashboard/page/page.ts' },
    format: 'iife',
    target: 'es2022',
    platform: 'browser',
    noExternal: [/./],
    minify: true,
    silent: true,
    outDir,
    outExtension: () => ({ js: '.js' }),
  });
  await cp('src/dashboard/page/page.html', join(outDir, 'page.html'));
}
