import { spawnSync } from 'node:child_process';
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
import { check, Ledger, work } from './soak/worker.js';
import { faultTable } from './table.js';

/** Below ten minutes the slope of the memory is logged, not asserted. A release takes 120. */
const MINUTES = Number(process.env.SOAK_MINUTES ?? 0.5);
const MAX_SLOPE = MIB;
const WORKERS = 4;

const { fault } = faultTable(test, 'Everything at once, for long', ['what', 'store', 'connections'], {
  atOnce: true,
});

for (const [store, tls] of [
  ['segments', false],
  ['directory', true],
] as const) {
  fault(
    [
      'every protocol, HTTP/1.1 and HTTP/2, all sizes, hot and cold, evictions, clients that leave or pause, restarts and a kill',
      store,
      tls ? 'TLS' : 'plain',
    ],
    (t) => soak(t, store, tls),
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
  const isOver = () => performance.now() >= endsAt;
  const workers = Array.from({ length: WORKERS }, (_, index) =>
    work(t, command, ledger, index % 2 === 0 ? 1 : 2, randomNumbers(index + 1), isOver),
  );

  await wait(length / 6);
  t.is(await command.restart('SIGTERM'), 0);
  await wait(length / 6);
  t.is(await command.restart('SIGKILL'), 'SIGKILL');
  await makeCold(`${directory}/${store}`);
  await wait(length / 6);
  const memory: [number, number][] = [];
  while (!isOver()) {
    memory.push([performance.now() / 60_000, command.anonymousBytes()]);
    await wait(length / 600);
  }
  await Promise.all(workers);

  await assertStored(command, ledger);
  t.deepEqual(ledger.wrong, []);
  const { hits, uploads, evicted, left } = ledger;
  t.true(Math.min(hits / 10, uploads, left) > 5 * MINUTES, JSON.stringify({ hits, uploads, evicted, left }));
  const slope = slopeOf(memory);
  const about = `${(slope / MIB).toFixed(2)} MiB a minute at ${((memory.at(-1)?.[1] ?? 0) / MIB).toFixed(0)} MiB`;
  t.log(`${hits} hits, ${uploads} uploads, ${evicted} evicted, ${left} clients left; memory: ${about}`);
  if (MINUTES >= 10) t.true(slope < MAX_SLOPE, about);
  for (const client of command.clients) if (client.version === 2) sessionOf(client).destroy();
  // Of HTTP/1.1 each worker has left a connection that waits for its next request.
  const most = descriptorsAtStart + WORKERS;
  await until('descriptors are those of the start', () => command.descriptors() <= most, 120_000);
  t.is(await command.stop('SIGTERM'), 0);
  t.is(command.stderr, '');
  if (store === 'segments') {
    const { status, stdout } = spawnSync(process.execPath, ['dist/cli.js', 'verify', `${directory}/segments`]);
    t.is(status, 0, stdout.toString());
  }
  return 'every answer right to the byte; memory flat in the second half; descriptors as at the start; nothing on stderr';
}

async function makeCold(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    try {
      evictWhatIsIdle(`${entry.parentPath}/${entry.name}`);
    } catch {
      // the store has removed it meanwhile
    }
  }
}

/** Asks for everything that was acknowledged once more. */
async function assertStored(command: Command, ledger: Ledger): Promise<void> {
  const [server] = command.clients;
  if (server === undefined) throw new Error('not started');
  for (const n of [...ledger.stored]) {
    const what = artifact(n);
    check(server, ledger, what, await request(server, { path: what.path }));
  }
}

/** Bytes a minute: the median of the slopes between all pairs of looks (Theil and Sen), which single peaks do not move. */
function slopeOf(looks: readonly [minute: number, bytes: number][]): number {
  const slopes = looks.flatMap(([minute, bytes], index) =>
    looks.slice(index + 1).map(([later, then]) => (then - bytes) / (later - minute)),
  );
  slopes.sort((a, b) => a - b);
  return slopes[Math.floor(slopes.length / 2)] ?? 0;
}
