import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** Result of a command. */
export interface RunResult {
  readonly code: number | null;
  /** Output on stdout and stderr. */
  readonly log: string;
}

/** Commands that take longer are considered hung. */
const TIMEOUT_MS = 90_000;

/** Runs a line in bash, with the tools in node_modules/.bin and no variable of the user's environment except PATH. */
export async function runLine(
  line: string,
  directory: string,
  environment: Record<string, string>,
): Promise<RunResult> {
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
