import { once } from 'node:events';
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { appendFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import http2 from 'node:http2';
import { setTimeout as wait } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { WIRES } from '../helpers/file-site.js';
import { MIB, pattern, temporaryDirectory, writePattern } from '../helpers/files.js';
import { type PausedDownload, startPaused, startPausedOn } from '../helpers/paused.js';
import { settled, until } from '../helpers/poll.js';
import type { RunningServer } from '../helpers/servers.js';
import { faultTable } from './table.js';

const { fault } = faultTable(test, 'Files that change during a download', ['what', 'the store']);

/** More than what is on its way to a client that does not read, over any connection. */
const VICTIM_BYTES = 24 * MIB;
const OTHERS = 10;
const OTHER_BYTES = MIB;
/** Who has got nothing for so long leaves. */
const PATIENCE_MS = 5000;

const BEFORE = pattern(VICTIM_BYTES, 1);
const AFTER = pattern(VICTIM_BYTES, 2);

const CHANGES: readonly { what: string; change(path: string): Promise<unknown> }[] = [
  { what: 'cut off to nothing', change: (path) => truncate(path, 0) },
  { what: 'cut off in the middle', change: (path) => truncate(path, VICTIM_BYTES / 2 + 100) },
  { what: 'rewritten in place, with as many bytes', change: async (path) => rewrite(path, AFTER) },
  { what: 'appended to', change: (path) => appendFile(path, 'more') },
  { what: 'deleted', change: (path) => rm(path) },
  {
    what: 'replaced by rename',
    change: (path) => writeFile(`${path}.new`, AFTER).then(() => rename(`${path}.new`, path)),
  },
];

/** What the next download may still be, for a second, where the store promises that nothing changes. */
const OLD = new Set(['whole, as it was', 'cut off', '500']);

function rewrite(path: string, bytes: Buffer): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes, 0, bytes.byteLength, 0);
  ftruncateSync(fd, bytes.byteLength);
  closeSync(fd);
}

/** Ways of serving: what the store promises, and where bytes may come from. */
const WAYS = {
  'promises nothing': [{ artifact: { immutable: false } }, { artifact: { immutable: false }, only: 'read' }],
  'promises that files never change in place': [{ artifact: { immutable: true } }],
} as const;

for (const [store, ways] of Object.entries(WAYS)) {
  for (const { what, change } of CHANGES) {
    fault([what, store], async (t) => {
      const outcomes = new Map<string, Set<string>>();
      for (const way of ways) {
        await Promise.all(
          WIRES.map(async (kind) => {
            const outcome = await outcomeOf(t, kind, way, change);
            outcomes.set(outcome, (outcomes.get(outcome) ?? new Set()).add(kind));
          }),
        );
      }
      const words = [...outcomes].map(([outcome, kinds]) =>
        outcomes.size > 1 ? `${WIRES.filter((kind) => kinds.has(kind)).join(', ')}: ${outcome}` : outcome,
      );
      return words.sort().join('; ');
    });
  }
}

async function outcomeOf(
  t: ExecutionContext,
  kind: (typeof WIRES)[number],
  way: (typeof WAYS)[keyof typeof WAYS][number],
  change: (path: string) => Promise<unknown>,
): Promise<string> {
  const directory = await temporaryDirectory(t);
  const child = await ChildServer.start(t, { kind, directory, ...way });
  writePattern(directory, 'victim', VICTIM_BYTES, 1);
  for (let index = 0; index < OTHERS; index++) writePattern(directory, `${index}`, OTHER_BYTES, index);
  const client = await connect(t, child.server);
  const victim = await client.start('/victim');
  await settled(async () => (await child.stats()).sent);
  await change(`${directory}/victim`);

  const others = Promise.all(
    Array.from({ length: OTHERS }, (_, index) => client.start(`/${index}`).then(isWhole(index))),
  );
  const patience = new AbortController();
  const [download, neighbours] = await Promise.all([
    Promise.race([victim.finish().then(describe, () => 'cut off'), tired(patience.signal)]),
    Promise.race([others, tired(patience.signal)]),
  ]);
  patience.abort();
  victim.leave();
  client.leave();
  if (!child.isAlive) return `the process ends (${child.process.signalCode})`;
  const stalls = neighbours === undefined || download === undefined;
  if (!stalls)
    t.deepEqual(
      neighbours,
      neighbours.map(() => true),
      'the others get all of theirs',
    );
  const ask = () =>
    request(child.server, { path: '/victim' }).then(
      ({ status, body }) => (status === 200 ? describe(body) : `${status}`),
      () => 'cut off',
    );
  // With the promise a path is looked at once a second.
  let next = await ask();
  for (let looks = 0; looks < 30 && OLD.has(next) && way.artifact.immutable; looks++) {
    await wait(100);
    next = await ask();
  }
  await until('nothing is lent any more', async () => {
    const { pooledBytes, mappedBytes } = await child.stats();
    return pooledBytes === 0 && mappedBytes === 0;
  });
  t.true(child.isAlive);
  child.process.kill('SIGKILL');
  const it = stalls
    ? 'the connection stalls until its client leaves'
    : `the download is ${download}, ten others are whole`;
  return `${it}; the next one is ${next}`;
}

function isWhole(index: number): (download: PausedDownload) => Promise<boolean> {
  return async (download) => (await download.finish()).equals(pattern(OTHER_BYTES, index));
}

/** What a body is, in words. */
function describe(body: Buffer): string {
  if (body.equals(BEFORE)) return 'whole, as it was';
  if (body.equals(AFTER)) return 'whole, as it is now';
  if (body.equals(BEFORE.subarray(0, body.byteLength))) return 'what is left of it';
  if (body.subarray(0, VICTIM_BYTES).equals(BEFORE)) return 'whole, as it is now';
  return 'a mixture of before and after';
}

async function tired(signal: AbortSignal): Promise<undefined> {
  await wait(PATIENCE_MS, undefined, { signal }).catch(() => {});
}

interface Client {
  start(path: string): Promise<PausedDownload>;
  leave(): void;
}

/** Downloads over HTTP/2 share a connection; those over HTTP/1.1 cannot. */
async function connect(t: ExecutionContext, server: RunningServer): Promise<Client> {
  if (server.version === 1) return { start: (path) => startPaused(t, server, path), leave() {} };
  const session = http2.connect(`${server.tls ? 'https' : 'http'}://127.0.0.1:${server.port}`, {
    ca: server.certificate?.cert,
  });
  t.teardown(() => session.destroy());
  session.on('error', () => {});
  await once(session, 'connect');
  // One download that is not read must not use up what all share.
  session.setLocalWindowSize(64 * MIB);
  return { start: (path) => startPausedOn(session, path), leave: () => session.destroy() };
}
