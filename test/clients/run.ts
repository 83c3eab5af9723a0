import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

export interface Ran {
  readonly code: number | null;
  /** What it has printed, on both ways. */
  readonly log: string;
}

/** A minute and a half: what takes longer hangs. */
const TIMEOUT_MS = 90_000;

/** Runs a line as a shell does, with the tools of this package, and nothing of the user's environment but the path. */
export async function runLine(line: string, directory: string, environment: Record<string, string>): Promise<Ran> {
  const child = spawn('bash', ['-c', line], {
    cwd: directory,
    env: { PATH: `${join(process.cwd(), 'node_modules/.bin')}:${process.env['PATH']}`, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  const output: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => output.push(chunk));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, log: Buffer.concat(output).toString() };
}
