import type * as PromClient from 'prom-client';
import type { AccessPolicy } from '../../access/policy.js';
import { statusOf } from '../../contract/errors.js';
import type { Store, StoreStats } from '../../contract/store.js';
import type { ExchangeHandler, Handler } from '../../handler/handler.js';
import { admitsOperator, refuseOperator } from '../../handler/operator-access.js';
import { answerError, answerReply } from '../../handler/reply.js';
import type { HandlerStats } from '../../handler/stats.js';
import { createMetrics, type Metrics } from '../../metrics/metrics.js';
import { jsonReply, type Reply } from '../../protocols/protocol.js';
import type { CacheServer } from '../../server/server.js';
import type { ServerStats } from '../../server/stats.js';
import { loadOptional } from '../../util/load-optional.js';

/** Below it the server of the command line answers about itself. */
export const OPERATOR_PATH = '/_hotblob/';
/** What `GET /_hotblob/stats` answers. JSON has no infinity: `maxBytes` of the largest size class is null there. */
export interface StatsDocument {
  readonly version: string;
  readonly uptimeSeconds: number;
  readonly handler: HandlerStats;
  readonly server: ServerStats;
  readonly store: StoreStats;
}

/** What a server can say about itself. */
export interface Operated {
  readonly version: string;
  readonly handler: Pick<Handler, 'stats'>;
  readonly server: Pick<CacheServer, 'stats'>;
  readonly store: Store;
  readonly access: AccessPolicy | undefined;
  /** Whether it closes, so that nobody should be sent to it any more. */
  isDraining(): boolean;
}

/**
 * Answers what operators ask: `ready` to everybody; `stats`, and `metrics` where `prom-client` is installed, to whoever may
 * read. What else is below {@link OPERATOR_PATH} is left to whoever comes next.
 */
export function operatorPages(operated: Operated): ExchangeHandler {
  const metrics = metricsOf(operated);
  const pages = new Map<string, () => Reply | Promise<Reply>>([['stats', () => jsonReply(200, statsOf(operated))]]);
  if (metrics !== undefined) {
    pages.set('metrics', async () => ({
      status: 200,
      body: { contentType: metrics.contentType, text: await metrics.text() },
    }));
  }
  return {
    async handle(exchange) {
      const { url } = exchange;
      if (!url.startsWith(OPERATOR_PATH)) return false;
      const name = url.slice(OPERATOR_PATH.length).split('?', 1)[0] ?? '';
      const page = name === 'ready' ? READY : pages.get(name);
      if (page === undefined) return false;
      try {
        if (exchange.method !== 'GET' && exchange.method !== 'HEAD')
          refuseOperator(exchange, 405, { allow: 'GET, HEAD' });
        else if (page === READY && operated.isDraining()) answerError(exchange, 503);
        else if (page === READY || (await admitsOperator(exchange, operated.access)))
          answerReply(exchange, await page());
      } catch (error) {
        if (exchange.headersSent)
          exchange.destroy(new Error('an answer about the server has failed', { cause: error }));
        else answerError(exchange, statusOf(error));
      }
      return true;
    },
  };
}

const READY = () => jsonReply(200, { status: 'ready' });

function statsOf({ version, handler, server, store }: Operated): StatsDocument {
  return {
    version,
    uptimeSeconds: Math.round(process.uptime()),
    handler: handler.stats(),
    server: server.stats(),
    store: store.stats?.() ?? {},
  };
}

/** Undefined where `prom-client` is not installed. */
function metricsOf({ handler, server, store }: Operated): Metrics | undefined {
  // its types describe what its module holds
  const client = loadOptional('prom-client') as typeof PromClient | undefined;
  if (client === undefined) return undefined;
  const register = new client.Registry();
  client.collectDefaultMetrics({ register });
  return createMetrics({ handlers: { cache: handler }, servers: { main: server }, stores: { main: store }, register });
}
