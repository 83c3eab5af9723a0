import { clientMessage } from './errors.js';
import type { Exchange, ResponseHeaders } from './exchange.js';

/** Answers with an error: the status, `headers`, and a JSON body `{"message"}` that a HEAD goes without. */
export function answerError(exchange: Exchange, status: number, headers: ResponseHeaders = {}): void {
  const body = Buffer.from(`${JSON.stringify({ message: clientMessage(status) })}\n`);
  exchange.respond(status, {
    ...headers,
    'content-type': 'application/json; charset=utf-8',
    'content-length': body.byteLength,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(status === 503 ? { 'retry-after': RETRY_AFTER_SECONDS } : {}),
  });
  if (exchange.method === 'HEAD') exchange.end();
  else void exchange.write([body], true);
}

const RETRY_AFTER_SECONDS = 1;
