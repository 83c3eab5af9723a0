import { defineConfig } from 'tsup';

export default defineConfig({
  entry: [
    'src/index.ts',
    'src/cli.ts',
    'src/server/index.ts',
    'src/adapters/node.ts',
    'src/adapters/express.ts',
    'src/adapters/koa.ts',
    'src/protocols/index.ts',
    'src/stores/s3/index.ts',
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
    // The install stays small; names, and lines that a stack trace can point to, stay too.
    options.minifyWhitespace = true;
    options.minifySyntax = true;
    options.lineLimit = 120;
  },
});
