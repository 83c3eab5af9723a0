import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { PYTHON } from './peers.js';

const PROGRAM = fileURLToPath(new URL('../server/hostile.py', import.meta.url));
/** Python's start, and its last words. */
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

/** What `hostile.py --help` says. Times are in seconds, as in the report. */
export interface HostileOptions {
  /** It ends then, unless the server ends it before. Default: 5. */
  readonly seconds?: number;
  readonly path?: string;
  /** The attack's variant. */
  readonly how?: string;
  /** Of the resets, as RFC 9113, 7 names it. Default: CANCEL. */
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

/** A time is in seconds since the connection was open, a code the name that RFC 9113, 7 gives it. */
export interface HostileReport {
  readonly attack: Attack;
  readonly seconds: number;
  /** When the server ended the connection; null: it did not. */
  readonly closedAt: number | null;
  readonly closedBy: 'end' | 'reset' | null;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /** How many frames, by type: Data, Headers, RstStream, Settings, Ping, GoAway, WindowUpdate, Priority, Continuation. */
  readonly received: Readonly<Record<string, number>>;
  readonly sent: Readonly<Record<string, number>>;
  readonly goaways: readonly { readonly at: number; readonly code: string; readonly lastStreamId: number }[];
  /** RST_STREAM frames of the server, by code. */
  readonly resets: Readonly<Record<string, number>>;
  /** The server's, by name: MAX_CONCURRENT_STREAMS, ... */
  readonly settings: Readonly<Record<string, number>>;
  /** The first 200 of those that the attack does not forget at once. */
  readonly streams: readonly HostileStream[];
  /** Responses, by status. */
  readonly statuses: Readonly<Record<string, number>>;
  /** What came in answer to less than a preface, as latin1. */
  readonly text: string;
  /** What could not be understood. */
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

/** Attacks a server on this machine from a process of its own. Needs the peer `python3-h2`. */
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
