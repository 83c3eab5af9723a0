import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdir } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { isAlive, type Processes, startProcesses, startUploads } from '../cli/serve/processes-fixture.js';
import { type MemoryGroup, memoryGroup } from '../helpers/cgroup.js';
import { KIB, MIB, pattern } from '../helpers/files.js';
import { type Received, send } from '../helpers/http1.js';
import type { Requirement } from '../helpers/peers.js';
import { until } from '../helpers/poll.js';
import { writerOf } from '../helpers/store-writer.js';
import { fillDisk } from './full-disk.js';
import { limitDescriptors } from './limit-descriptors.js';
import { faultTable } from './table.js';

const { fault } = faultTable(test, 'Several processes', ['fault', 'store']);

const KINDS = ['directory', 'segments'] as const;
type Kind = (typeof KINDS)[number];
const STORED = pattern(200 * KIB, 1);

/** @param dir directory of the artifacts; by default a new one */
const start = (t: ExecutionContext, kind: Kind, dir?: string): Promise<Processes> =>
  startProcesses(t, ['--store', kind], dir === undefined ? {} : { dir });

/** Uploads an artifact over a connection of its own. Resolves to the status. */
async function put(server: Processes, key: string, body: Buffer): Promise<number> {
  const { status } = await send(`${server.url}/${key}`, { method: 'PUT', agent: false, body });
  return status;
}

/** Downloads an artifact over connections of their own, so that every process sends it. */
async function assertStored(t: ExecutionContext, server: Processes, key: string, expected: Buffer): Promise<void> {
  for (let count = 0; count < 6; count++) {
    const { status, body } = await send(`${server.url}/${key}`, { agent: false });
    t.is(status, 200);
    t.true(body.equals(expected));
  }
}

async function writer(server: Processes): Promise<number> {
  const pid = writerOf(server.dir, await server.pids());
  if (pid === undefined) throw new Error('no process writes');
  return pid;
}

/** Waits until two processes serve, none of which has been killed. */
async function untilReplaced(server: Processes, killed: readonly number[]): Promise<void> {
  await until('other processes serve', async () => {
    const pids = await server.pids().catch((): number[] => []);
    return pids.length === 2 && pids.every((pid) => !killed.includes(pid));
  });
}

/**
 * Kills processes while uploads are in flight in both, and completes the uploads. Resolves to their results: a status, or the code of
 * an error.
 */
async function killDuringUploads(
  t: ExecutionContext,
  server: Processes,
  victims: readonly number[],
): Promise<(number | string)[]> {
  t.is(await put(server, 'stored', STORED), 200);
  const uploads = await startUploads(server);
  for (const pid of victims) process.kill(pid, 'SIGKILL');
  await untilReplaced(server, victims);
  for (const { upload } of uploads) upload.end('y');
  const results = await Promise.all(uploads.map(({ ended }) => ended));
  await assertStored(t, server, 'stored', STORED);
  for (const [index, result] of results.entries()) {
    const { status } = await send(`${server.url}/key-${index}`, { agent: false });
    t.is(status, result === 200 ? 200 : 404);
  }
  t.is(await put(server, 'next', STORED), 200);
  await assertStored(t, server, 'next', STORED);
  return [...new Set(results.map((result) => (typeof result === 'string' ? 'reset' : result)))].sort();
}

/** Declares the test of a fault for each kind of store. */
function faultOfEach(
  name: string,
  run: (t: ExecutionContext, kind: Kind) => Promise<string>,
  ...requirements: readonly Requirement[]
): void {
  for (const kind of KINDS) fault([name, kind], (t) => run(t, kind), ...requirements);
}

faultOfEach('a process that does not write is killed (SIGKILL)', async (t, kind) => {
  const server = await start(t, kind);
  const writing = await writer(server);
  const victims = (await server.pids()).filter((pid) => pid !== writing);
  t.deepEqual(await killDuringUploads(t, server, victims), [200, 'reset']);
  return 'its uploads are reset, and those of the other process succeed; stored artifacts stay; it is replaced';
});

faultOfEach('the process that writes is killed', async (t, kind) => {
  const server = await start(t, kind);
  const results = await killDuringUploads(t, server, [await writer(server)]);
  // An upload whose body has not been read yet is sent to the next writer.
  t.deepEqual(
    results.filter((result) => result !== 200),
    [503, 'reset'],
  );
  return 'its uploads are reset, and those of the other process are answered with 503; later uploads succeed; stored artifacts stay; it is replaced';
});

faultOfEach('both processes are killed at once', async (t, kind) => {
  const server = await start(t, kind);
  t.deepEqual(await killDuringUploads(t, server, await server.pids()), ['reset']);
  return 'all uploads are reset; stored artifacts stay; both processes are replaced';
});

faultOfEach('the parent is killed, and the server starts again at once', async (t, kind) => {
  const server = await start(t, kind);
  t.is(await put(server, 'stored', STORED), 200);
  const pids = await server.pids();
  server.child.kill('SIGKILL');
  const next = await start(t, kind, server.dir);
  await until('the processes have ended', () => !pids.some(isAlive), 2000);
  await assertStored(t, next, 'stored', STORED);
  t.is(await put(next, 'next', STORED), 200);
  t.deepEqual(next.errors, []);
  return 'the processes end; the new server has all stored artifacts, and accepts uploads';
});

faultOfEach('all processes are killed, and a socket file is left', async (t, kind) => {
  const server = await start(t, kind);
  t.is(await put(server, 'stored', STORED), 200);
  const pids = [server.child.pid ?? 0, ...(await server.pids())];
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  await until('the processes have ended', () => !pids.some(isAlive));
  const left = await socketsIn(server.dir);
  t.is(left.length, kind === 'segments' ? 2 : 1);
  const next = await start(t, kind, server.dir);
  await assertStored(t, next, 'stored', STORED);
  t.is(await put(next, 'next', STORED), 200);
  t.deepEqual(next.errors, []);
  const current = await socketsIn(server.dir);
  t.is(current.length, left.length);
  t.deepEqual(
    current.filter((name) => left.includes(name)),
    [],
  );
  return 'the next server replaces the socket file, has all stored artifacts, and accepts uploads';
});

faultOfEach('two servers with two processes on one directory', async (t, kind) => {
  const first = await start(t, kind);
  const second = await start(t, kind, first.dir);
  for (const [server, other] of [
    [first, second],
    [second, first],
  ] as const) {
    t.is(await put(server, `key-${server.port}`, STORED), 200);
    await assertStored(t, other, `key-${server.port}`, STORED);
  }
  const pids = [...(await first.pids()), ...(await second.pids())];
  t.is(pids.filter((pid) => writerOf(first.dir, [pid]) !== undefined).length, 1);
  first.child.kill('SIGKILL');
  await until('an upload succeeds', async () => (await put(second, 'next', STORED)) === 200);
  await assertStored(t, second, `key-${first.port}`, STORED);
  t.deepEqual(
    second.errors.filter((line) => !line.includes('upload failed')),
    [],
  );
  return 'one of the four processes writes; each server sends what the other one has stored; if one is killed, the other one continues';
});

faultOfEach('the disk is full', async (t, kind) => `in both processes: ${await fillDisk(t, kind, 2)}`, 'mount');

faultOfEach('one process has 16 free descriptors and 200 concurrent downloads', async (t, kind) => {
  const server = await start(t, kind);
  t.is(await put(server, 'stored', STORED), 200);
  const pids = await server.pids();
  const restore = limitDescriptors(await writer(server), 16);
  const outcomes = await Promise.all(
    Array.from({ length: 200 }, () => send(`${server.url}/stored`, { agent: false }).catch(() => undefined)),
  );
  t.log(tally(outcomes));
  for (const { body } of outcomes.flatMap((each) => (each?.status === 200 ? [each] : []))) t.true(body.equals(STORED));
  t.deepEqual(
    [...new Set(outcomes.map((each) => each?.status ?? 200))].filter((status) => ![200, 503].includes(status)),
    [],
  );
  t.true(outcomes.filter((each) => each?.status === 200).length >= 100, 'the other process serves its half');
  await until('uploads succeed again', async () => (await put(server, 'next', STORED).catch(() => 0)) === 200);
  restore();
  const { processes: before = [] } = await server.stats();
  await until('both processes serve', async () => {
    await assertStored(t, server, 'next', STORED);
    const { processes = [] } = await server.stats();
    return processes.every(({ responses }, index) => responses > (before[index]?.responses ?? 0));
  });
  t.deepEqual(await server.pids(), pids);
  return '200 or 503, or that process resets the connection; every 200 is complete; both processes survive, and serve again afterwards';
});

fault(
  ['one process uses 90% of the memory limit of its cgroup', 'directory'],
  async (t) => {
    const group = memoryGroup(t, 1024 * MIB);
    const server = await start(t, 'directory');
    const body = pattern(MIB, 2);
    t.is(await put(server, 'stored', body), 200);
    const before = await server.pids();
    const [victim = 0] = before;
    // The successor starts in the cgroup of the parent.
    group.add(server.child.pid ?? 0);
    process.kill(victim, 'SIGKILL');
    await untilReplaced(server, [victim]);
    group.remove(server.child.pid ?? 0);
    t.is((await server.stats()).handler.pressure, 'normal');
    await fillMemory(t, group, 300 * MIB);
    group.limit(Math.round(group.anonymousBytes() / 0.9));
    await until('its pressure is critical', async () => (await server.stats()).handler.pressure === 'critical');
    for (let count = 0; count < 20; count++) await assertStored(t, server, 'stored', body);
    const { handler } = await server.stats();
    t.true((handler.unmapped.pressure ?? 0) > 0 && handler.sent.mapped.windows > 0);
    t.is(await put(server, 'next', STORED), 200);
    t.is(group.kills(), 0);
    return 'that process copies and reads instead of mapping, and the other one maps; all requests succeed; both processes survive';
  },
  'cgroup',
);

/** Starts a process in the cgroup that has allocated `bytes`. */
async function fillMemory(t: ExecutionContext, group: MemoryGroup, bytes: number): Promise<void> {
  const program = `globalThis.held = Buffer.alloc(${bytes}, 1); console.log('ready'); setInterval(() => {}, 1e6);`;
  const child = spawn('sh', ['-c', `${group.join} && exec "$0" -e "$1"`, process.execPath, program]);
  t.teardown(() => child.kill('SIGKILL'));
  await once(child.stdout, 'data');
}

async function socketsIn(directory: string): Promise<string[]> {
  return (await readdir(directory, { recursive: true })).filter((name) => name.endsWith('.socket')).sort();
}

function tally(outcomes: readonly (Received | undefined)[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) {
    const status = outcome?.status ?? 'no response';
    counts[status] = (counts[status] ?? 0) + 1;
  }
  return counts;
}
