import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { memoryGroup } from '../helpers/cgroup.js';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { KIB, MIB, temporaryDirectory, writePattern } from '../helpers/files.js';
import { descriptorsBelow, evict } from '../helpers/page-cache.js';
import { startPaused } from '../helpers/paused.js';
import { until } from '../helpers/poll.js';
import type { Kind } from '../helpers/servers.js';
import { faultTable } from './table.js';

const { fault } = faultTable(test, 'Limits on descriptors and memory', ['limit and load', 'clients']);

const RECOVERY_MS = 5000;
const DOWNLOADS = 200;
const MAX_DESCRIPTORS = 64;
const SIZE = 200 * KIB;

/** Outcome of a download, or `undefined` if there was no response. */
type Outcome = { readonly status: number; readonly isComplete: boolean } | undefined;

for (const [kind, clients, maxOpenFiles] of [
  ['http', 'HTTP/1.1, one connection per download, on a server of `node:http`'],
  ['port-http', 'HTTP/1.1, one connection per download'],
  ['port-http', 'HTTP/1.1, one connection per download, `maxOpenFiles: 1000`', 1000],
  ['port-https', 'HTTP/1.1 over TLS, one connection per download'],
  ['port-h2c', 'HTTP/2, one connection'],
  ['port-h2', 'HTTP/2 over TLS, one connection, `maxOpenFiles: 1000`', 1000],
] as const) {
  fault([`${MAX_DESCRIPTORS} descriptors, ${DOWNLOADS} concurrent downloads`, clients], async (t) => {
    const directory = await temporaryDirectory(t);
    const bodies = Array.from({ length: DOWNLOADS }, (_, index) => writePattern(directory, `${index}`, SIZE, index));
    const options = { kind, directory, maxDescriptors: MAX_DESCRIPTORS, ...(maxOpenFiles && { maxOpenFiles }) };
    const child = await ChildServer.start(t, options);
    const get = async (index: number): Promise<Outcome> => {
      try {
        const { status, body } = await request(child.server, { path: `/${index}` });
        return { status, isComplete: body.equals(bodies[index] ?? Buffer.alloc(0)) };
      } catch {
        return undefined;
      }
    };
    const outcomes = await Promise.all(bodies.map((_, index) => get(index)));
    t.log(tally(outcomes));
    const recovery = await recoveryOf(async () => (await get(0))?.status === 200);
    for (const index of bodies.keys())
      t.deepEqual(await get(index), { status: 200, isComplete: true }, `${index} afterwards`);
    t.true(descriptorsBelow('/', child.process.pid).length <= MAX_DESCRIPTORS);
    await waitForRelease(child);
    const isReset = outcomes.includes(undefined);
    return [
      describeOutcomes(outcomes),
      ...(isReset ? ['connections without a descriptor are reset'] : []),
      child.isAlive ? 'the process survives' : 'the process has ended',
      recovery,
    ].join('; ');
  });
}

const LARGE = 48 * MIB;
const LARGE_DOWNLOADS = 160;
const LIMIT = 256 * MIB;
/** Number of files that fit in memory together with the server. */
const LARGE_FILES = 3;

for (const [kind, clients, completingOneIn] of [
  ['port-http', 'HTTP/1.1, every second client disconnects', 2],
  ['port-https', 'HTTP/1.1 over TLS, nine of ten clients disconnect', 10],
  ['port-h2c', 'HTTP/2, nine of ten clients disconnect', 10],
  ['port-h2', 'HTTP/2 over TLS, nine of ten clients disconnect', 10],
] as const) {
  const load = `${LIMIT / MIB} MiB of memory, ${LARGE_DOWNLOADS} concurrent downloads of ${LARGE / MIB} MiB from the page cache`;
  fault([load, clients], (t) => downloadLargeFiles(t, kind, (index) => index % completingOneIn === 0), 'cgroup');
}

async function downloadLargeFiles(
  t: ExecutionContext,
  kind: Kind,
  completes: (index: number) => boolean,
): Promise<string> {
  const directory = await temporaryDirectory(t);
  const bodies = Array.from({ length: LARGE_FILES }, (_, index) => writePattern(directory, `${index}`, LARGE, index));
  const group = memoryGroup(t, LIMIT);
  // A page is charged to the cgroup that reads it first.
  for (const index of bodies.keys()) evict(join(directory, `${index}`));
  const launcher = `${group.join} && cat ${directory}/* >/dev/null && exec`;
  const child = await ChildServer.start(t, { kind, directory, memory: 'measured' }, launcher);
  t.true(group.chargedBytes() > LARGE_FILES * LARGE, 'the page cache is charged to the cgroup');
  const expected = (index: number): Buffer => bodies[index % LARGE_FILES] ?? Buffer.alloc(0);
  // No client reads before all downloads have begun, so that as much as possible is in flight.
  const downloads = await Promise.all(
    Array.from({ length: LARGE_DOWNLOADS }, (_, index) => startPaused(t, child.server, `/${index % LARGE_FILES}`)),
  );
  const outcomes = await Promise.all(
    downloads.map(async (download, index): Promise<Outcome> => {
      const { status } = download;
      if (!completes(index)) {
        download.leave();
        return { status, isComplete: true };
      }
      return download.check(expected(index)).then(
        (isComplete) => ({ status, isComplete }),
        () => undefined,
      );
    }),
  );
  const recovery = await recoveryOf(async () => {
    const { status, body } = await request(child.server, { path: '/0' });
    return status === 200 && body.equals(expected(0));
  });
  await waitForRelease(child);
  t.log(tally(outcomes), `${Math.round(child.anonymousBytes() / MIB)} MiB of anonymous memory afterwards`);
  const isKilled = group.kills() > 0 || !child.isAlive;
  return [
    describeOutcomes(outcomes),
    ...(outcomes.includes(undefined) ? ['some responses are aborted'] : []),
    isKilled ? 'the process is killed' : 'the process survives',
    recovery,
  ].join('; ');
}

function describeOutcomes(outcomes: readonly Outcome[]): string {
  const statuses = new Set(outcomes.flatMap((outcome) => outcome?.status ?? []));
  const others = [...statuses].filter((status) => status !== 200 && status !== 503).sort();
  const isBroken = outcomes.some((outcome) => outcome?.status === 200 && !outcome.isComplete);
  return `${['200', '503', ...others].join(' or ')}; ${isBroken ? 'some bodies are wrong' : 'every 200 is complete'}`;
}

/** Waits until the server works again, and describes whether that took too long. */
async function recoveryOf(hasRecovered: () => Promise<boolean>): Promise<string> {
  const startedAt = performance.now();
  await until('the server recovers', () => hasRecovered().catch(() => false), 12 * RECOVERY_MS);
  const within = performance.now() - startedAt < RECOVERY_MS;
  return within ? `recovers within ${RECOVERY_MS / 1000} s` : `does not recover within ${RECOVERY_MS / 1000} s`;
}

async function waitForRelease(child: ChildServer): Promise<void> {
  await until('all buffers and mappings are released', async () => {
    const { pooledBytes, mappedBytes } = await child.stats();
    return pooledBytes === 0 && mappedBytes === 0;
  });
}

function tally(outcomes: readonly Outcome[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) {
    const status = outcome?.status ?? 'no response';
    counts[status] = (counts[status] ?? 0) + 1;
  }
  return counts;
}
