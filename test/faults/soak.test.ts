import { spawnSync } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { request, sessionOf } from '../helpers/client.js';
import { MIB, temporaryDirectory } from '../helpers/files.js';
import { evictWhatIsIdle } from '../helpers/page-cache.js';
import { until } from '../helpers/poll.js';
import { randomNumbers } from '../helpers/random.js';
import { Command } from './command.js';
import { artifact } from './soak/artifacts.js';
import { killRepeatedly, untilWhole } from './soak/kills.js';
import { check, Ledger, work } from './soak/worker.js';
import { faultTable } from './table.js';

/** Below ten minutes the slope of the memory is logged, not asserted. A release takes 120. */
const MINUTES = Number(process.env.SOAK_MINUTES ?? 0.5);
const MAX_SLOPE = MIB;
const WORKERS = 4;
/** Line on stderr that a kill can cause. */
const EXPECTED_LINE = /ended \(SIGKILL\)|upload failed/;

const { fault } = faultTable(test, 'Soak test', ['load', 'store', 'connections'], {
  atOnce: true,
});

for (const [store, tls] of [
  ['segments', false],
  ['directory', true],
] as const) {
  fault(
    [
      'every protocol over HTTP/1.1 and HTTP/2, all sizes, cached and uncached, with evictions, clients that disconnect or pause, restarts and a SIGKILL',
      store,
      tls ? 'TLS' : 'plain',
    ],
    (t) => soak(t, store, tls),
  );
}

for (const [store, tls] of [
  ['segments', false],
  ['directory', true],
] as const) {
  fault(
    [
      'the same over two processes without evictions, while a process, the writer, both processes or the parent are killed at random moments',
      store,
      tls ? 'TLS' : 'plain',
    ],
    (t) => soakProcesses(t, store, tls),
  );
}

async function soak(t: ExecutionContext, store: 'segments' | 'directory', tls: boolean): Promise<string> {
  const length = MINUTES * 60_000;
  t.timeout(length + 240_000);
  const directory = await temporaryDirectory(t);
  const command = await Command.start(directory, store, { tls, maxSize: '192MiB' });
  t.teardown(() => command.stop('SIGKILL'));
  const descriptorsAtStart = command.descriptors();
  const ledger = new Ledger();
  const endsAt = performance.now() + length;
  const isFinished = () => performance.now() >= endsAt;
  const workers = Array.from({ length: WORKERS }, (_, index) =>
    work(t, command, ledger, index % 2 === 0 ? 1 : 2, randomNumbers(index + 1), isFinished),
  );

  await wait(length / 6);
  t.is(await command.restart('SIGTERM'), 0);
  await wait(length / 6);
  t.is(await command.restart('SIGKILL'), 'SIGKILL');
  await evictFiles(`${directory}/${store}`);
  await wait(length / 6);
  const memory: [number, number][] = [];
  while (!isFinished()) {
    memory.push([performance.now() / 60_000, command.anonymousBytes()]);
    await wait(length / 600);
  }
  await Promise.all(workers);

  await assertStored(command, ledger);
  t.deepEqual(ledger.failures, []);
  const { hits, uploads, evicted, disconnects } = ledger;
  t.true(
    Math.min(hits / 10, uploads, disconnects) > 5 * MINUTES,
    JSON.stringify({ hits, uploads, evicted, disconnects }),
  );
  const slope = slopeOf(memory);
  const growth = `${(slope / MIB).toFixed(2)} MiB per minute at ${((memory.at(-1)?.[1] ?? 0) / MIB).toFixed(0)} MiB`;
  t.log(`${hits} hits, ${uploads} uploads, ${evicted} evicted, ${disconnects} disconnects; memory: ${growth}`);
  if (MINUTES >= 10) t.true(slope < MAX_SLOPE, growth);
  for (const client of command.clients) if (client.version === 2) sessionOf(client).destroy();
  // Each HTTP/1.1 worker has left a keep-alive connection.
  const maxDescriptors = descriptorsAtStart + WORKERS;
  await until('as many descriptors are open as at the start', () => command.descriptors() <= maxDescriptors, 120_000);
  t.is(await command.stop('SIGTERM'), 0);
  t.is(command.stderr, '');
  assertIntact(t, directory, store);
  return 'every response is correct; memory is flat in the second half; as many descriptors as at the start; no output on stderr';
}

/** A run with the same SOAK_SEED has the same kills at the same times. */
async function soakProcesses(t: ExecutionContext, store: 'segments' | 'directory', tls: boolean): Promise<string> {
  const length = MINUTES * 60_000;
  t.timeout(length + 240_000);
  const seed = Number(process.env.SOAK_SEED ?? randomInt(2 ** 31));
  t.log(`SOAK_SEED=${seed}`);
  const random = randomNumbers(seed);
  const directory = await temporaryDirectory(t);
  const command = await Command.start(directory, store, { tls, processes: 2 });
  t.teardown(() => command.stop('SIGKILL'));
  await untilWhole(command);
  const descriptorsAtStart = command.descriptors();
  const ledger = new Ledger();
  const endsAt = performance.now() + length;
  const isFinished = () => performance.now() >= endsAt;
  const workers = Array.from({ length: WORKERS }, (_, index) =>
    work(t, command, ledger, index % 2 === 0 ? 1 : 2, randomNumbers(seed + index + 1), isFinished),
  );
  const memory = sampleMemory(command, isFinished);
  const kills = await killRepeatedly(command, `${directory}/${store}`, random, isFinished);
  await Promise.all(workers);
  await assertStored(command, ledger);
  t.deepEqual(ledger.failures, []);
  t.is(ledger.evicted, 0, 'acknowledged artifacts that are missing');
  const { hits, uploads, disconnects, unacknowledged } = ledger;
  t.true(Math.min(hits / 10, uploads, disconnects) > 5 * MINUTES, JSON.stringify({ hits, uploads, disconnects }));
  t.log(`${hits} hits, ${uploads} uploads, ${unacknowledged.length} failed uploads, ${disconnects} disconnects`);
  t.log('kills:', kills);
  t.log(`memory of all processes in MiB, each minute: ${(await memory).join(' ')}`);
  for (const client of command.clients) if (client.version === 2) sessionOf(client).destroy();
  // The parent has the sockets of the port, and the streams and the channel of each process.
  t.true(command.descriptors() <= descriptorsAtStart, `${command.descriptors()} descriptors`);
  const children = command.children();
  t.is(await command.stop('SIGTERM'), 0);
  t.deepEqual(
    children.filter((pid) => existsSync(`/proc/${pid}`)),
    [],
  );
  const unexpected = command.stderr.split('\n').filter((line) => line !== '' && !EXPECTED_LINE.test(line));
  t.deepEqual(unexpected, []);
  assertIntact(t, directory, store);
  return 'every response is correct; every acknowledged artifact is stored; no process is left';
}

async function evictFiles(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    try {
      evictWhatIsIdle(`${entry.parentPath}/${entry.name}`);
    } catch {
      // The store has deleted the file in the meantime.
    }
  }
}

/** Downloads every acknowledged artifact once more, and what other uploads have left. */
async function assertStored(command: Command, ledger: Ledger): Promise<void> {
  const [server] = command.clients;
  if (server === undefined) throw new Error('not started');
  for (const n of [...ledger.stored]) {
    const expected = artifact(n);
    check(server, ledger, expected, await request(server, { path: expected.path }));
  }
  for (const n of ledger.unacknowledged) {
    const expected = artifact(n);
    const response = await request(server, { path: expected.path });
    if (response.status !== 404) check(server, ledger, expected, response);
  }
}

function assertIntact(t: ExecutionContext, directory: string, store: 'segments' | 'directory'): void {
  if (store !== 'segments') return;
  const { status, stdout } = spawnSync(process.execPath, ['dist/cli.js', 'verify', `${directory}/segments`]);
  t.is(status, 0, stdout.toString());
}

/** Resolves to the anonymous memory of all processes of the server in MiB, once a minute until `isFinished` returns true. */
async function sampleMemory(command: Command, isFinished: () => boolean): Promise<number[]> {
  const samples: number[] = [];
  for (let next = performance.now(); !isFinished(); await wait(1000)) {
    if (performance.now() < next) continue;
    const bytes = memoryOf(command);
    if (Number.isNaN(bytes)) continue; // a process has just been killed
    samples.push(Math.round(bytes / MIB));
    next += 60_000;
  }
  return samples;
}

/** Returns the anonymous memory of all processes; NaN if one of them does not serve. */
function memoryOf(command: Command): number {
  try {
    const children = command.children();
    const bytes = [command.pid, ...children].map((pid) => command.anonymousBytes(pid));
    return children.length < 2 ? Number.NaN : bytes.reduce((sum, each) => sum + each, 0);
  } catch {
    return Number.NaN;
  }
}

/** Returns bytes per minute: the median of the slopes between all pairs of samples (Theil-Sen), which ignores single peaks. */
function slopeOf(samples: readonly [minute: number, bytes: number][]): number {
  const slopes = samples.flatMap(([minute, bytes], index) =>
    samples.slice(index + 1).map(([later, then]) => (then - bytes) / (later - minute)),
  );
  slopes.sort((a, b) => a - b);
  return slopes[Math.floor(slopes.length / 2)] ?? 0;
}
