import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2';
import type { Exchange } from '../contract/exchange.js';
import { assertHandler } from '../handler/assert-handler.js';
import type { ExchangeHandler } from '../handler/handler.js';
import type { SenderOptions } from '../handler/options.js';
import { answerFailure } from '../handler/reply.js';
import { createRouteSender, type Sender } from '../handler/sender.js';
import { answerMissing } from './answer-missing.js';
import type { Host } from './host.js';
import { Http1Exchange } from './http1-exchange.js';
import { Http2Exchange } from './http2-exchange.js';
import { assertNode } from './route-arguments.js';
import { listenToStreams, type StreamListener } from './stream-listener.js';
import { refuseRequest, refuseStream, watchHttp1 } from './wrong-event.js';

export { continueOnRead } from './continue-on-read.js';
export type { Host } from './host.js';
export type { StreamListener } from './stream-listener.js';
export { watchSessions } from './watch-sessions.js';

/** Request of node:http, node:https, or the compatibility API of node:http2. */
export type NodeRequest = IncomingMessage | Http2ServerRequest;
/** Response of node:http, node:https, or the compatibility API of node:http2. */
export type NodeResponse = ServerResponse | Http2ServerResponse;

/**
 * Creates the exchange of a request and its response. Use it to write an adapter for a framework that is built on Node's request and
 * response.
 */
export function exchangeOf(request: NodeRequest, response: NodeResponse, host?: Host): Exchange {
  if (host === undefined) assertNode(request, response, 'the request and response of node:http or node:http2');
  if ('stream' in request && 'stream' in response) {
    return new Http2Exchange(request.stream, request.headers, request.url, request.rawHeaders, response, host);
  }
  // The casts are safe: node:http2 always creates both objects, so here both are from node:http.
  return new Http1Exchange(request as IncomingMessage, response as ServerResponse, host);
}

/**
 * Returns a `'request'` listener, which is also a middleware for Connect. A request that the handler does not handle is
 * passed to `next`. Without `next`, the response is 404, unless the host has already responded.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `handler` is not a handler
 */
export function nodeListener(handler: ExchangeHandler) {
  assertHandler(handler);
  return (request: NodeRequest, response: NodeResponse, next?: (error?: unknown) => void): void => {
    let exchange: Exchange;
    try {
      exchange = exchangeOf(request, response);
    } catch (error) {
      if (refuseStream(request)) return;
      throw error;
    }
    handler.handle(exchange).then(
      (isHandled) => isHandled || (next ? next() : answerMissing(exchange)),
      (error: unknown) => (next ? next(error) : answerFailure(exchange, error)),
    );
  };
}

/**
 * Returns a `'stream'` listener for node:http2, which is faster than its `'request'` event. Do not add both to a server: Node emits
 * both events for each request. A server that accepts HTTP/1.1 too (`allowHTTP1`) needs {@link nodeListener} instead.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `handler` is not a handler
 */
export function streamListener(handler: ExchangeHandler): StreamListener {
  assertHandler(handler);
  const listen = listenToStreams(handler);
  const listener: StreamListener = (stream, headers, flags, rawHeaders) => {
    if (headers[':path'] === undefined && refuseRequest(headers)) return;
    listen(stream, headers, flags, rawHeaders);
  };
  watchHttp1(listener);
  return listener;
}

/** Sender for routes of node:http, node:https, node:http2 and Connect. */
export type NodeSender = Sender<[request: NodeRequest, response: NodeResponse]>;

/**
 * Creates a sender for routes of node:http, node:https, node:http2 and Connect. Create one sender per server and use it
 * in every route, because open files and limits belong to the sender.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid option
 */
export function createSender(options: SenderOptions = {}): NodeSender {
  return createRouteSender(options, (request, response) => exchangeOf(request, response));
}
