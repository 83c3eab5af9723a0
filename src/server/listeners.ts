import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttp2Server, type Http2Server } from 'node:http2';
import { Http2Exchange } from '../adapters/http2-exchange.js';
import { nodeListener, streamListener } from '../adapters/node.js';
import type { ExchangeHandler } from '../handler/handler.js';
import { safeForHttp2 } from './express.js';

/**
 * A listener as for node:http: an application of Express, the callback of one of Koa, or a function of one's own. Over
 * HTTP/2 it gets the request and the response of the compatibility API of node:http2, which imitate those of node:http.
 */
export type RequestListener = (request: IncomingMessage, response: ServerResponse) => void;

/** What answers the requests of each protocol. */
export interface Listeners {
  readonly http1: (request: IncomingMessage, response: ServerResponse) => void;
  attachTo(http2: Http2Server): void;
}

/** Puts `handler` in front of `listener`, over both protocols. */
export function listenersOf(
  listener: RequestListener | ExchangeHandler,
  handler: ExchangeHandler | undefined,
): Listeners {
  if (typeof listener !== 'function') return listenersOfHandler(handler ? chain(handler, listener) : listener);
  // node:http2's types do not say that its requests imitate those of node:http
  const http2Listener = safeForHttp2(listener as (request: object, response: object) => void);
  if (handler === undefined) return { http1: listener, attachTo: (http2) => void http2.on('request', http2Listener) };
  const front = nodeListener(handler);
  return {
    http1: (request, response) => front(request, response, () => listener(request, response)),
    attachTo(http2) {
      // Only a server that has no listener for streams makes requests of them: one that never listens does it for us.
      const requests = createHttp2Server().on('request', http2Listener);
      http2.on('stream', (...event) => {
        const [stream, headers] = event;
        const exchange = new Http2Exchange(stream, headers, headers[':path'] ?? '/');
        void handler.handle(exchange).then((isOurs) => isOurs || requests.emit('stream', ...event));
      });
    },
  };
}

function listenersOfHandler(handler: ExchangeHandler): Listeners {
  return { http1: nodeListener(handler), attachTo: (http2) => void http2.on('stream', streamListener(handler)) };
}

function chain(first: ExchangeHandler, second: ExchangeHandler): ExchangeHandler {
  return { handle: async (exchange) => (await first.handle(exchange)) || second.handle(exchange) };
}
