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

const { fault } = faultTable(test, 'Out of descriptors, out of memory', ['what', 'clients']);

const RECOVERY_MS = 5000;
const DOWNLOADS = 200;
const MAX_DESCRIPTORS = 64;
const SIZE = 200 * KIB;

/** What came of one download: its status and whether its body was right, or nothing where it got no answer. */
type Answer = { readonly status: number; readonly isWhole: boolean } | undefined;

for (const [kind, clients, maxOpenFiles] of [
  ['http', 'HTTP/1.1, a connection each, on a server of `node:http`'],
  ['port-http', 'HTTP/1.1, a connection each'],
  ['port-http', 'HTTP/1.1, a connection each, `maxOpenFiles: 1000`', 1000],
  ['port-https', 'HTTP/1.1 over TLS, a connection each'],
  ['port-h2c', 'HTTP/2, one connection'],
  ['port-h2', 'HTTP/2 over TLS, one connection, `maxOpenFiles: 1000`', 1000],
] as const) {
  fault([`${MAX_DESCRIPTORS} descriptors, ${DOWNLOADS} artifacts asked for at once`, clients], async (t) => {
    const directory = await temporaryDirectory(t);
    const bodies = Array.from({ length: DOWNLOADS }, (_, index) => writePattern(directory, `${index}`, SIZE, index));
    const options = { kind, directory, maxDescriptors: MAX_DESCRIPTORS, ...(maxOpenFiles && { maxOpenFiles }) };
    const child = await ChildServer.start(t, options);
    const get = async (index: number): Promise<Answer> => {
      try {
        const { status, body } = await request(child.server, { path: `/${index}` });
        return { status, isWhole: body.equals(bodies[index] ?? Buffer.alloc(0)) };
      } catch {
        return undefined;
      }
    };
    const answers = await Promise.all(bodies.map((_, index) => get(index)));
    t.log(tally(answers));
    const recovery = await recoveryOf(async () => (await get(0))?.status === 200);
    for (const index of bodies.keys())
      t.deepEqual(await get(index), { status: 200, isWhole: true }, `${index} afterwards`);
    t.true(descriptorsBelow('/', child.process.pid).length <= MAX_DESCRIPTORS);
    await nothingOnLoan(child);
    const isReset = answers.includes(undefined);
    return [
      wordsFor(answers),
      ...(isReset ? ['connections for which there is no descriptor are reset'] : []),
      child.isAlive ? 'the process lives' : 'the process has died',
      recovery,
    ].join('; ');
  });
}

const LARGE = 48 * MIB;
const LARGE_DOWNLOADS = 160;
const LIMIT = 256 * MIB;
/** As many as fit in memory together with the server. */
const LARGE_FILES = 3;

for (const [kind, clients, leaving] of [
  ['port-http', 'HTTP/1.1, every second one leaves', 2],
  ['port-https', 'HTTP/1.1 over TLS, nine of ten leave', 10],
  ['port-h2c', 'HTTP/2, nine of ten leave', 10],
  ['port-h2', 'HTTP/2 over TLS, nine of ten leave', 10],
] as const) {
  const what = `${LIMIT / MIB} MiB of memory, ${LARGE_DOWNLOADS} downloads of ${LARGE / MIB} MiB at once, warm`;
  fault([what, clients], (t) => downloadLargeFiles(t, kind, (index) => index % leaving === 0), 'cgroup');
}

async function downloadLargeFiles(
  t: ExecutionContext,
  kind: Kind,
  completes: (index: number) => boolean,
): Promise<string> {
  const directory = await temporaryDirectory(t);
  const bodies = Array.from({ length: LARGE_FILES }, (_, index) => writePattern(directory, `${index}`, LARGE, index));
  const group = memoryGroup(t, LIMIT);
  // The cache has to be the group's own, charged to its limit: read there first.
  for (const index of bodies.keys()) evict(join(directory, `${index}`));
  const launcher = `${group.join} && cat ${directory}/* >/dev/null && exec`;
  const child = await ChildServer.start(t, { kind, directory, memory: 'measured' }, launcher);
  t.true(group.chargedBytes() > LARGE_FILES * LARGE, 'the cache is warm, and the group pays for it');
  const expected = (index: number): Buffer => bodies[index % LARGE_FILES] ?? Buffer.alloc(0);
  // None reads before all have begun: as much as ever can be is in flight.
  const downloads = await Promise.all(
    Array.from({ length: LARGE_DOWNLOADS }, (_, index) => startPaused(t, child.server, `/${index % LARGE_FILES}`)),
  );
  const answers = await Promise.all(
    downloads.map(async (download, index): Promise<Answer> => {
      const { status } = download;
      if (!completes(index)) {
        download.leave();
        return { status, isWhole: true };
      }
      return download.check(expected(index)).then(
        (isWhole) => ({ status, isWhole }),
        () => undefined,
      );
    }),
  );
  const recovery = await recoveryOf(async () => {
    const { status, body } = await request(child.server, { path: '/0' });
    return status === 200 && body.equals(expected(0));
  });
  await nothingOnLoan(child);
  t.log(tally(answers), `${Math.round(child.anonymousBytes() / MIB)} MiB of anonymous memory afterwards`);
  const isKilled = group.kills() > 0 || !child.isAlive;
  return [
    wordsFor(answers),
    ...(answers.includes(undefined) ? ['responses are cut off'] : []),
    isKilled ? 'the process is killed' : 'the process lives',
    recovery,
  ].join('; ');
}

function wordsFor(answers: readonly Answer[]): string {
  const statuses = new Set(answers.flatMap((answer) => answer?.status ?? []));
  const others = [...statuses].filter((status) => status !== 200 && status !== 503).sort();
  const isBroken = answers.some((answer) => answer?.status === 200 && !answer.isWhole);
  return `${['200', '503', ...others].join(' or ')}; ${isBroken ? 'some bodies are wrong' : 'every 200 is whole'}`;
}

/** Asks until all is well again, and says how long that took. */
async function recoveryOf(isWell: () => Promise<boolean>): Promise<string> {
  const startedAt = performance.now();
  await until('it recovers', () => isWell().catch(() => false), 12 * RECOVERY_MS);
  const within = performance.now() - startedAt < RECOVERY_MS;
  return within ? `well again within ${RECOVERY_MS / 1000} s` : `not well again within ${RECOVERY_MS / 1000} s`;
}

async function nothingOnLoan(child: ChildServer): Promise<void> {
  await until('all is given back', async () => {
    const { pooledBytes, mappedBytes } = await child.stats();
    return pooledBytes === 0 && mappedBytes === 0;
  });
}

function tally(answers: readonly Answer[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const answer of answers) {
    const status = answer?.status ?? 'no answer';
    counts[status] = (counts[status] ?? 0) + 1;
  }
  return counts;
}
