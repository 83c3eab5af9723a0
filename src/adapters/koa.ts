import type { Exchange } from '../contract/exchange.js';
import { assertHandler } from '../handler/assert-handler.js';
import type { ExchangeHandler } from '../handler/handler.js';
import type { SenderOptions } from '../handler/options.js';
import { answerFailure } from '../handler/reply.js';
import { createRouteSender, type Sender } from '../handler/sender.js';
import { exchangeOf, type NodeRequest, type NodeResponse } from './node.js';
import { assertNode } from './route-arguments.js';

/** Part of the Koa context that the adapter uses. */
export interface KoaContext {
  /** Request of Node. */
  readonly req: NodeRequest;
  /** Response of Node. */
  readonly res: NodeResponse;
  /** URL from which no middleware has removed a path. */
  readonly originalUrl?: string | undefined;
  /** If false, Koa does not send a response. The adapter sets it to false. */
  respond?: boolean | undefined;
}

/**
 * Returns a middleware for Koa 2 and 3. To mount it below a path, use `koa-mount` or the handler's `mountPath`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `handler` is not a handler
 */
export function koaMiddleware(handler: ExchangeHandler) {
  assertHandler(handler);
  return async (context: KoaContext, next: () => Promise<unknown>): Promise<void> => {
    const exchange = koaExchange(context);
    let isHandled: boolean;
    try {
      isHandled = await handler.handle(exchange);
    } catch (error) {
      // Koa reports the error, but does not end a response whose headers have been sent.
      if (exchange.headersSent) answerFailure(exchange, error);
      throw error;
    }
    if (isHandled) context.respond = false;
    else await next();
  };
}

/** Sender for routes of Koa. */
export type KoaSender = Sender<[context: KoaContext]>;

/**
 * Creates a sender for routes of Koa 2 and 3. Create one sender per server and use it in every route, because open
 * files and limits belong to the sender.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid option
 */
export function createSender(options: SenderOptions = {}): KoaSender {
  return createRouteSender(options, (context) => koaExchange(context));
}

function koaExchange(context: KoaContext): Exchange {
  assertNode(context?.req, context?.res, 'the context of Koa');
  return exchangeOf(context.req, context.res, {
    originalUrl: context.originalUrl,
    // `respond` is set at once, not at the end of the response, because outer middleware may stop waiting earlier.
    onHeadersSent() {
      context.respond = false;
    },
  });
}
