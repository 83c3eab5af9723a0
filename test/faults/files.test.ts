import { once } from 'node:events';
import { closeSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { appendFile, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import http2 from 'node:http2';
import { setTimeout as wait } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { afterHttp2Read } from '../../src/util/after-http2-read.js';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { WIRES } from '../helpers/file-site.js';
import { MIB, pattern, temporaryDirectory, writePattern } from '../helpers/files.js';
import { type PausedDownload, startPaused, startPausedOn } from '../helpers/paused.js';
import { settled, until } from '../helpers/poll.js';
import type { RunningServer } from '../helpers/servers.js';
import { faultTable } from './table.js';

const { fault } = faultTable(test, 'Files that change during a download', ['change', 'promise of the store']);

/** More than the buffers of any connection to a client that does not read. */
const VICTIM_BYTES = 24 * MIB;
const OTHERS = 10;
const OTHER_BYTES = MIB;
/** Time without a complete download after which the client disconnects. */
const CLIENT_TIMEOUT_MS = 60_000;

const BEFORE = pattern(VICTIM_BYTES, 1);
const AFTER = pattern(VICTIM_BYTES, 2);

const CHANGES: readonly { name: string; change(path: string): Promise<unknown> }[] = [
  { name: 'truncated to zero bytes', change: (path) => truncate(path, 0) },
  { name: 'truncated in the middle', change: (path) => truncate(path, VICTIM_BYTES / 2 + 100) },
  { name: 'rewritten in place with the same size', change: async (path) => rewrite(path, AFTER) },
  {
    name: 'rewritten in place with the same size and modification time',
    change: async (path) => {
      rewrite(path, AFTER);
      await utimes(path, 1, 1);
    },
  },
  { name: 'appended to', change: (path) => appendFile(path, 'more') },
  { name: 'deleted', change: (path) => rm(path) },
  {
    name: 'replaced by rename',
    change: (path) => writeFile(`${path}.new`, AFTER).then(() => rename(`${path}.new`, path)),
  },
];

/** Outcomes of the next download while an open file may still be reused: for up to a second with the promise. */
const STALE = new Set(['complete, old content', 'aborted', '500']);

function rewrite(path: string, bytes: Buffer): void {
  const fd = openSync(path, 'r+');
  writeSync(fd, bytes, 0, bytes.byteLength, 0);
  ftruncateSync(fd, bytes.byteLength);
  closeSync(fd);
}

/** Options of the server by promise of the store. */
const SERVERS = {
  none: [{ artifact: { immutable: false } }, { artifact: { immutable: false }, only: 'read' }],
  'files never change in place': [{ artifact: { immutable: true } }],
} as const;

for (const [promise, servers] of Object.entries(SERVERS)) {
  for (const { name, change } of CHANGES) {
    fault([name, promise], async (t) => {
      const outcomes = new Map<string, Set<string>>();
      for (const options of servers) {
        await Promise.all(
          WIRES.map(async (kind) => {
            const outcome = await outcomeOf(t, kind, options, change);
            outcomes.set(outcome, (outcomes.get(outcome) ?? new Set()).add(kind));
          }),
        );
      }
      const cells = [...outcomes].map(([outcome, kinds]) =>
        outcomes.size > 1 ? `${WIRES.filter((kind) => kinds.has(kind)).join(', ')}: ${outcome}` : outcome,
      );
      return cells.sort().join('; ');
    });
  }
}

async function outcomeOf(
  t: ExecutionContext,
  kind: (typeof WIRES)[number],
  options: (typeof SERVERS)[keyof typeof SERVERS][number],
  change: (path: string) => Promise<unknown>,
): Promise<string> {
  const directory = await temporaryDirectory(t);
  const child = await ChildServer.start(t, { kind, directory, ...options });
  writePattern(directory, 'victim', VICTIM_BYTES, 1);
  await utimes(`${directory}/victim`, 1, 1);
  for (let index = 0; index < OTHERS; index++) writePattern(directory, `${index}`, OTHER_BYTES, index);
  const client = await connect(t, child.server);
  const victim = await client.start('/victim');
  await settled(async () => (await child.stats()).sent);
  await change(`${directory}/victim`);

  const others = Promise.all(
    Array.from({ length: OTHERS }, (_, index) => client.start(`/${index}`).then(isWhole(index))),
  );
  const timeout = new AbortController();
  const [download, neighbours] = await Promise.all([
    Promise.race([victim.finish().then(describe, () => 'aborted'), expired(timeout.signal)]),
    Promise.race([others, expired(timeout.signal)]),
  ]);
  timeout.abort();
  victim.leave();
  client.leave();
  if (!child.isAlive) return `the process ends (${child.process.signalCode})`;
  const stalls = neighbours === undefined || download === undefined;
  if (!stalls)
    t.deepEqual(
      neighbours,
      neighbours.map(() => true),
      'the concurrent downloads are complete',
    );
  const get = () =>
    request(child.server, { path: '/victim' }).then(
      ({ status, body }) => (status === 200 ? describe(body) : `${status}`),
      () => 'aborted',
    );
  // With the promise, the handler checks a path once a second.
  let next = await get();
  for (let looks = 0; looks < 30 && STALE.has(next) && options.artifact.immutable; looks++) {
    await wait(100);
    next = await get();
  }
  await until('all buffers and mappings are released', async () => {
    const { pooledBytes, mappedBytes } = await child.stats();
    return pooledBytes === 0 && mappedBytes === 0;
  });
  t.true(child.isAlive);
  child.process.kill('SIGKILL');
  const outcome = stalls
    ? 'the connection stalls until its client disconnects'
    : `download: ${download}; ten concurrent downloads: complete`;
  return `${outcome}; next download: ${next}`;
}

function isWhole(index: number): (download: PausedDownload) => Promise<boolean> {
  return async (download) => (await download.finish()).equals(pattern(OTHER_BYTES, index));
}

/** Describes a body in words. */
function describe(body: Buffer): string {
  if (body.equals(BEFORE)) return 'complete, old content';
  if (body.equals(AFTER)) return 'complete, new content';
  if (body.equals(BEFORE.subarray(0, body.byteLength))) return 'truncated content';
  if (body.subarray(0, VICTIM_BYTES).equals(BEFORE)) return 'complete, new content';
  return 'a mixture of old and new content';
}

async function expired(signal: AbortSignal): Promise<undefined> {
  await wait(CLIENT_TIMEOUT_MS, undefined, { signal }).catch(() => {});
}

interface Client {
  start(path: string): Promise<PausedDownload>;
  leave(): void;
}

/** Connects one HTTP/2 session for all downloads. Over HTTP/1.1 each download has its own connection. */
async function connect(t: ExecutionContext, server: RunningServer): Promise<Client> {
  if (server.version === 1) return { start: (path) => startPaused(t, server, path), leave() {} };
  const session = http2.connect(`${server.tls ? 'https' : 'http'}://127.0.0.1:${server.port}`, {
    ca: server.certificate?.cert,
  });
  t.teardown(() => afterHttp2Read(() => session.destroy()));
  session.on('error', () => {});
  await once(session, 'connect');
  // A download that is not read must not use up the session's window.
  session.setLocalWindowSize(64 * MIB);
  return { start: (path) => startPausedOn(session, path), leave: () => afterHttp2Read(() => session.destroy()) };
}
