import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { ExecutionContext } from 'ava';

/** A block of TypeScript in a page for users. */
export interface Snippet {
  /** The page, as a path from the root of the package. */
  readonly page: string;
  /** Which one of the page it is, from 1. */
  readonly number: number;
  /** What its first line says in a comment: others of the page import it by that name. */
  readonly file: string | undefined;
  readonly code: string;
}

/** What a snippet finds around it. */
export interface SnippetOptions {
  /** All snippets of its page. */
  readonly page: readonly Snippet[];
  /** Variables of the environment, besides those of this process. */
  readonly environment?: Readonly<Record<string, string>>;
}

interface Running {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  /** What it has printed so far. */
  readonly output: () => string;
}

interface Ended {
  /** Null when a signal has ended it. */
  readonly status: number | null;
  readonly output: string;
}

/** Blocks that begin with exactly this line are run; what cannot be run begins with another, such as ```ts no-run. */
const BLOCK = /^```ts\n(.*?)^```$/gms;
const FILE_NAME = /^\/\/ ([\w.-]+\.ts)\n/;

/** A port of its own for each server, and a line that tells it. */
const PREAMBLE = `
import net from 'node:net';
const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (...args) {
  this.once('listening', () => console.log(this.address().port));
  return listen.call(this, 0, '127.0.0.1', ...args.slice(1));
};
`;
const MANIFEST = {
  type: 'module',
  ava: { files: ['*.test.ts'], extensions: { ts: 'module' }, nodeArguments: ['--import=tsx'], workerThreads: false },
};

/** The snippets of a page. */
export async function snippetsOf(page: string): Promise<Snippet[]> {
  const text = await readFile(page, 'utf8');
  return [...text.matchAll(BLOCK)].map(([, code = ''], index) => ({
    page,
    number: index + 1,
    file: FILE_NAME.exec(code)?.[1],
    code,
  }));
}

/** A title for the test of a snippet. */
export function titleOf({ page, number, file, code }: Snippet): string {
  const what = file ?? /^import (?:type )?\{? ?(\w+)/.exec(code)?.[1] ?? '';
  return `snippet ${number} of ${basename(page)} (${what})`;
}

/**
 * Runs a snippet in a folder of its own where this package is installed, as it was built: tests of AVA and of node:test
 * have to pass, a server has to answer a miss under `/cache`, and the rest has to come to an end without an error.
 */
export async function runSnippet(t: ExecutionContext, snippet: Snippet, options: SnippetOptions): Promise<void> {
  const { code } = snippet;
  const file = snippet.file ?? 'snippet.ts';
  const dir = await installed(t, [...options.page.filter((each) => each.file !== undefined), { ...snippet, file }]);
  const run = (nodeArguments: readonly string[]): Promise<Ended> => ended(start(t, dir, nodeArguments, options));
  const tsx = ['--import=tsx', '--import=./preamble.mjs'];
  if (/ from 'ava';/.test(code)) {
    const { status, output } = await run([resolve('node_modules/ava/entrypoints/cli.mjs'), file]);
    t.is(status, 0, output);
    t.regex(output, /\d\d tests passed/);
  } else if (/ from 'node:test';/.test(code)) {
    const { status, output } = await run([...tsx, '--test', '--test-reporter=tap', file]);
    t.is(status, 0, output);
    t.regex(output, /^# pass \d\d/m);
  } else if (/\.listen\(/.test(code)) {
    await assertAnswersMiss(t, start(t, dir, [...tsx, file], options));
  } else {
    const { status, output } = await run([...tsx, file]);
    t.is(status, 0, output);
  }
}

/** A folder with these files, in which `hotblob` is this package. */
async function installed(t: ExecutionContext, files: readonly Snippet[]): Promise<string> {
  // Below the package, so that its own dependencies are found as well.
  const dir = await mkdtemp('test/.snippet-');
  t.teardown(() => rm(dir, { recursive: true }));
  await mkdir(`${dir}/node_modules`);
  await symlink(resolve('.'), `${dir}/node_modules/hotblob`);
  await writeFile(`${dir}/package.json`, JSON.stringify(MANIFEST));
  await writeFile(`${dir}/preamble.mjs`, PREAMBLE);
  for (const { file, code } of files) await writeFile(`${dir}/${file}`, code);
  return dir;
}

async function assertAnswersMiss(t: ExecutionContext, { child, output }: Running): Promise<void> {
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
  const exit = once(child, 'exit').then(() => ({ value: undefined }));
  const { value: port } = await Promise.race([lines.next(), exit]);
  t.truthy(port, output());
  const answer = await fetch(`http://127.0.0.1:${port}/cache/some/key`);
  t.is(answer.status, 404, output());
  t.deepEqual(await answer.json(), { message: 'Not found.' });
}

async function ended({ child, output }: Running): Promise<Ended> {
  const [status] = await once(child, 'close');
  return { status, output: output() };
}

function start(
  t: ExecutionContext,
  dir: string,
  nodeArguments: readonly string[],
  { environment }: SnippetOptions,
): Running {
  const env = { ...process.env, ...environment };
  const child = spawn(process.execPath, nodeArguments, { cwd: dir, env, stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => child.kill('SIGKILL'));
  const parts: string[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => parts.push(chunk.toString()));
  return { child, output: () => parts.join('') };
}
