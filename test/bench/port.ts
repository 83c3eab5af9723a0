import { setTimeout as wait } from 'node:timers/promises';
import { type Server, withClients, withServers } from './children.js';
import type { BenchContext } from './context.js';
import type { IdleClientsConfig } from './idle-clients.js';
import { h2load, h2loadFor, type Load, repeated, wrk } from './load.js';
import { comparison, interleaved, medianRatio } from './rounds.js';
import type { Contender, Protocol } from './server.js';
import { type Line, median, show } from './table.js';

const CONTENDERS = ['hotblob', 'node'] as const satisfies readonly Contender[];
/** Ratios near 1 need many short rounds, because other processes disturb the measurement. */
const ROUNDS = 15;
const ROUND_SECONDS = 1;
const BATCHES = 5;
const HOT_TARGET = 0.97;
const CONNECTION_TARGET = 0.9;
/** Number of concurrent connections. Must be below the backlog of a listening socket (511). */
const CONNECTIONS_AT_ONCE = 300;
const IDLE_CONNECTIONS = 1000;
const IDLE_ROUNDS = 3;
const MAX_MEMORY = 1.2;
const SETTLE_MS = 1000;
const TIMEOUT_MS = 60_000;

const NAMES: Readonly<Record<Protocol, string>> = { h1: 'HTTP/1.1', h2c: 'h2c' };

interface PortRow {
  readonly protocol: Protocol;
  readonly workload: string;
  readonly atLeast: number;
  readonly load: (server: Server) => Promise<Load>;
}

/** Measures the overhead of `hotblob/server` for a request listener, compared with node:http and node:http2. */
export async function port(context: BenchContext): Promise<Line[]> {
  const hotHttp2 = h2loadFor(ROUND_SECONDS, 5000, 4, 16);
  const rows: readonly PortRow[] = [
    {
      protocol: 'h1',
      workload: 'request listener, 4 KiB',
      atLeast: HOT_TARGET,
      load: (server) => wrk(server.url(''), 16, ROUND_SECONDS),
    },
    {
      protocol: 'h2c',
      workload: 'request listener, 4 KiB',
      atLeast: HOT_TARGET,
      load: (server) => hotHttp2(server.url('')),
    },
    {
      protocol: 'h1',
      workload: 'request listener, one connection per request',
      atLeast: CONNECTION_TARGET,
      load: (server) => wrk(server.url(''), 16, ROUND_SECONDS, ['Connection: close']),
    },
    {
      protocol: 'h2c',
      workload: 'request listener, one connection per request',
      atLeast: CONNECTION_TARGET,
      load: (server) => repeated(BATCHES, () => h2load(server.url(''), CONNECTIONS_AT_ONCE, CONNECTIONS_AT_ONCE, 1)),
    },
  ];
  const lines: Line[] = [];
  for (const row of rows) lines.push(await compare(context, row));
  for (const protocol of ['h1', 'h2c'] as const) lines.push(await idle(context, protocol));
  return lines;
}

async function compare(context: BenchContext, { protocol, workload: title, atLeast, load }: PortRow): Promise<Line> {
  const workload = `${NAMES[protocol]}, ${title}`;
  context.progress(workload);
  const configs = CONTENDERS.map((contender) => ({ contender, protocol }));
  const samples = await withServers(configs, (servers) => interleaved(servers, context.isQuick ? 5 : ROUNDS, load));
  return comparison(samples, { workload, figure: 'requests/s', against: 'node', atLeast, remark: '' });
}

interface IdleMemory {
  readonly startBytes: number;
  readonly bytes: number;
}

/** Measures memory with connections that stay open after one request. */
async function idle(context: BenchContext, protocol: Protocol): Promise<Line> {
  const workload = `${NAMES[protocol]}, ${IDLE_CONNECTIONS} idle connections`;
  context.progress(workload);
  const rounds = new Map<Contender, IdleMemory[]>(CONTENDERS.map((contender) => [contender, []]));
  for (let round = 0; round < (context.isQuick ? 1 : IDLE_ROUNDS); round++) {
    for (const contender of CONTENDERS) {
      const memory = await withServers([{ contender, protocol }], async ([server]) => server && idleMemory(server));
      if (memory !== undefined) rounds.get(contender)?.push(memory);
    }
  }
  const [ours = [], theirs = []] = CONTENDERS.map((contender) => rounds.get(contender));
  const [our = [], their = []] = [ours, theirs].map((all) => all.map(({ bytes }) => bytes));
  const ratio = Math.min(...our) / Math.min(...their);
  return {
    workload,
    figure: 'RssAnon, MB',
    hotblob: show(Math.min(...our) / 1e6),
    against: `node ${show(Math.min(...their) / 1e6)}`,
    ratio: show(ratio),
    medianRatio: show(medianRatio(our, their)),
    target: `<= ${MAX_MEMORY}`,
    isMet: ratio <= MAX_MEMORY,
    cpu: '',
    remark: `growth per connection ${growth(ours)} / ${growth(theirs)} kB`,
  };
}

function growth(rounds: readonly IdleMemory[]): string {
  return show(median(rounds.map(({ startBytes, bytes }) => bytes - startBytes)) / IDLE_CONNECTIONS / 1e3);
}

async function idleMemory(server: Server): Promise<IdleMemory> {
  const { port, config } = server;
  const bytesWith = (connections: number): Promise<number> => {
    const clients: IdleClientsConfig = { port, protocol: config.protocol, connections, timeoutMs: TIMEOUT_MS };
    return withClients('./idle-clients.ts', clients, async () => {
      await wait(SETTLE_MS);
      return server.anonymousBytes();
    });
  };
  // Warm-up, so that modules loaded by the first request are not attributed to the connections.
  const startBytes = await bytesWith(1);
  return { startBytes, bytes: await bytesWith(IDLE_CONNECTIONS) };
}
