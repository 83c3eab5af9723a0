import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Exchange } from '../contract/exchange.js';
import type { ExchangeHandler } from '../handler/handler.js';
import type { SenderOptions } from '../handler/options.js';
import { createRouteSender, type Sender } from '../handler/sender.js';
import { Http1Exchange } from './http1-exchange.js';
import { nodeListener } from './node.js';
import { assertNode } from './route-arguments.js';

/**
 * Returns a middleware for Express 4 and 5. Mount it below a path: `app.use('/cache', expressMiddleware(handler))`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `handler` is not a handler
 */
export function expressMiddleware(handler: ExchangeHandler) {
  const listener: (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void =
    nodeListener(handler);
  return listener;
}

/** Sender for routes of Express. */
export type ExpressSender = Sender<[request: IncomingMessage, response: ServerResponse]>;

/**
 * Creates a sender for routes of Express 4 and 5. Create one sender per server and use it in every route, because open
 * files and limits belong to the sender. Express 4 ignores the promise of a route, so end the route with
 * `.catch(next)`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid option
 */
export function createSender(options: SenderOptions = {}): ExpressSender {
  return createRouteSender(options, (request, response) => expressExchange(request, response));
}

function expressExchange(request: IncomingMessage, response: ServerResponse): Exchange {
  assertNode(request, response, 'the request and response of Express');
  return new Http1Exchange(request, response);
}
