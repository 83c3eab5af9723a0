import { chmod, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative } from 'node:path';
import { brotliCompressSync } from 'node:zlib';
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
 * `dist/` contains a CommonJS file for each source file, with a source map, so that stack traces name the files and lines of the
 * TypeScript. The maps omit the sources, which would take a third of the package. For `import` there are small ES modules that
 * re-export the CommonJS modules, so that a process has one copy of each module.
 *
 * The declarations exist once, for CommonJS. Those of the ES modules re-export them, as the ES modules do.
 *
 * The page of the dashboard is bundled for browsers. It is minified, because half of it is the code of its chart library, and stored
 * compressed.
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
          await compress(join(SOURCES, PAGE, 'page.html'), outDir);
          for (const name of ['page.js', 'page.css']) {
            await compress(join(outDir, name), outDir);
            await rm(join(outDir, name));
          }
          await writeCommonJs();
          await writeModules();
        },
      },
    ],
  };
}

/** Writes a compressed copy of a file into a directory. `src/dashboard/assets.ts` decompresses it. */
async function compress(file: string, directory: string): Promise<void> {
  await writeFile(join(directory, `${basename(file)}.br`), brotliCompressSync(await readFile(file)));
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

/** Transpiles a module without comments. */
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
  const templates = multilineTemplates(outputText);
  const map = {
    version: 3,
    file: basename(target),
    sources: [relative(dirname(target), source)],
    names: [],
    mappings: mappingsOfLines(JSON.parse(sourceMapText).mappings, outputText, templates),
  };
  const code = withHalfIndent(outputText, templates)
    .replace(/\b(require|import)\("(\.[^"]*)\.js"\)/g, '$1("$2.cjs")')
    .replace(/^\/\/# sourceMappingURL=.*/m, `//# sourceMappingURL=${map.file}.map`);
  await mkdir(dirname(target), { recursive: true });
  await writeFile(target, code);
  await writeFile(`${target}.map`, JSON.stringify(map));
}

/** Returns the numbers of the lines that begin in a template literal: their indentation is a part of a string. */
function multilineTemplates(code: string): ReadonlySet<number> {
  const lines = new Set<number>();
  const file = ts.createSourceFile('module.js', code, ts.ScriptTarget.ES2022);
  const visit = (node: ts.Node): void => {
    if (ts.isTemplateLiteralToken(node)) {
      const first = file.getLineAndCharacterOfPosition(node.getStart(file)).line;
      const last = file.getLineAndCharacterOfPosition(node.end).line;
      for (let line = first + 1; line <= last; line++) lines.add(line);
    } else ts.forEachChild(node, visit);
  };
  visit(file);
  return lines;
}

/** Returns by how many spaces the indentation of a line is reduced: TypeScript indents by four, the sources by two. */
function surplusOf(line: string, index: number, templates: ReadonlySet<number>): number {
  return templates.has(index) ? 0 : Math.floor((line.length - line.trimStart().length) / 2);
}

function withHalfIndent(code: string, templates: ReadonlySet<number>): string {
  const lines = code.split('\n');
  return lines.map((line, index) => line.slice(surplusOf(line, index, templates))).join('\n');
}

/** Keeps the first mapping of each line, and those to other lines: a tenth of all mappings. Stack traces name the lines. */
function mappingsOfLines(mappings: string, code: string, templates: ReadonlySet<number>): string {
  const lines = code.split('\n');
  const shifted = decode(mappings).map((segments, index) => {
    const surplus = surplusOf(lines[index] ?? '', index, templates);
    const kept = segments.filter(([, , line], position) => line !== segments[position - 1]?.[2]);
    for (const segment of kept) segment[0] = Math.max(0, segment[0] - surplus);
    return kept;
  });
  return encode(shifted);
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
