import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttp2Server, type Http2Server } from 'node:http2';
import { continueOnRead } from '../adapters/continue-on-read.js';
import { exchangeOf, nodeListener } from '../adapters/node.js';
import { listenToStreams } from '../adapters/stream-listener.js';
import { assertHandler } from '../handler/assert-handler.js';
import type { ExchangeHandler } from '../handler/handler.js';
import { answerFailure } from '../handler/reply.js';
import { guardExpress, type Http2Listener } from './express.js';

/**
 * Request listener as for `http.createServer()`: an Express application, the callback of a Koa application, or any
 * function. Over HTTP/2, it receives the request and response of the compatibility API of node:http2. An Express
 * application does not work with these objects, so its HTTP/2 requests are answered with 505.
 */
export type RequestListener = (request: IncomingMessage, response: ServerResponse) => void;

/** Request listeners for both HTTP versions. */
export interface Listeners {
  readonly http1: (request: IncomingMessage, response: ServerResponse) => void;
  addTo(http2: Http2Server): void;
}

/** Returns listeners that pass each request to `handler` first, and to `listener` if the handler does not respond. */
export function listenersOf(
  listener: RequestListener | ExchangeHandler,
  handler: ExchangeHandler | undefined,
): Listeners {
  if (typeof listener !== 'function') return listenersOfHandler(handler ? chain(handler, listener) : listener);
  // The cast is needed because the types of node:http2 do not express that its compatibility API matches node:http.
  const http2Listener = guardExpress(listener as (request: object, response: object) => void);
  if (handler === undefined) return { http1: listener, addTo: (http2) => addRequestListener(http2, http2Listener) };
  assertHandler(handler);
  return {
    http1(request, response) {
      const exchange = exchangeOf(request, response);
      handler.handle(exchange).then(
        (isHandled) => isHandled || listener(request, response),
        (error: unknown) => answerFailure(exchange, error),
      );
    },
    addTo(http2) {
      // Node creates requests of the compatibility API only on a server without a 'stream' listener. A second server,
      // which never listens on a port, creates them here.
      const compatServer = createHttp2Server();
      addRequestListener(compatServer, http2Listener);
      http2.on(
        'stream',
        listenToStreams(handler, (...stream) => compatServer.emit('stream', ...stream)),
      );
    },
  };
}

function addRequestListener(http2: Http2Server, listener: Http2Listener): void {
  http2.on('request', listener).on('checkContinue', continueOnRead);
}

function listenersOfHandler(handler: ExchangeHandler): Listeners {
  return { http1: nodeListener(handler), addTo: (http2) => void http2.on('stream', listenToStreams(handler)) };
}

function chain(first: ExchangeHandler, second: ExchangeHandler): ExchangeHandler {
  return { handle: async (exchange) => (await first.handle(exchange)) || second.handle(exchange) };
}
