import { readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import type { StatsDocument } from '../../../src/cli/serve/status-pages.js';
import { request } from '../../helpers/client.js';
import { until } from '../../helpers/poll.js';
import { writerOf } from '../../helpers/store-writer.js';
import type { Command } from '../command.js';

/** Processes that are killed. `again`: one process and, at a random moment of its replacement, another one. */
const TARGETS = ['process', 'writer', 'both', 'again', 'parent'] as const;
type Target = (typeof TARGETS)[number];

/** Maximum time between two kills, in milliseconds. A process that has served for less than 10 s is replaced after a delay. */
const MAX_PAUSE_MS = 8000;
/** Maximum time between the two kills of `again`, in milliseconds. A process starts in about half a second. */
const MAX_DELAY_MS = 1000;
/** Time that processes have to end when they or their parent are killed, in milliseconds. */
const END_MS = 2000;

/** Number of kills of each kind. */
export interface Kills extends Record<Target, number> {
  /** Longest time in milliseconds until an upload succeeded after the writer was killed. */
  nextWriterMs: number;
  /** Longest time in milliseconds until two processes served again. */
  recoveryMs: number;
}

/** Kills processes of a server with two processes at random moments, until `isFinished` returns true. */
export async function killRepeatedly(
  command: Command,
  directory: string,
  random: () => number,
  isFinished: () => boolean,
): Promise<Kills> {
  const kills: Kills = { process: 0, writer: 0, both: 0, again: 0, parent: 0, nextWriterMs: 0, recoveryMs: 0 };
  // Each kind of kill happens once before they are chosen at random.
  for (let count = 0; !isFinished(); count++) {
    const target = TARGETS[count] ?? TARGETS[Math.floor(random() * TARGETS.length)] ?? 'process';
    await wait((count < TARGETS.length ? 0.1 : 1) * random() * MAX_PAUSE_MS);
    const start = performance.now();
    const elapsed = (): number => Math.round(performance.now() - start);
    await command.disturb(async () => {
      await kill(command, directory, target, random);
      kills[target]++;
      await untilWritable(command);
    });
    // From now on, no request may fail, although only one process may serve until another attempt to start the other one.
    if (target === 'writer') kills.nextWriterMs = Math.max(kills.nextWriterMs, elapsed());
    await untilWhole(command);
    kills.recoveryMs = Math.max(kills.recoveryMs, elapsed());
  }
  return kills;
}

async function kill(command: Command, directory: string, target: Target, random: () => number): Promise<void> {
  const processes = command.children();
  const any = (): number => processes[Math.floor(random() * processes.length)] ?? 0;
  switch (target) {
    case 'process':
      return killNow([any()]);
    case 'writer':
      return killNow([writerOf(directory, processes) ?? any()]);
    case 'both':
      return killNow(processes);
    case 'again':
      await killNow([any()]);
      await wait(random() * MAX_DELAY_MS);
      return killNow(command.children().slice(0, 1));
    case 'parent': {
      const isWaiting = random() < 0.5; // otherwise the next server starts while the processes of this one end
      let ended: Promise<void> | undefined;
      await command.restart('SIGKILL', async () => {
        ended = untilEnded(processes);
        if (isWaiting) await ended;
      });
      return ended;
    }
  }
}

async function killNow(pids: readonly number[]): Promise<void> {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // The process has ended in the meantime.
    }
  }
  await untilEnded(pids); // the kernel resets the connections of a process when it ends
}

/** Waits until two processes serve. */
export async function untilWhole(command: Command): Promise<void> {
  await until('two processes serve', async () => {
    const [server] = command.clients;
    const children = command.children();
    if (server === undefined || children.length !== 2) return false;
    const response = await request(server, { path: '/_hotblob/stats' }).catch(() => undefined);
    if (response?.status !== 200) return false;
    const { processes = [] } = JSON.parse(response.body.toString()) as StatsDocument; // the declared body
    return processes.length === 2 && processes.every(({ pid }) => children.includes(pid));
  });
}

/** Waits until an upload succeeds. */
async function untilWritable(command: Command): Promise<void> {
  await until('an upload succeeds', async () => {
    const [server] = command.clients;
    if (server === undefined) return false;
    const upload = { method: 'PUT', path: '/plain/writable', body: Buffer.from('x') };
    const response = await request(server, upload).catch(() => undefined);
    return response !== undefined && response.status < 300;
  });
}

function untilEnded(pids: readonly number[]): Promise<void> {
  return until('the killed processes have ended', () => pids.every(hasEnded), END_MS);
}

function hasEnded(pid: number): boolean {
  try {
    // A process whose parent has not received its exit code yet is a zombie.
    return readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z ');
  } catch {
    return true;
  }
}
