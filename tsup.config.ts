import { defineConfig } from 'tsup';

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
  esbuildOptions(options) {
    // An install without optional packages stays below 1 MB, with everything there twice, for import and require. Names of
    // methods stay, and lines that a stack trace can point to.
    options.minify = true;
    options.lineLimit = 120;
  },
});
