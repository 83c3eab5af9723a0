import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Artifact } from '../contract/artifact.js';
import type { ExchangeHandler } from '../handler/handler.js';
import type { SenderOptions } from '../handler/options.js';
import { Http1Exchange } from './http1-exchange.js';
import { type RouteSender, routeSender } from './route-sender.js';

/** A middleware for Express, mounted where its artifacts are to be: `app.use('/cache', expressMiddleware(handler))`. */
export function expressMiddleware(handler: ExchangeHandler) {
  return (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void): void => {
    void handler.handle(new Http1Exchange(request, response)).then((isOurs) => isOurs || next());
  };
}

/** What {@link createSender} makes. */
export type ExpressSender = RouteSender<
  (request: IncomingMessage, response: ServerResponse, artifact: Artifact) => Promise<boolean>
>;

/**
 * Makes a sender for routes of Express 4 and 5. One is enough for all routes of a server: budgets and open files are a
 * sender's. Express 4 does not look at promises: there a route ends with `.catch(next)`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function createSender(options: SenderOptions = {}): ExpressSender {
  return routeSender(
    options,
    (sender) => (request, response, artifact) => sender.send(new Http1Exchange(request, response), artifact),
  );
}
