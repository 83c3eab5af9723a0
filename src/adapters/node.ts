import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Http2ServerRequest, Http2ServerResponse, IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import { answerError } from '../answer.js';
import type { Exchange } from '../exchange.js';
import type { ExchangeHandler } from '../handler.js';
import { Http1Exchange } from './http1-exchange.js';
import { Http2Exchange } from './http2-exchange.js';

/** A request of node:http, node:https, or the compatibility API of node:http2. */
export type NodeRequest = IncomingMessage | Http2ServerRequest;
/** Its response. */
export type NodeResponse = ServerResponse | Http2ServerResponse;

/** The exchange behind a request and a response of node:http, node:https, or the compatibility API of node:http2. */
export function exchangeOf(request: NodeRequest, response: NodeResponse): Exchange {
  if ('stream' in request && 'stream' in response) {
    return new Http2Exchange(request.stream, request.headers, request.url, response);
  }
  // node:http2 makes both of one kind, or none
  return new Http1Exchange(request as IncomingMessage, response as ServerResponse);
}

/** A `'request'` listener, or a middleware in the manner of Connect: what is not the handler's goes to `next`, or gets 404. */
export function nodeListener(handler: ExchangeHandler) {
  return (request: NodeRequest, response: NodeResponse, next?: () => void): void => {
    const exchange = exchangeOf(request, response);
    void handler.handle(exchange).then((isOurs) => isOurs || (next ? next() : answerError(exchange, 404)));
  };
}

/** A `'stream'` listener for node:http2: faster than its `'request'`. A server that has both runs both: choose one. */
export function streamListener(handler: ExchangeHandler) {
  return (stream: ServerHttp2Stream, headers: IncomingHttpHeaders): void => {
    const exchange = new Http2Exchange(stream, headers, headers[':path'] ?? '/');
    void handler.handle(exchange).then((isOurs) => isOurs || answerError(exchange, 404));
  };
}
