import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { ExecutionContext } from 'ava';
import { KINDS, type RunningServer } from './servers.js';

/** A running example. */
export interface RunningExample {
  /** Address of the example, for HTTP/1.1 requests. */
  readonly server: RunningServer;
  /** Lines printed to stdout so far. */
  readonly lines: readonly string[];
  /** Sends SIGTERM. Resolves to the exit code and signal after the process and its children have exited. */
  end(): Promise<[code: number | null, signal: NodeJS.Signals | null]>;
}

/** Starts `examples/<name>` on a free port. Resolves when the example prints its address. */
export async function startExample(
  t: ExecutionContext,
  name: string,
  environment: Readonly<Record<string, string>>,
): Promise<RunningExample> {
  const child = spawn(process.execPath, ['--import=tsx', `examples/${name}`], {
    env: { ...process.env, ...environment, PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // Unlike 'exit', 'close' also waits for children of the example, which share its stdout.
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  // Some frameworks print errors of clients that disconnect, so stderr is logged only if the test fails.
  const errors: string[] = [];
  createInterface(child.stderr).on('line', (line) => errors.push(line));
  t.teardown(async () => {
    child.kill('SIGKILL');
    await closed;
    if (!t.passed && errors.length > 0) t.log(errors.join('\n'));
  });
  const lines: string[] = [];
  const port = await new Promise<number>((resolve, reject) => {
    createInterface(child.stdout).on('line', (line) => {
      lines.push(line);
      const address = /^listening on http:\/\/127\.0\.0\.1:(\d+)$/.exec(line);
      if (address !== null) resolve(Number(address[1]));
    });
    closed.then(() => reject(new Error(`the example did not print its address: ${lines.join('\n')}`)), reject);
  });
  return {
    server: { ...KINDS.http, kind: 'http', port, certificate: undefined },
    lines,
    end() {
      child.kill('SIGTERM');
      return closed;
    },
  };
}
