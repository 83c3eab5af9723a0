import { clientMessage } from '../contract/errors.js';
import type { Exchange, ResponseHeaders } from '../contract/exchange.js';
import type { Protocol, Reply, ReplyBody } from '../protocols/protocol.js';

/**
 * Answers with an error: the status, `headers`, and a body in the protocol's form or as JSON, `{"message"}`, that a HEAD
 * goes without. Returns the status that the client gets, which may be another one of the protocol's.
 */
export function answerError(
  exchange: Exchange,
  status: number,
  headers?: ResponseHeaders,
  protocol?: Protocol | undefined,
): number {
  const sent = protocol?.errorStatus?.(status, exchange.method) ?? status;
  const message = clientMessage(status);
  const body = protocol?.describeError?.(sent, message) ?? asJson(message);
  const further = sent === 503 ? { ...headers, 'retry-after': RETRY_AFTER_SECONDS } : headers;
  answerReply(exchange, { status: sent, body }, further);
  return sent;
}

/** Answers with a reply that is no artifact. `headers` come on top of its own. */
export function answerReply(exchange: Exchange, { status, headers, body }: Reply, further?: ResponseHeaders): void {
  const bytes = body === undefined ? undefined : Buffer.from(body.text);
  exchange.respond(status, {
    ...headers,
    ...further,
    // RFC 9110, 8.6: a 204 has none.
    ...(status === 204 ? {} : { 'content-length': bytes?.byteLength ?? 0 }),
    ...(body === undefined ? {} : { 'content-type': body.contentType, 'x-content-type-options': 'nosniff' }),
    'cache-control': 'no-store',
  });
  if (bytes === undefined || bytes.byteLength === 0 || exchange.method === 'HEAD') exchange.end();
  else void exchange.write([bytes], true);
}

function asJson(message: string): ReplyBody {
  return { contentType: 'application/json; charset=utf-8', text: `${JSON.stringify({ message })}\n` };
}

const RETRY_AFTER_SECONDS = 1;
