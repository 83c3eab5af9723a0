import { clientMessage, errorHeaders, HotblobError, isServerFailure, statusOf } from '../contract/errors.js';
import type { Exchange, ResponseHeaders } from '../contract/exchange.js';
import { REPLY_HEADERS } from '../http/browser-headers.js';
import type { Protocol, Reply, ReplyBody } from '../protocols/protocol.js';
import { writeReply } from './unsent-replies.js';

/**
 * Responds with an error. The body is in the format of the protocol, by default `{"message"}` as JSON. Returns the status
 * that was sent, which the protocol may have changed. A request body that has not been read is refused.
 *
 * @param error error that the response reports. Some have a message of their own for clients
 */
export function answerError(
  exchange: Exchange,
  status: number,
  headers?: ResponseHeaders,
  protocol?: Protocol | undefined,
  error?: unknown,
): number {
  const sentStatus = (isServerFailure(status, error) && failureStatus(exchange, protocol)) || status;
  const message = clientMessage(status, error);
  const body = sentStatus < 300 ? undefined : (protocol?.describeError?.(sentStatus, message) ?? jsonBody(message));
  const extraHeaders = {
    ...headers,
    ...(error instanceof HotblobError && error.status === sentStatus ? error.headers : errorHeaders(sentStatus)),
  };
  // A server without descriptors must also close the connections of tools to which another status is sent.
  if (status === 503 && sentStatus !== 503 && !exchange.multiplexed) extraHeaders['connection'] = 'close';
  if (mayHaveBody(exchange)) exchange.refuseBody();
  answerReply(exchange, { status: sentStatus, body }, extraHeaders);
  return sentStatus;
}

function failureStatus({ method }: Exchange, protocol: Protocol | undefined): number | undefined {
  return protocol?.failureStatus?.[method === 'GET' || method === 'HEAD' ? 'read' : 'write'];
}

/**
 * Ends the response to a request whose handler has rejected. handle() of a Handler never rejects, but handle() of a wrapper
 * may. An unhandled rejection would end the process.
 */
export function answerFailure(exchange: Exchange, error: unknown): void {
  const cause = error instanceof Error ? error : new Error(String(error));
  try {
    if (!exchange.headersSent) return void answerError(exchange, statusOf(error));
  } catch {
    // The response cannot be sent, for example because of a header that the host has set.
  }
  exchange.destroy(cause);
}

/** Returns whether a request may have a body that has not been read. */
export function mayHaveBody({ headers, multiplexed }: Exchange): boolean {
  const length = headers['content-length'];
  // In HTTP/2, no header announces a body of unknown length.
  return length === undefined ? multiplexed || headers['transfer-encoding'] !== undefined : Number(length) > 0;
}

/**
 * Responds with a reply that is not an artifact. `extraHeaders` override the headers of the reply. Returns the result of writing
 * the body, if there is one.
 *
 * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if clients have not received too many earlier replies
 */
export function answerReply(
  exchange: Exchange,
  { status, headers, body }: Reply,
  extraHeaders?: ResponseHeaders,
): Promise<boolean> | undefined {
  const bytes = body === undefined ? undefined : bytesOf(body);
  const respond = (): void => {
    exchange.respond(status, {
      ...REPLY_HEADERS,
      ...headers,
      ...extraHeaders,
      // A 204 must not have Content-Length (RFC 9110, section 8.6).
      ...(status === 204 ? {} : { 'content-length': bytes?.byteLength ?? 0 }),
      ...(body === undefined ? {} : { 'content-type': body.contentType }),
      'cache-control': 'no-store',
    });
  };
  if (bytes !== undefined && bytes.byteLength > 0 && exchange.method !== 'HEAD') {
    return writeReply(exchange, bytes, respond);
  }
  respond();
  exchange.end();
  return undefined;
}

function bytesOf({ text }: ReplyBody): Uint8Array {
  return typeof text === 'string' ? Buffer.from(text) : text;
}

function jsonBody(message: string): ReplyBody {
  return { contentType: 'application/json; charset=utf-8', text: `${JSON.stringify({ message })}\n` };
}
