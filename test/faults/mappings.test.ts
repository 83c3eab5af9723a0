import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import http2 from 'node:http2';
import test, { type ExecutionContext } from 'ava';
import { afterHttp2Read } from '../../src/util/after-http2-read.js';
import { ChildServer } from '../helpers/child.js';
import { MIB, pattern, temporaryDirectory, writePattern } from '../helpers/files.js';
import { type PausedDownload, startPaused, startPausedOn } from '../helpers/paused.js';
import { settled, until } from '../helpers/poll.js';
import { faultTable } from './table.js';

const { fault } = faultTable(test, 'Mappings under garbage collection, eviction and a descriptor limit', [
  'load',
  'connections',
]);

const FILES = 12;
const MAX_OPEN_FILES = 8;
const FILE_BYTES = 3 * MIB;
const DOWNLOADS = 128;
const ROUNDS = 6;

for (const [kind, connections] of [
  ['http', 'HTTP/1.1, one connection per download'],
  ['h2c', 'HTTP/2, one connection'],
] as const) {
  fault(
    [
      `${ROUNDS} rounds of ${DOWNLOADS} stalled downloads of ${FILES} artifacts with ${MAX_OPEN_FILES} descriptors; in each round garbage is collected, pages are evicted, and half of the downloads are reset by their clients`,
      connections,
    ],
    (t) => stress(t, kind),
  );
}

async function stress(t: ExecutionContext, kind: 'http' | 'h2c'): Promise<string> {
  const directory = await temporaryDirectory(t);
  const child = await ChildServer.start(t, { kind, directory, maxOpenFiles: MAX_OPEN_FILES });
  for (let index = 0; index < FILES; index++) writePattern(directory, `${index}`, FILE_BYTES, index);
  const statuses = new Set<number>();
  let mapped = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const { start, close } = await connect(t, child);
    const downloads = await Promise.all(
      Array.from({ length: DOWNLOADS }, async (_, index) => {
        const file = (index + round) % FILES;
        return { file, index, download: await start(`/${file}`) };
      }),
    );
    await settled(async () => (await child.stats()).sent);
    mapped = Math.max(mapped, (await child.stats()).mappings);
    for (const file of [round, round + 3, round + 6]) await child.evict(`${directory}/${file % FILES}`);
    await Promise.all(
      downloads.map(async ({ file, index, download }) => {
        statuses.add(download.status);
        if (index % 2 === 0 || download.status !== 200) return download.end();
        t.true((await download.finish()).equals(pattern(FILE_BYTES, file)), `download ${index} of ${file}`);
      }),
    );
    close();
    t.true(child.isAlive, `the process ended with ${child.process.signalCode}`);
  }
  t.true(mapped > 0, 'some downloads were mapped');
  for (const status of statuses) t.true([200, 503].includes(status), `${status}`);
  await until('mappings are released with their files', async () => {
    const { mappings, mappedBytes, pooledBytes } = await child.stats();
    return (
      mappings <= MAX_OPEN_FILES && mappedBytes + pooledBytes === 0 && mapsBelow(directory, child) <= MAX_OPEN_FILES
    );
  });
  return `${[...statuses].sort().join(' or ')}; every 200 that is read to its end is complete; the process survives; at most one mapping per descriptor is left`;
}

interface Client {
  start(path: string): Promise<PausedDownload>;
  close(): void;
}

async function connect(t: ExecutionContext, { server }: ChildServer): Promise<Client> {
  if (server.version === 1) return { start: (path) => startPaused(t, server, path), close() {} };
  const session = http2.connect(`http://127.0.0.1:${server.port}`);
  t.teardown(() => afterHttp2Read(() => session.destroy()));
  session.on('error', () => {});
  await once(session, 'connect');
  session.setLocalWindowSize(64 * MIB);
  return { start: (path) => startPausedOn(session, path), close: () => afterHttp2Read(() => session.destroy()) };
}

/** Returns the number of mappings of files below a directory, as the kernel reports it. */
function mapsBelow(directory: string, { process: { pid } }: ChildServer): number {
  return readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .filter((line) => line.includes(` ${directory}/`)).length;
}
