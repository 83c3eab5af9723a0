import { mkdir } from 'node:fs/promises';
import test, { type ExecutionContext } from 'ava';
import { ChildServer } from '../helpers/child.js';
import { request } from '../helpers/client.js';
import { FailingDisk } from '../helpers/failing-disk.js';
import { WIRES } from '../helpers/file-site.js';
import { MIB, pattern, temporaryDirectory, writePattern } from '../helpers/files.js';
import { ODD_LOOKUPS, ODD_UPLOADS } from '../helpers/odd-store.js';
import { startPaused } from '../helpers/paused.js';
import { settled, until } from '../helpers/poll.js';
import { Command } from './command.js';
import { fillDisk } from './full-disk.js';
import { faultTable } from './table.js';

const { fault } = faultTable(test, 'Failing disks and stores', ['fault']);
const OTHERS = 10;
const OTHER_BYTES = 3 * MIB;
/** Time after the other downloads at which a client without a response disconnects. */
const CLIENT_TIMEOUT_MS = 1000;

interface Site {
  readonly directory: string;
  readonly disk: FailingDisk;
  readonly child: ChildServer;
}

const teardowns: (() => unknown)[] = [];
test.after.always(async () => {
  for (const teardown of teardowns.reverse()) await teardown();
});

/** Starts a server for all tests of this file. */
async function open(kind: (typeof WIRES)[number]): Promise<Site> {
  const t = { teardown: (teardown: () => unknown): void => void teardowns.push(teardown) };
  const directory = await temporaryDirectory(t);
  await mkdir(`${directory}/files`);
  const disk = await FailingDisk.compile(directory, 'failing');
  const environment = Object.entries(disk.environment).map(([name, value]) => `${name}='${value}'`);
  const options = { kind, directory: `${directory}/files`, artifact: { immutable: false }, odd: true } as const;
  const child = await ChildServer.start(t, options, `export ${environment.join(' ')} && exec`);
  for (let index = 0; index < OTHERS; index++) writePattern(options.directory, `${index}`, OTHER_BYTES, index);
  return { directory: options.directory, disk, child };
}

/** Sends a request and describes its outcome in words. */
async function outcomeOf(site: Site, method: 'GET' | 'PUT', path: string, others: Promise<unknown>): Promise<string> {
  const disconnect = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  void others.finally(() => {
    timer = setTimeout(() => disconnect.abort(), CLIENT_TIMEOUT_MS);
  });
  try {
    const body = method === 'PUT' ? Buffer.alloc(1000) : undefined;
    const { status } = await request(site.child.server, { method, path, body, signal: disconnect.signal });
    return `${status}`;
  } catch {
    return disconnect.signal.aborted ? 'no response until the client disconnects' : 'aborted';
  } finally {
    clearTimeout(timer);
  }
}

/** Runs `inject` during ten other downloads from the same server, over HTTP/2 on the same connection. */
async function duringDownloads(
  t: ExecutionContext,
  site: Site,
  inject: (others: Promise<unknown>) => Promise<string>,
): Promise<string> {
  const others = Promise.all(
    Array.from({ length: OTHERS }, async (_, index) => {
      const { status, body } = await request(site.child.server, { path: `/${index}` });
      return status === 200 && body.equals(pattern(OTHER_BYTES, index));
    }),
  );
  const outcome = await inject(others);
  t.deepEqual([...new Set(await others)], [true], 'the other downloads are complete');
  await until('all buffers and mappings are released', async () => {
    const { pooledBytes, mappedBytes } = await site.child.stats();
    return pooledBytes === 0 && mappedBytes === 0;
  });
  t.true(site.child.isAlive);
  return outcome;
}

/** Runs the fault over every kind of connection, and names the kinds where outcomes differ. */
async function onEveryConnection(
  t: ExecutionContext,
  run: (site: Site, others: Promise<unknown>) => Promise<string>,
): Promise<string> {
  const outcomes = new Map<string, string[]>();
  for (const kind of WIRES) {
    sites[kind] ??= open(kind);
    const site = await sites[kind];
    const outcome = await duringDownloads(t, site, (others) => run(site, others));
    outcomes.set(outcome, [...(outcomes.get(outcome) ?? []), kind]);
  }
  const cells = [...outcomes].map(([outcome, kinds]) =>
    outcomes.size > 1 ? `${kinds.join(', ')}: ${outcome}` : outcome,
  );
  return `${cells.join('; ')}; ten other downloads are complete; all buffers and mappings are released`;
}

const sites: Partial<Record<(typeof WIRES)[number], Promise<Site>>> = {};

for (const behaviour of ODD_LOOKUPS) {
  fault([`\`get\` ${behaviour}`], (t) =>
    onEveryConnection(t, (site, others) => outcomeOf(site, 'GET', `/odd/${encodeURIComponent(behaviour)}`, others)),
  );
}

for (const behaviour of ODD_UPLOADS) {
  fault([`\`put\` ${behaviour}`], (t) =>
    onEveryConnection(t, (site, others) => outcomeOf(site, 'PUT', `/odd/${encodeURIComponent(behaviour)}`, others)),
  );
}

fault(['reads fail (EIO) before the response headers'], (t) =>
  onEveryConnection(t, async (site, others) => {
    const expected = writePattern(site.directory, 'failing', MIB, 99);
    await site.disk.fail('read');
    const during = await outcomeOf(site, 'GET', '/failing', others);
    await site.disk.mend();
    const { status, body } = await request(site.child.server, { path: '/failing' });
    t.true(status === 200 && body.equals(expected));
    return `${during}; complete once reads succeed again`;
  }),
);

fault(['reads fail (EIO) during a download'], (t) =>
  onEveryConnection(t, async (site) => {
    writePattern(site.directory, 'failing-later', 32 * MIB, 98);
    const download = await startPaused(t, site.child.server, '/failing-later');
    await settled(async () => (await site.child.stats()).sent);
    await site.disk.fail('read');
    const outcome = await download.finish().then(
      () => 'complete',
      () => 'aborted',
    );
    await site.disk.mend();
    download.end();
    return outcome;
  }),
);

for (const store of ['directory', 'segments'] as const) {
  fault([`\`${factoryOf(store)}\` on a full disk`], (t) => fillDisk(t, store));
  fault([`\`${factoryOf(store)}\` on a disk that fails to sync (EIO)`], (t) => syncFails(t, store));
}

function factoryOf(store: 'directory' | 'segments'): string {
  return store === 'directory' ? 'directoryStore' : 'segmentStore';
}

async function syncFails(t: ExecutionContext, store: 'directory' | 'segments'): Promise<string> {
  const directory = await temporaryDirectory(t);
  const disk = await FailingDisk.compile(directory, `/${store}/`);
  const command = await Command.start(directory, store, { environment: disk.environment });
  t.teardown(() => command.stop('SIGKILL'));
  const [server] = command.clients;
  if (server === undefined) throw new Error('not started');
  const put = async (path: string) =>
    (await request(server, { method: 'PUT', path, body: pattern(100_000, 1) })).status;
  t.is(await put('/before'), 200);
  await disk.fail('sync');
  const during = [await put('/during'), await put('/before')];
  await disk.mend();
  t.deepEqual(during, [500, 500]);
  t.is((await request(server, { path: '/during' })).status, 404);
  t.true((await request(server, { path: '/before' })).body.equals(pattern(100_000, 1)));
  t.is(await put('/during'), 200);
  t.is(await command.stop('SIGTERM'), 0);
  t.regex(command.stderr, /^(?:hotblob: upload failed: key \w+, status 500: EIO: .*\n)+$/);
  return '500, and the upload is not visible; stored artifacts stay; uploads succeed once syncs do';
}
