import { type ChildProcessByStdio, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';

/** What has come of a run of the built command line. */
export interface Ended {
  /** Null when a signal has ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How it is run. */
export interface Launch {
  /** Whom the process becomes, when it is root. */
  readonly uid?: number;
  /** Variables of the environment; undefined takes one away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** What a shell runs before it, in the same process. */
  readonly before?: string;
}

/** The command line while it runs. */
export interface RunningCommand {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  readonly ended: Promise<Ended>;
}

const CLI = 'dist/cli.js';
/** Node shows no colours where CI is set, whatever the terminal. */
const LOOKS = { NO_COLOR: undefined, FORCE_COLOR: undefined, CI: undefined, TERM: 'xterm-256color' };

/** Starts `hotblob` with these arguments, as it was built. */
export function startCommand(args: readonly string[], launch: Launch = {}): RunningCommand {
  const { uid, before = ':', env } = launch;
  const child = spawn('bash', ['-c', `${before}; exec "$0" "$@"`, process.execPath, CLI, ...args], {
    env: { ...process.env, ...LOOKS, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid !== undefined && { uid, gid: uid }),
  });
  return { child, ended: endOf(child) };
}

/** The same, to its end. */
export function runCommand(args: readonly string[], launch?: Launch): Promise<Ended> {
  return startCommand(args, launch).ended;
}

/** Which of the two a terminal shows; the other one is a pipe. */
export type Shown = 'stdout' | 'stderr';

/** Runs it with one of its outputs on a terminal of 80 columns, and the other one in a file. */
export async function runOnTerminal(shown: Shown, args: readonly string[], { env }: Launch = {}): Promise<Ended> {
  const directory = await mkdtemp(join(tmpdir(), 'hotblob-terminal-'));
  const other = join(directory, 'output');
  try {
    const command = `stty columns 80; exec ${wordsOf(args)} ${shown === 'stdout' ? '2' : ''}>'${other}'`;
    const child = spawn('script', ['--quiet', '--return', '--flush', '--command', command, '/dev/null'], {
      env: { ...process.env, ...LOOKS, SHELL: '/bin/bash', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { code, stdout: terminal } = await endOf(child);
    const file = await readFile(other, 'utf8');
    return { code, ...(shown === 'stdout' ? { stdout: terminal, stderr: file } : { stdout: file, stderr: terminal }) };
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Starts it with all of its streams on a terminal; what is written to `child.stdin` are keys, such as `\x03` for ^C. */
export function startOnTerminal(args: readonly string[]): ChildProcessWithoutNullStreams {
  const command = `stty columns 80; exec ${wordsOf(args)}`;
  return spawn('script', ['--quiet', '--return', '--flush', '--command', command, '/dev/null'], {
    env: { ...process.env, ...LOOKS, SHELL: '/bin/bash' },
  });
}

function wordsOf(args: readonly string[]): string {
  return [process.execPath, CLI, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
}

async function endOf(child: ChildProcessByStdio<null, Readable, Readable>): Promise<Ended> {
  const [[code], stdout, stderr] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)]);
  return { code, stdout, stderr };
}
