import type { Handler } from '../handler.js';
import { exchangeOf, type NodeRequest, type NodeResponse } from './node.js';

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
export function koaMiddleware(handler: Handler) {
  return async (context: KoaContext, next: () => Promise<unknown>): Promise<void> => {
    if (await handler.handle(exchangeOf(context.req, context.res))) context.respond = false;
    else await next();
  };
}
