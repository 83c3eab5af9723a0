import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { Artifact } from '../contract/artifact.js';
import type { Exchange } from '../contract/exchange.js';
import type { ExchangeHandler } from '../handler/handler.js';
import type { SenderOptions } from '../handler/options.js';
import { answerError } from '../handler/reply.js';
import type { Host } from './host.js';
import { Http1Exchange } from './http1-exchange.js';
import { Http2Exchange } from './http2-exchange.js';
import { type RouteSender, routeSender } from './route-sender.js';

export type { Host } from './host.js';

/** A request of node:http, node:https, or the compatibility API of node:http2. */
export type NodeRequest = IncomingMessage | Http2ServerRequest;
/** Its response. */
export type NodeResponse = ServerResponse | Http2ServerResponse;

/** The exchange behind a request and a response of node:http, node:https, or the compatibility API of node:http2. */
export function exchangeOf(request: NodeRequest, response: NodeResponse, host?: Host): Exchange {
  if ('stream' in request && 'stream' in response) {
    return new Http2Exchange(request.stream, request.headers, request.url, response, host);
  }
  // node:http2 makes both of one kind, or none
  return new Http1Exchange(request as IncomingMessage, response as ServerResponse, host);
}

/**
 * A `'request'` listener, or a middleware of Connect: what is not the handler's goes to `next`, or gets 404 where there is
 * none and nobody else has answered.
 */
export function nodeListener(handler: ExchangeHandler) {
  return (request: NodeRequest, response: NodeResponse, next?: () => void): void => {
    const exchange = exchangeOf(request, response);
    void handler.handle(exchange).then((isOurs) => isOurs || (next ? next() : answerMissing(exchange)));
  };
}

/** A `'stream'` listener for node:http2: faster than its `'request'`. A server that has both runs both: choose one. */
export function streamListener(handler: ExchangeHandler) {
  return (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void => {
    const exchange = new Http2Exchange(stream, headers, headers[':path'] ?? '/');
    void handler.handle(exchange).then((isOurs) => isOurs || answerMissing(exchange));
  };
}

function answerMissing(exchange: Exchange): void {
  if (!exchange.headersSent) answerError(exchange, 404);
}

/** What {@link createSender} makes. */
export type NodeSender = RouteSender<
  (request: NodeRequest, response: NodeResponse, artifact: Artifact) => Promise<boolean>
>;

/**
 * Makes a sender for routes of node:http, node:https, node:http2 and Connect. One is enough for all routes of a server:
 * budgets and open files are a sender's.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export function createSender(options: SenderOptions = {}): NodeSender {
  return routeSender(
    options,
    (sender) => (request, response, artifact) => sender.send(exchangeOf(request, response), artifact),
  );
}
