import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { PYTHON } from './peers.js';

const PROGRAM = fileURLToPath(new URL('../server/hostile.py', import.meta.url));
/** Time for Python to start and to print the report. */
const GRACE_MS = 10_000;

export type Attack =
  | 'reset-flood'
  | 'made-you-reset'
  | 'continuation-flood'
  | 'settings-flood'
  | 'ping-flood'
  | 'window-overflow'
  | 'empty-data-flood'
  | 'priority-flood'
  | 'slow-reader'
  | 'no-window'
  | 'deaf'
  | 'half-preface'
  | 'goaway-watch'
  | 'settings-no-ack'
  | 'too-many-streams'
  | 'too-many-headers'
  | 'headers-then-silence';

/** Options of `hostile.py`, described by `hostile.py --help`. Times are in seconds, like in the report. */
export interface HostileOptions {
  /** Duration of the attack, unless the server closes the connection first. Default: 5. */
  readonly seconds?: number;
  readonly path?: string;
  /** Variant of the attack. */
  readonly how?: string;
  /** Error code of RST_STREAM frames, named as in RFC 9113, 7. Default: CANCEL. */
  readonly code?: string;
  readonly method?: string;
  readonly streams?: number;
  readonly count?: number;
  readonly rate?: number;
  readonly window?: number;
  readonly receiveBuffer?: number;
  readonly noRead?: boolean;
  readonly noPong?: boolean;
  readonly hold?: number;
  readonly listen?: number;
  readonly bytes?: number;
  readonly piece?: number;
  readonly pause?: number;
  readonly fields?: number;
  readonly size?: number;
}

/** Times are in seconds since the connection was established. Error codes are named as in RFC 9113, 7. */
export interface HostileReport {
  readonly attack: Attack;
  readonly seconds: number;
  /** Time when the server closed the connection, or null if it did not. */
  readonly closedAt: number | null;
  readonly closedBy: 'end' | 'reset' | null;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** Number of frames by type: Data, Headers, RstStream, Settings, Ping, GoAway, WindowUpdate, Priority, Continuation. */
  readonly received: Readonly<Record<string, number>>;
  readonly sent: Readonly<Record<string, number>>;
  readonly goaways: readonly { readonly at: number; readonly code: string; readonly lastStreamId: number }[];
  /** Number of RST_STREAM frames received, by code. */
  readonly resets: Readonly<Record<string, number>>;
  /** Settings of the server by name, for example MAX_CONCURRENT_STREAMS. */
  readonly settings: Readonly<Record<string, number>>;
  /** The first 200 streams that the attack tracks. */
  readonly streams: readonly HostileStream[];
  /** Number of responses by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** Bytes received before the connection preface was complete, as latin1. */
  readonly text: string;
  /** Protocol error in the bytes received from the server. */
  readonly error: string | null;
}

export interface HostileStream {
  readonly id: number;
  readonly openedAt: number;
  readonly status: number | null;
  readonly bytes: number;
  readonly endedAt: number | null;
  readonly reset: string | null;
}

/** Runs an attack on a local server in a child process. Tests must declare the requirement `python3-h2`. */
export async function runHostile(
  t: ExecutionContext,
  attack: Attack,
  server: { readonly port: number; readonly tls?: boolean },
  options: HostileOptions = {},
): Promise<HostileReport> {
  const words = [attack, '127.0.0.1', String(server.port), ...(server.tls ? ['--tls'] : [])];
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === false) continue;
    words.push(`--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`);
    if (value !== true) words.push(String(value));
  }
  const child = spawn(PYTHON, [PROGRAM, ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: ((options.seconds ?? 5) + (options.listen ?? 2)) * 1000 + GRACE_MS,
    killSignal: 'SIGKILL',
  });
  t.teardown(() => child.kill('SIGKILL'));
  const [output, errors, [code, signal]] = await Promise.all([
    child.stdout.toArray(),
    child.stderr.toArray(),
    once(child, 'close') as Promise<[number | null, string | null]>,
  ]);
  if (code !== 0) throw new Error(`hostile.py ${words.join(' ')}: ${signal ?? code}: ${errors.join('')}`);
  return JSON.parse(output.join(''));
}
