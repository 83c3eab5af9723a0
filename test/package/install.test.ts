import { mkdir, readFile, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import anyTest, { type TestFn } from 'ava';
import type { Diagnosis } from '../../src/cli/doctor/diagnosis.js';
import { PACKAGE_MANAGERS, type Project, Publication } from '../helpers/installation.js';

// The packed tarball is installed into empty projects by npm and pnpm, without running install scripts.

const manifest: { readonly version: string; readonly exports: object } = JSON.parse(
  await readFile('package.json', 'utf8'),
);
const NAMES = Object.keys(manifest.exports)
  .filter((subpath) => !subpath.endsWith('.json'))
  .map((subpath) => `hotblob${subpath.slice(1)}`);

const NO_LMDB = 'ERR_HOTBLOB_NO_LMDB';
const TSC = resolve('node_modules/typescript/bin/tsc');

const test = anyTest as TestFn<{ publication: Publication }>;

test.before(async (t) => {
  t.context.publication = await Publication.create();
});
test.after.always((t) => t.context.publication.close());

interface Kind {
  readonly title: string;
  /** `koffi` and `lmdb`. */
  readonly optional: boolean;
  readonly dependencies: readonly string[];
  readonly mapper: 'mmap-io' | 'libc' | undefined;
}

const KINDS: readonly Kind[] = [
  { title: 'without optional packages', optional: false, dependencies: [], mapper: undefined },
  { title: 'with mmap-io, without koffi', optional: false, dependencies: ['mmap-io'], mapper: 'mmap-io' },
  { title: 'with koffi, without mmap-io', optional: true, dependencies: [], mapper: 'libc' },
  { title: 'with koffi and mmap-io', optional: true, dependencies: ['mmap-io'], mapper: 'mmap-io' },
];

/** Program that loads every entry point, serves a file and prints the results. `load` loads a module by name. */
const BODY = `
const { mkdir, writeFile } = await load('node:fs/promises');
const { once } = await load('node:events');
const http = await load('node:http');
const exported = {};
for (const name of ${JSON.stringify(NAMES)}) exported[name] = Object.keys(await load(name)).filter((key) => key !== 'default' && key !== 'module.exports').sort();
const { createHandler, directoryStore, segmentStore } = await load('hotblob');
const { nodeListener } = await load('hotblob/node');
const artifact = Buffer.alloc(300_000, 'artifact');
await mkdir('artifacts', { recursive: true });
await writeFile('artifacts/key', artifact);
const handler = createHandler({ store: await directoryStore('artifacts', { immutable: true }) });
const server = http.createServer(nodeListener(handler));
await once(server.listen(0, '127.0.0.1'), 'listening');
const response = await fetch('http://127.0.0.1:' + server.address().port + '/key');
const isWhole = artifact.equals(Buffer.from(await response.arrayBuffer()));
server.close();
server.closeAllConnections();
let segments = 'work';
try {
  await (await segmentStore('segments')).close();
} catch ({ code }) {
  segments = code;
}
const { mapper, copiesResident } = handler.stats();
handler.close();
console.log(JSON.stringify({ exported, isWhole, mapper, copiesResident, segments }));
`;

interface ProgramResult {
  readonly exported: Readonly<Record<string, readonly string[]>>;
}

async function resultOf(project: Project, file: string, program: string): Promise<ProgramResult> {
  const { status, output } = await project.runProgram(file, program);
  if (status !== 0) throw new Error(output);
  return JSON.parse(output);
}

/** Runs `hotblob doctor` in a project and returns its report. */
async function diagnose(project: Project, ...args: string[]): Promise<Diagnosis> {
  const { output } = await project.run('node_modules/.bin/hotblob', ['doctor', '--json', ...args]);
  return JSON.parse(output.slice(output.indexOf('{\n')));
}

for (const manager of PACKAGE_MANAGERS) {
  for (const { title, optional, dependencies, mapper } of KINDS) {
    test.serial(`${manager}: the package can be imported, required and run ${title}`, async (t) => {
      const project = await t.context.publication.install({ manager, optional, dependencies });
      const imported = await resultOf(project, 'program.mjs', `const load = (name) => import(name);${BODY}`);
      const required = await resultOf(
        project,
        'program.cjs',
        `const load = async (name) => require(name);(async () => {${BODY}})();`,
      );
      t.like(imported, { isWhole: true, mapper, copiesResident: optional, segments: optional ? 'work' : NO_LMDB });
      t.deepEqual(required, imported);
      t.deepEqual(
        NAMES.filter((name) => !imported.exported[name]?.length),
        [],
      );
      const command = await project.run('node_modules/.bin/hotblob', ['--version']);
      t.deepEqual(command, { status: 0, output: `${manifest.version}\n` });
      const optionalState = optional ? 'active' : 'absent';
      t.like(await diagnose(project), {
        mapper: mapper ?? null,
        copiesResident: optional,
        optional: {
          koffi: optionalState,
          lmdb: optionalState,
          'mmap-io': dependencies.includes('mmap-io') ? 'active' : 'absent',
        },
        ...(optional ? {} : { improvement: { command: 'npm install koffi' } }),
      });
    });
  }
}

test.serial(
  'hotblob doctor distinguishes packages that fail to load from absent ones, and reports the consequences',
  async (t) => {
    const project = await t.context.publication.install({ manager: 'npm', dependencies: ['mmap-io'] });
    for (const path of ['mmap-io/build', '@koromix', 'lmdb']) {
      await rm(`${project.directory}/node_modules/${path}`, { recursive: true });
    }
    await mkdir(`${project.directory}/store/segments`, { recursive: true });
    await project.write('store/index.mdb', '');
    const { mapper, optional, directories, improvement } = await diagnose(project, 'store');
    t.is(mapper, null);
    t.regex(optional['mmap-io'], /build\/Release/);
    t.regex(optional.koffi, /koffi/i);
    t.is(optional.lmdb, 'absent');
    t.like(directories[0], { store: 'segments', problem: 'it is a segment store, and lmdb cannot be loaded' });
    t.is(improvement?.command, 'npm install koffi --force --include=optional');
  },
);

test.serial('an installation without optional packages takes less than 3 MB', async (t) => {
  const project = await t.context.publication.install({ manager: 'npm', optional: false });
  const bytes = await project.installedBytes();
  t.log(`${bytes} bytes`);
  t.true(bytes < 3_000_000, `${bytes} bytes`);
});

test.serial('with source maps, a stack trace names the functions and lines of the TypeScript sources', async (t) => {
  const project = await t.context.publication.install({ manager: 'npm', optional: false });
  await project.write(
    'throws.cjs',
    `const { createHandler } = require('hotblob');
try {
  createHandler({ store: {} });
} catch (error) {
  console.log(error.constructor.name);
  console.log(error.stack);
}`,
  );
  const { status, output } = await project.run(process.execPath, ['--enable-source-maps', 'throws.cjs']);
  t.is(status, 0, output);
  const [className, ...stack] = output.split('\n');
  t.is(className, 'HotblobError');
  const frames = stack.filter((line) => line.includes('node_modules/hotblob/'));
  t.true(frames.length >= 2, output);
  for (const frame of frames) {
    const [, name = '', file = '', line = ''] =
      /^ +at (?:new )?([\w.]+) \(.*\/node_modules\/hotblob\/(src\/[\w/-]+\.ts):(\d+):\d+\)$/.exec(frame) ?? [];
    const source = (await readFile(file, 'utf8').catch(() => '')).split('\n');
    // The function must be declared at or above the line that the frame names.
    t.true(
      source.slice(0, Number(line)).some((each) => each.includes(`function ${name}(`)),
      frame,
    );
  }
});

/** Compiles only if the types resolve: with `any`, each `@ts-expect-error` would be an error. */
const TYPED = `
const handler: Handler = createHandler({ store: memoryStore() });
// @ts-expect-error: an option that does not exist
createHandler({ store: memoryStore(), nonsense: 1 });
const pressure: 'normal' | 'constrained' | 'critical' = handler.stats().pressure;
const listener: (request: IncomingMessage, response: ServerResponse) => void = nodeListener(handler);
createServer(handler).listen({ port: 0 });
// @ts-expect-error: a port is a number
createServer(handler).listen({ port: 'http' });
storeConformance;
expressMiddleware(handler);
koaMiddleware(handler);
export { listener, pressure };
`;
const IMPORTS = `
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createHandler, type Handler, memoryStore } from 'hotblob';
import { createServer } from 'hotblob/server';
import { nodeListener } from 'hotblob/node';
import { expressMiddleware } from 'hotblob/express';
import { koaMiddleware } from 'hotblob/koa';
import { storeConformance } from 'hotblob/testing';
import * as protocols from 'hotblob/protocols';
protocols.plain();
`;

/** Kinds of module resolution, and the files that they compile. */
const RESOLUTIONS = [
  { module: 'node16', moduleResolution: 'node16', files: ['esm.mts', 'cjs.cts'] },
  { module: 'nodenext', moduleResolution: 'nodenext', files: ['esm.mts', 'cjs.cts'] },
  { module: 'esnext', moduleResolution: 'bundler', files: ['esm.mts'] },
];

for (const manager of PACKAGE_MANAGERS) {
  test.serial(`${manager}: TypeScript finds the types with every kind of module resolution`, async (t) => {
    const project = await t.context.publication.install({ manager, optional: false, dependencies: ['@types/node'] });
    await project.write('esm.mts', IMPORTS + TYPED);
    await project.write('cjs.cts', IMPORTS + TYPED);
    for (const { files, ...options } of RESOLUTIONS) {
      const compilerOptions = { ...options, target: 'es2022', strict: true, noEmit: true, types: ['node'] };
      await project.write('tsconfig.json', JSON.stringify({ compilerOptions, files }));
      const { status, output } = await project.run(process.execPath, [TSC]);
      t.is(status, 0, `${options.moduleResolution}: ${output}`);
    }
  });
}
