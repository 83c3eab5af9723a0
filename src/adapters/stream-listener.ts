import type { IncomingHttpHeaders, ServerHttp2Stream } from 'node:http2';
import type { ExchangeHandler } from '../handler/handler.js';
import { answerFailure } from '../handler/reply.js';
import { answerMissing } from './answer-missing.js';
import { Http2Exchange } from './http2-exchange.js';

/** Listener for the event `'stream'` of node:http2. `@types/node` does not declare its last argument, `rawHeaders`. */
export type StreamListener = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  flags?: number,
  rawHeaders?: readonly string[],
) => void;

/** Returns a listener that passes each stream to `handler`, and to `next` if the handler does not respond. */
export function listenToStreams(handler: ExchangeHandler, next?: StreamListener): StreamListener {
  return (stream, headers, flags, rawHeaders = []) => {
    const exchange = new Http2Exchange(stream, headers, headers[':path'] ?? '/', rawHeaders);
    handler.handle(exchange).then(
      (isHandled) => {
        if (isHandled) return;
        if (next !== undefined) next(stream, headers, flags, rawHeaders);
        else answerMissing(exchange);
      },
      (error: unknown) => answerFailure(exchange, error),
    );
  };
}
