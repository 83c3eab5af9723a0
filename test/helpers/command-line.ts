import { type ChildProcessByStdio, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';

/** Result of a command that has exited. */
export interface Ended {
  /** Null if a signal ended the process. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Options for starting a command. */
export interface Launch {
  /** User and group ID of the process. Requires root. */
  readonly uid?: number;
  /** Environment variables. Undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Shell code that runs before the command in the same process. */
  readonly before?: string;
}

/** A running command. */
export interface RunningCommand {
  readonly child: ChildProcessByStdio<null, Readable, Readable>;
  readonly ended: Promise<Ended>;
}

const CLI = 'dist/cli.js';
/** Node disables colours if CI is set, so the variable is removed. */
const TERMINAL_ENVIRONMENT = { NO_COLOR: undefined, FORCE_COLOR: undefined, CI: undefined, TERM: 'xterm-256color' };

/** Starts the built `hotblob` command. */
export function startCommand(args: readonly string[], launch: Launch = {}): RunningCommand {
  const { uid, before = ':', env } = launch;
  const child = spawn('bash', ['-c', `${before}; exec "$0" "$@"`, process.execPath, CLI, ...args], {
    env: { ...process.env, ...TERMINAL_ENVIRONMENT, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(uid !== undefined && { uid, gid: uid }),
  });
  return { child, ended: endOf(child) };
}

/** Runs the built `hotblob` command until it exits. */
export function runCommand(args: readonly string[], launch?: Launch): Promise<Ended> {
  return startCommand(args, launch).ended;
}

/** Output stream that is connected to a terminal. */
export type Shown = 'stdout' | 'stderr';

/** Runs the command with one output stream on a terminal of 80 columns and the other one in a file. */
export async function runOnTerminal(shown: Shown, args: readonly string[], { env }: Launch = {}): Promise<Ended> {
  const directory = await mkdtemp(join(tmpdir(), 'hotblob-terminal-'));
  const other = join(directory, 'output');
  try {
    const command = `stty columns 80; exec ${wordsOf(args)} ${shown === 'stdout' ? '2' : ''}>'${other}'`;
    const child = spawn('script', ['--quiet', '--return', '--flush', '--command', command, '/dev/null'], {
      env: { ...process.env, ...TERMINAL_ENVIRONMENT, SHELL: '/bin/bash', ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const { code, stdout: terminal } = await endOf(child);
    const file = await readFile(other, 'utf8');
    return { code, ...(shown === 'stdout' ? { stdout: terminal, stderr: file } : { stdout: file, stderr: terminal }) };
  } finally {
    await rm(directory, { recursive: true });
  }
}

/** Starts the command with all streams on a terminal. Bytes written to `child.stdin` are key presses (`\x03` is Ctrl+C). */
export function startOnTerminal(args: readonly string[]): ChildProcessWithoutNullStreams {
  const command = `stty columns 80; exec ${wordsOf(args)}`;
  return spawn('script', ['--quiet', '--return', '--flush', '--command', command, '/dev/null'], {
    env: { ...process.env, ...TERMINAL_ENVIRONMENT, SHELL: '/bin/bash' },
  });
}

function wordsOf(args: readonly string[]): string {
  return [process.execPath, CLI, ...args].map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ');
}

async function endOf(child: ChildProcessByStdio<null, Readable, Readable>): Promise<Ended> {
  const [[code], stdout, stderr] = await Promise.all([once(child, 'close'), text(child.stdout), text(child.stderr)]);
  return { code, stdout, stderr };
}
