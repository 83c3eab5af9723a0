import type * as PromClient from 'prom-client';
import type { AccessPolicy } from '../../access/policy.js';
import type { ProcessesSource } from '../../cluster/cluster-stats.js';
import type { ProcessStats } from '../../cluster/sum-stats.js';
import { HotblobError, statusOf } from '../../contract/errors.js';
import type { Exchange } from '../../contract/exchange.js';
import type { Store, StoreStats } from '../../contract/store.js';
import type { ExchangeHandler } from '../../handler/handler.js';
import { OperatorAccess } from '../../handler/operator-access.js';
import { answerError, answerReply } from '../../handler/reply.js';
import type { HandlerStats, StatsSource } from '../../handler/stats.js';
import { createMetrics, type Metrics } from '../../metrics/metrics.js';
import { jsonReply, type Reply } from '../../protocols/protocol.js';
import type { ServerStats } from '../../server/stats.js';
import { loadOptional } from '../../util/load-optional.js';
import { sendArtifacts } from './artifacts-page.js';
import { countDescriptorsAsync } from './open-descriptors.js';
import { OPERATOR_PATH } from './operator-path.js';
import { sendPurge } from './purge-page.js';

/** Body of `GET /_hotblob/stats`. JSON has no infinity, so `maxBytes` of the largest size class is `null`. */
export interface StatsDocument {
  readonly version: string;
  readonly uptimeSeconds: number;
  readonly handler: HandlerStats;
  readonly server: ServerStats;
  readonly store: StoreStats;
  /** Measurements of each process, if there are several. The other members are the sums. */
  readonly processes?: readonly ProcessStats[] | undefined;
  /** Sentence about statistics of processes that are missing; undefined if none are. */
  readonly note?: string | undefined;
}

/** Options of {@link createStatusPages}. */
export interface StatusPagesOptions {
  readonly version: string;
  readonly handler: StatsSource<HandlerStats>;
  readonly server: StatsSource<ServerStats>;
  readonly store: Partial<StatsSource<StoreStats>>;
  /** Store whose artifacts the pages list and purge. Without `purge`, it is read-only. */
  readonly artifacts: Pick<Store, 'list' | 'purge'>;
  /** Default: this is the only process. */
  readonly processes?: ProcessesSource | undefined;
  readonly access: AccessPolicy | undefined;
  readonly allowedHosts?: readonly string[] | undefined;
  /** Whether clients for which the policy does not say so may delete artifacts. */
  readonly overwrite: boolean;
  /** Returns whether the server is shutting down and should get no new requests. */
  isDraining(): boolean;
  /** Resolves to why the store cannot be used, or to `undefined` if it can. Default: it can. */
  storeProblem?(): Promise<string | undefined>;
}

/** Handler for the pages of operators. */
export interface StatusPages extends ExchangeHandler {
  /** Stops the purge and the listings in progress. */
  close(): void;
}

/**
 * Creates a handler for the pages of operators: `artifacts`, `purge`, `live`, `ready`, `stats` and `metrics`, which needs `prom-client`. `purge` requires
 * write access, `live` and `ready` require none, and the others require read access. `handle` resolves to `false` for any other path.
 */
export function createStatusPages(options: StatusPagesOptions): StatusPages {
  const access = new OperatorAccess(options.access, options.allowedHosts, options.overwrite);
  const closed = new AbortController();
  const streams = new Map<string, (exchange: Exchange, signal: AbortSignal) => Promise<void>>([
    ['artifacts', (exchange, signal) => sendArtifacts(exchange, options.artifacts, signal)],
    ['purge', (exchange, signal) => sendPurge(exchange, options.artifacts, signal)],
  ]);
  const metrics = createServerMetrics(options);
  const pages = new Map<string, () => Reply | Promise<Reply>>([
    ['stats', async () => jsonReply(200, await collectStats(options))],
  ]);
  const probes = new Map([
    ['live', async () => LIVE],
    ['ready', () => readiness(options)],
  ]);
  pages.set(
    'metrics',
    metrics === undefined ? () => NO_METRICS : async () => textReply(200, metrics.contentType, await metrics.text()),
  );
  return {
    async handle(exchange) {
      const { url } = exchange;
      if (!url.startsWith(OPERATOR_PATH)) return false;
      const name = url.slice(OPERATOR_PATH.length).split('?', 1)[0] ?? '';
      const stream = streams.get(name);
      const page = probes.get(name) ?? pages.get(name);
      if (page === undefined && stream === undefined) return false;
      try {
        if (!(await access.admits(exchange, name === 'purge' ? 'write' : probes.has(name) ? 'none' : 'read')))
          return true;
        if (page !== undefined) answerReply(exchange, await page());
        else await stream?.(exchange, closed.signal);
      } catch (error) {
        if (exchange.headersSent) exchange.destroy(new Error(`the status page ${name} failed`, { cause: error }));
        else answerError(exchange, statusOf(error), {}, undefined, error);
      }
      return true;
    },
    close: () => closed.abort(new HotblobError('ERR_HOTBLOB_CLOSED', 'the server is shutting down')),
  };
}

const NO_METRICS = textReply(
  501,
  'text/plain; charset=utf-8',
  'Metrics need the package prom-client. Install it where hotblob is installed, and restart the server:\n\n  npm install prom-client\n',
);

function textReply(status: number, contentType: string, text: string): Reply {
  return { status, body: { contentType, text } };
}

const LIVE = jsonReply(200, { status: 'live' });

/** An orchestrator sends no requests to a server that is not ready. The body says no more than that, because anyone may read it. */
async function readiness({ isDraining, storeProblem }: StatusPagesOptions): Promise<Reply> {
  if (isDraining()) return jsonReply(503, { status: 'draining' });
  return (await storeProblem?.()) === undefined
    ? jsonReply(200, { status: 'ready' })
    : jsonReply(503, { status: 'the store cannot be used' });
}

async function collectStats({
  version,
  handler,
  server,
  store,
  processes,
}: StatusPagesOptions): Promise<StatsDocument> {
  if (processes === undefined) {
    return {
      version,
      uptimeSeconds: Math.round(process.uptime()),
      handler: await handler.stats(),
      server: await server.stats(),
      store: (await store.stats?.()) ?? {},
    };
  }
  const { handlers, servers, stores, ...rest } = await processes.totals();
  // The names that serve() has given.
  return {
    version,
    ...rest,
    handler: handlers['cache'],
    server: servers['main'],
    store: stores['main'],
  } as StatsDocument;
}

/** Creates the metrics of the server. Returns `undefined` if `prom-client` is not installed. */
function createServerMetrics({ handler, server, store, processes }: StatusPagesOptions): Metrics | undefined {
  // loadOptional() returns unknown.
  const client = loadOptional('prom-client') as typeof PromClient | undefined;
  if (client === undefined) return undefined;
  const register = new client.Registry();
  // The default metrics are those of one process: a scrape would get those of another process each time.
  if (processes === undefined) {
    client.collectDefaultMetrics({ register });
    countDescriptorsAsync(client, register);
  }
  return createMetrics({
    handlers: { cache: handler },
    servers: { main: server },
    stores: { main: store },
    processes,
    register,
  });
}
