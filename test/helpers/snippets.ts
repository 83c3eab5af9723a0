import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { ExecutionContext } from 'ava';
import { assertEndures, SECRET } from './hostile-requests.js';
import { KINDS } from './servers.js';

/** TypeScript code block of a documentation page. */
export interface Snippet {
  /** Path of the page, relative to the root of the package. */
  readonly page: string;
  /** Position on the page, from 1. */
  readonly number: number;
  /** File name in a comment on the first line. Other snippets of the page import it by that name. */
  readonly file: string | undefined;
  readonly code: string;
}

/** Options of {@link runSnippet}. */
export interface SnippetOptions {
  /** All snippets of the page. */
  readonly page: readonly Snippet[];
  /** Environment variables in addition to those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
}

interface Running {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  /** Returns the output so far. */
  readonly output: () => string;
}

interface Ended {
  /** Null if a signal ended the process. */
  readonly status: number | null;
  readonly output: string;
}

/** Only blocks that begin with exactly this line are run. Others begin with, for example, ```ts no-run. */
const BLOCK = /^```ts\n(.*?)^```$/gms;
const FILE_NAME = /^\/\/ ([\w.-]+\.ts)\n/;

/** Gives each server a free port and prints it. Several processes share the port that their parent has found. */
const PREAMBLE = `
import cluster from 'node:cluster';
import net from 'node:net';
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  const isParent = Object.keys(cluster.workers ?? {}).length > 0;
  if (!isParent) this.once('listening', () => console.log(this.address().port));
  if (isParent && args[0].exclusive !== true || cluster.isWorker) return listen.apply(this, args);
  return listen.call(this, 0, '127.0.0.1', ...args.slice(1));
};
`;
/** Nest needs decorators of parameters. */
const COMPILER = { compilerOptions: { experimentalDecorators: true } };
const TSX = ['--import=tsx', '--import=./preamble.mjs'];
const MANIFEST = {
  type: 'module',
  ava: { files: ['*.test.ts'], extensions: { ts: 'module' }, nodeArguments: ['--import=tsx'], workerThreads: false },
};

/** Returns the snippets of a page. */
export async function snippetsOf(page: string): Promise<Snippet[]> {
  const text = await readFile(page, 'utf8');
  return [...text.matchAll(BLOCK)].map(([, code = ''], index) => ({
    page,
    number: index + 1,
    file: FILE_NAME.exec(code)?.[1],
    code,
  }));
}

/** Returns the title of the test of a snippet. */
export function titleOf({ page, number, file, code }: Snippet): string {
  const name = file ?? /^import (?:type )?\{? ?(\w+)/.exec(code)?.[1] ?? '';
  return `snippet ${number} of ${page} (${name})`;
}

/**
 * Runs a snippet in a new directory in which the build of this package is installed. Tests of AVA and node:test must pass, a
 * server must answer 404 for a missing artifact below `/cache`, before and after hostile requests, and every other snippet must end
 * without an error.
 */
export async function runSnippet(t: ExecutionContext, snippet: Snippet, options: SnippetOptions): Promise<void> {
  const { code } = snippet;
  const file = snippet.file ?? 'snippet.ts';
  const dir = await installed(t, [...options.page.filter((each) => each.file !== undefined), { ...snippet, file }]);
  const run = (nodeArguments: readonly string[]): Promise<Ended> => ended(start(t, dir, nodeArguments, options));
  if (/ from 'ava';/.test(code)) {
    const { status, output } = await run([resolve('node_modules/ava/entrypoints/cli.mjs'), file]);
    t.is(status, 0, output);
    t.regex(output, /\d\d tests passed/);
  } else if (/ from 'node:test';/.test(code)) {
    const { status, output } = await run([...TSX, '--test', '--test-reporter=tap', file]);
    t.is(status, 0, output);
    t.regex(output, /^# pass \d\d/m);
  } else if (/\.listen\(/.test(code)) {
    const running = start(t, dir, [...TSX, file], options);
    const server = { base: await baseOf(running), output: running.output };
    await assertMiss(t, code, server);
    await assertEndures(
      t,
      { ...KINDS.http, kind: 'http', port: Number(new URL(server.base).port), certificate: undefined },
      60,
    );
    await assertMiss(t, code, server);
  } else {
    const { status, output } = await run([...TSX, file]);
    t.is(status, 0, output);
  }
}

interface Started {
  readonly base: string;
  readonly output: () => string;
}

/** Directory of the artifacts in the documentation. */
const ROOT = '/var/cache/builds';

/** Returns a new directory with these files, in which `hotblob` is this package. */
async function installed(t: ExecutionContext, files: readonly Snippet[]): Promise<string> {
  // Below the package, so that its dependencies resolve, too.
  const dir = await mkdtemp('test/.snippet-');
  t.teardown(() => rm(dir, { recursive: true }));
  await mkdir(`${dir}/node_modules`);
  await symlink(resolve('.'), `${dir}/node_modules/hotblob`);
  await writeFile(`${dir}/package.json`, JSON.stringify(MANIFEST));
  await writeFile(`${dir}/tsconfig.json`, JSON.stringify(COMPILER));
  await writeFile(`${dir}/preamble.mjs`, PREAMBLE);
  const root = resolve(dir, 'builds');
  await mkdir(root);
  await writeFile(`${dir}/secret`, SECRET);
  for (const { file, code } of files) await writeFile(`${dir}/${file}`, code.replaceAll(`'${ROOT}'`, `'${root}'`));
  return dir;
}

/** Starts a program with a server in a new directory, like a snippet. Returns its base URL. It is killed with the test. */
export async function startProgram(t: ExecutionContext, code: string): Promise<string> {
  const file = 'program.ts';
  const dir = await installed(t, [{ page: '', number: 0, file, code }]);
  return baseOf(start(t, dir, [...TSX, file], {}));
}

/** Returns the base URL of a server, from the first line of its output that is a port. */
async function baseOf({ child, output }: Running): Promise<string> {
  for await (const line of createInterface(child.stdout)) {
    if (/^\d+$/.test(line)) return `http://127.0.0.1:${line}`;
  }
  throw new Error(`the server did not start: ${output()}`);
}

async function assertMiss(t: ExecutionContext, code: string, { base, output }: Started): Promise<void> {
  const response = await fetch(`${base}/cache/no-such/key`);
  t.is(response.status, 404, output());
  // Without an error handler of its own, a framework answers in its own form.
  if (/'content-type': 'application\/json'|message: |Handler\(/.test(code)) {
    t.deepEqual(await response.json(), { message: 'Not found.' });
  }
}

async function ended({ child, output }: Running): Promise<Ended> {
  const [status] = await once(child, 'close');
  return { status, output: output() };
}

function start(
  t: ExecutionContext,
  dir: string,
  nodeArguments: readonly string[],
  { environment }: Pick<SnippetOptions, 'environment'>,
): Running {
  const env = { ...process.env, ...environment };
  // In a process group of its own, so that the processes which the snippet starts end with it.
  const child = spawn(process.execPath, nodeArguments, {
    cwd: dir,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = once(child, 'close'); // also waits for processes of the snippet, which share its output
  t.teardown(async () => {
    killGroup(child.pid);
    await closed;
  });
  const parts: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => parts.push(chunk.toString()));
  return { child, output: () => parts.join('') };
}

function killGroup(id: number | undefined): void {
  if (id === undefined) return; // the process could not be created
  try {
    process.kill(-id, 'SIGKILL');
  } catch {
    // All processes of the group have ended.
  }
}
