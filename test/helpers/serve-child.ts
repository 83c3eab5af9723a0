import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import type { ExecutionContext } from 'ava';

/** A child process that runs the built `hotblob serve`. */
export interface ServeChild {
  readonly child: ChildProcess;
  readonly url: string;
  /** Directory of the artifacts. Not on a tmpfs. */
  readonly dir: string;
}

/** Starts `hotblob serve` on a free port. The process is killed after the test. */
export async function startServe(t: Pick<ExecutionContext, 'teardown'>, args: readonly string[]): Promise<ServeChild> {
  const root = await mkdtemp('/var/tmp/hotblob-serve-');
  const dir = `${root}/artifacts`;
  const child = spawn(process.execPath, ['dist/cli.js', 'serve', '--dir', dir, '--port', '0', ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(async () => {
    child.kill('SIGKILL');
    await rm(root, { recursive: true });
  });
  const { value: line = '' } = await createInterface(child.stdout)[Symbol.asyncIterator]().next();
  const url = /https?:\/\/\S+/.exec(line)?.[0];
  if (url === undefined) throw new Error(`the server did not start: ${line}`);
  return { child, url, dir };
}
