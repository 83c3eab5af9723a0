import type { Artifact } from '../contract/artifact.js';
import type { Exchange } from '../contract/exchange.js';
import type { ExchangeHandler } from '../handler/handler.js';
import type { SenderOptions } from '../handler/options.js';
import { exchangeOf, type NodeRequest, type NodeResponse } from './node.js';
import { type RouteSender, routeSender } from './route-sender.js';

/** What the middleware needs of Koa's context. */
export interface KoaContext {
  /** Node's request. */
  readonly req: NodeRequest;
  /** Node's response. */
  readonly res: NodeResponse;
  /** Set to false, which keeps Koa from answering too. */
  respond?: boolean | undefined;
}

/** A middleware for Koa; mount it below a path with `koa-mount`, or with the handler's `mountPath`. */
export function koaMiddleware(handler: ExchangeHandler) {
  return async (context: KoaContext, next: () => Promise<unknown>): Promise<void> => {
    if (await handler.handle(koaExchange(context))) context.respond = false;
    else await next();
  };
}

/** What {@link createSender} makes. */
export type KoaSender = RouteSender<(context: KoaContext, artifact: Artifact) => Promise<boolean>>;

/**
 * Makes a sender for routes of Koa 2 and 3. One is enough for all routes of a server: budgets and open files are a
 * sender's.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function createSender(options: SenderOptions = {}): KoaSender {
  return routeSender(options, (sender) => (context, artifact) => sender.send(koaExchange(context), artifact));
}

function koaExchange(context: KoaContext): Exchange {
  return exchangeOf(context.req, context.res, {
    // As soon as something is sent: a middleware in front may give up waiting for us.
    taken() {
      context.respond = false;
    },
  });
}
