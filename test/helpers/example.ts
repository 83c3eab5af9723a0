import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { ExecutionContext } from 'ava';
import { KINDS, type RunningServer } from './servers.js';

/** An example that runs in a process of its own, as a user starts it. */
export interface RunningExample {
  /** Where it listens; it may speak more than HTTP/1.1. */
  readonly server: RunningServer;
  /** What it has printed on its standard output so far. */
  readonly lines: readonly string[];
  /** Asks it to end, and resolves with its exit code and signal once everybody who holds its output is gone. */
  end(): Promise<[code: number | null, signal: NodeJS.Signals | null]>;
}

/** Starts `examples/<name>` on a port that is free, and resolves when it says where it listens. */
export async function startExample(
  t: ExecutionContext,
  name: string,
  environment: Readonly<Record<string, string>>,
): Promise<RunningExample> {
  const child = spawn(process.execPath, ['--import=tsx', `examples/${name}`], {
    env: { ...process.env, ...environment, PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  // Unlike 'exit', it waits for children of the example as well.
  const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  // Hosts print the errors of clients that leave: to be read only where something is wrong.
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
    closed.then(() => reject(new Error(`it has not said where it listens: ${lines.join('\n')}`)), reject);
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
