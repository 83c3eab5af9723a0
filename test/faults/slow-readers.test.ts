import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { MIB, pattern, temporaryDirectory, writePattern } from '../helpers/files.js';
import { Frames } from '../helpers/frames.js';
import { PYTHON } from '../helpers/peers.js';
import { until } from '../helpers/poll.js';
import { faultTable } from './table.js';

const { fault } = faultTable(test, 'Slow readers', ['clients', 'protocol']);

const SCRIPT = fileURLToPath(new URL('./slow_readers.py', import.meta.url));
const FAST_BYTES = 4 * MIB;
const FAST_DOWNLOADS = 96;
const ROUNDS = 3;
/**
 * Limit of the processor time of fast downloads beside slow readers, relative to the same downloads alone, in the best round.
 * It is about 1.1 on an idle machine. Other processes change it by half at most, because they share the caches; work for
 * each slow reader multiplies it.
 */
const MAX_COST = 3;
/** Limit of anonymous memory for all slow readers. */
const MAX_MEMORY_BYTES = 64 * MIB;

interface SlowReaders {
  /** Resolves to the number of clients that still receive data. */
  stop(): Promise<number>;
}

async function compare(
  t: ExecutionContext,
  kind: 'port-http' | 'port-h2c',
  start: (child: ChildServer) => Promise<SlowReaders>,
  count: number,
): Promise<string> {
  const directory = await temporaryDirectory(t);
  writePattern(directory, 'popular', 64 * MIB, 1);
  const expected = writePattern(directory, 'fast', FAST_BYTES, 2);
  const child = await ChildServer.start(t, { kind, directory });
  await costOf(child, expected); // warms up
  await child.stats(); // collects garbage
  const memoryBefore = child.anonymousBytes();
  const ratios: { cost: number; time: number }[] = [];
  let memory = 0;
  let open = count;
  for (let round = 0; round < ROUNDS; round++) {
    const alone = await costOf(child, expected);
    const slow = await start(child);
    const beside = await costOf(child, expected);
    memory = Math.max(memory, child.anonymousBytes() - memoryBefore);
    open = Math.min(open, await slow.stop());
    ratios.push({ cost: beside.cpuMs / alone.cpuMs, time: beside.ms / alone.ms });
  }
  const best = ratios.toSorted((a, b) => a.cost - b.cost)[0];
  t.log(
    `a fast download costs ${ratios.map(({ cost }) => cost.toFixed(2)).join(', ')} times as much processor time, and takes ` +
      `${ratios.map(({ time }) => time.toFixed(2)).join(', ')} times as long; ${(memory / MIB).toFixed(0)} MiB more memory`,
  );
  t.true((best?.cost ?? Number.NaN) < MAX_COST);
  t.true(memory < MAX_MEMORY_BYTES, `${memory} bytes`);
  t.true(child.isAlive);
  t.is(open, count, 'no slow download is aborted');
  await until('all buffers and mappings are released', async () => {
    const { mappedBytes, pooledBytes } = await child.stats();
    return mappedBytes === 0 && pooledBytes === 0;
  });
  return `no slow download is aborted; fast downloads are complete and as fast as before; less than ${MAX_MEMORY_BYTES / MIB} MiB of memory for all of them`;
}

/** Downloads repeatedly, eight at a time, and compares every byte. */
async function costOf(child: ChildServer, expected: Buffer): Promise<{ ms: number; cpuMs: number }> {
  const cpuBefore = cpuMsOf(child);
  const startedAt = performance.now();
  let left = FAST_DOWNLOADS;
  await Promise.all(
    Array.from({ length: 8 }, async () => {
      while (left-- > 0) {
        const { status, body } = await request(child.server, { path: '/fast' });
        if (status !== 200 || !body.equals(expected)) throw new Error(`${status} with ${body.byteLength} bytes`);
      }
    }),
  );
  return { ms: performance.now() - startedAt, cpuMs: cpuMsOf(child) - cpuBefore };
}

/** Returns the processor time of all threads of the server since its start. The scheduler counts in nanoseconds. */
function cpuMsOf({ process: { pid } }: ChildServer): number {
  const nanoseconds = readdirSync(`/proc/${pid}/task`).map((task) =>
    Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'latin1').split(' ')[0]),
  );
  return nanoseconds.reduce((sum, each) => sum + each, 0) / 1e6;
}

fault(['1,000 clients that read one byte per second', 'HTTP/1.1'], (t) =>
  compare(t, 'port-http', (child) => readSlowly(t, child, 1000), 1000),
);

fault(['128 streams whose window of one byte grows by one byte per second', 'HTTP/2'], (t) =>
  compare(t, 'port-h2c', (child) => openSlowly(t, child, 128), 128),
);

async function readSlowly(t: ExecutionContext, { server }: ChildServer, count: number): Promise<SlowReaders> {
  const clients = spawn(PYTHON, [SCRIPT, `${server.port}`, '/popular', `${count}`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  t.teardown(() => clients.kill('SIGKILL'));
  const lines = createInterface(clients.stdout)[Symbol.asyncIterator]();
  t.is((await lines.next()).value, 'ready');
  return {
    async stop() {
      clients.stdin.end();
      const { value } = await lines.next();
      await once(clients, 'close');
      return Number(value);
    },
  };
}

async function openSlowly(t: ExecutionContext, { server }: ChildServer, count: number): Promise<SlowReaders> {
  const client = await Frames.connect(t, server, { windowSize: 1 });
  const ids = Array.from({ length: count }, (_, index) => 2 * index + 1);
  for (const id of ids) client.get(id, '/popular');
  await until('each stream has its first byte', () => ids.every((id) => client.stream(id).bytes === 1));
  const timer = setInterval(() => {
    for (const id of ids) client.allow(id, 1);
  }, 1000);
  return {
    async stop() {
      clearInterval(timer);
      for (const id of ids) client.allow(id, 1);
      const before = new Map(ids.map((id) => [id, client.stream(id).bytes]));
      const expected = pattern(MIB, 1);
      await until('each stream receives more bytes', () =>
        ids.every((id) => client.stream(id).bytes > (before.get(id) ?? 0)),
      );
      const correct = ids.filter((id) => expected.subarray(0, client.stream(id).bytes).equals(client.stream(id).body));
      client.socket.destroy();
      return correct.length;
    },
  };
}
