import { cp } from 'node:fs/promises';
import { build, defineConfig } from 'tsup';

export default defineConfig({
  entry: [
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
  ],
  format: ['esm', 'cjs'],
  target: 'node20',
  platform: 'node',
  dts: true,
  clean: true,
  splitting: true,
  shims: true,
  treeshake: true,
  // After this, which empties dist.
  onSuccess: buildPage,
  esbuildOptions(options) {
    // An install without optional packages stays below 1 MB, with everything there twice, for import and require. Names of
    // methods stay, and lines that a stack trace can point to.
    options.minify = true;
    options.lineLimit = 120;
  },
});

/** The page of the dashboard, as browsers load it: with all that it needs. */
async function buildPage(): Promise<void> {
  const outDir = 'dist/dashboard/page';
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
  await cp('src/dashboard/page/page.html', `${outDir}/page.html`);
}
