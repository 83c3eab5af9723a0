import { chmod, cp, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { decode, encode } from '@jridgewell/sourcemap-codec';
import { defineConfig, type Options } from 'tsup';
import ts from 'typescript';

const SOURCES = 'src';
const DIST = 'dist';
const PAGE = 'dashboard/page';
/** Entry points of package.json, and the command line. */
const ENTRIES: readonly string[] = [
  ...JSON.parse(await readFile('package.json', 'utf8')).typedocOptions.entryPoints,
  'src/cli.ts',
];

/**
 * `dist/` contains a CommonJS file for each source file, with a source map that includes the TypeScript, so that stack traces
 * match the sources. For `import` there are small ES modules that re-export the CommonJS modules, so that a process has one copy
 * of each module.
 *
 * The declarations exist once, for CommonJS. Those of the ES modules re-export them, as the ES modules do.
 *
 * The page of the dashboard is bundled for browsers. It is minified, because half of it is the code of its chart library.
 *
 * `--no-dts` and `--watch` skip the declarations, which take most of the time.
 */
export default defineConfig(({ dts, watch }) => {
  return dts === false || watch ? [page()] : [page(), declarations()];
});

function page(): Options {
  const outDir = join(DIST, PAGE);
  return {
    entry: { page: join(SOURCES, PAGE, 'page.ts') },
    format: 'iife',
    target: 'es2022',
    platform: 'browser',
    minify: true,
    noExternal: [/./],
    outDir,
    outExtension: () => ({ js: '.js' }),
    plugins: [
      {
        name: 'modules',
        async buildEnd() {
          await cp(join(SOURCES, PAGE, 'page.html'), join(outDir, 'page.html'));
          await writeCommonJs();
          await writeModules();
        },
      },
    ],
  };
}

function declarations(): Options {
  return {
    entry: [...ENTRIES],
    format: 'cjs',
    target: 'node20',
    platform: 'node',
    outDir: DIST,
    dts: { only: true },
  };
}

async function writeCommonJs(): Promise<void> {
  const names = await readdir(SOURCES, { recursive: true });
  const modules = names.filter((name) => name.endsWith('.ts') && !name.startsWith(`${PAGE}/`));
  await Promise.all(modules.map((name) => transpile(name)));
}

/** Transpiles a module without comments, which remain in the source map. */
async function transpile(name: string): Promise<void> {
  const source = join(SOURCES, name);
  const target = join(DIST, name.replace(/\.ts$/, '.cjs'));
  const text = await readFile(source, 'utf8');
  // CommonJS has no import.meta. All functions that receive its URL also accept a path.
  const { outputText, sourceMapText = '' } = ts.transpileModule(text.replaceAll('import.meta.url', '__filename'), {
    fileName: source,
    compilerOptions: {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.CommonJS,
      esModuleInterop: true,
      removeComments: true,
      sourceMap: true,
    },
  });
  const statements = outputText.replace(
    /^(?:"use strict"|Object\.defineProperty\(exports, "__esModule".*);$|^\/\/#.*/gm,
    '',
  );
  const isTypesOnly = statements.trim() === '';
  if (isTypesOnly) return;
  const map = {
    version: 3,
    file: basename(target),
    sources: [relative(dirname(target), source)],
    sourcesContent: [withoutTypes(text)],
    names: [],
    mappings: mappingsOfLines(JSON.parse(sourceMapText).mappings),
  };
  const code = outputText
    .replace(/\b(require|import)\("(\.[^"]*)\.js"\)/g, '$1("$2.cjs")')
    .replace(/^\/\/# sourceMappingURL=.*/m, `//# sourceMappingURL=${map.file}.map`);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, code);
  await writeFile(`${target}.map`, JSON.stringify(map));
}

/**
 * Replaces docstrings, imports, interfaces and type aliases by empty lines, so that every line keeps its number. No code is mapped to them.
 * They would take a fifth of the package, and the declarations contain those of the public API.
 */
function withoutTypes(text: string): string {
  const ranges: { readonly pos: number; readonly end: number }[] = [];
  const visit = (node: ts.Node): void => {
    const isType = ts.isImportDeclaration(node) || ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node);
    // The full start of a node includes its docstring and the comments above it.
    if (isType) ranges.push({ pos: node.getFullStart(), end: node.end });
    else {
      ranges.push(...ts.getJSDocCommentsAndTags(node).filter(ts.isJSDoc));
      ts.forEachChild(node, visit);
    }
  };
  visit(ts.createSourceFile('module.ts', text, ts.ScriptTarget.ES2022, true));
  let result = text;
  for (const { pos, end } of [...new Set(ranges)].sort((a, b) => b.pos - a.pos)) {
    result = result.slice(0, pos) + result.slice(pos, end).replace(/[^\n]/g, '') + result.slice(end);
  }
  return result;
}

/** Keeps the first mapping of each line, and those to other lines: a tenth of all mappings. Stack traces name the lines. */
function mappingsOfLines(mappings: string): string {
  return encode(
    decode(mappings).map((segments) => segments.filter(([, , line], index) => line !== segments[index - 1]?.[2])),
  );
}

async function writeModules(): Promise<void> {
  const require = createRequire(import.meta.url);
  for (const entry of ENTRIES) {
    const file = entry.slice(SOURCES.length + 1).replace(/\.ts$/, '');
    const name = basename(file);
    const path = join(DIST, `${file}.js`);
    if (name === 'cli') {
      await writeFile(path, `#!/usr/bin/env node\nimport './${name}.cjs';\n`);
      await chmod(path, 0o755);
      continue;
    }
    const exported = Object.keys(require(`./${DIST}/${file}.cjs`)).join(', ');
    await writeFile(path, `import all from './${name}.cjs';\nexport const { ${exported} } = all;\n`);
    await writeFile(join(DIST, `${file}.d.ts`), `export * from './${name}.cjs';\n`);
  }
}
