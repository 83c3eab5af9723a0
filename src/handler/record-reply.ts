import { errnoCode, isDenied, isServerFailure, statusOf } from '../contract/errors.js';
import { clientGoneError, type Exchange, type ResponseHeaders } from '../contract/exchange.js';
import { invalidOption } from '../contract/validation.js';
import type { Reply } from '../protocols/protocol.js';
import { warnOnce } from '../util/warn-once.js';
import { answerError, answerReply } from './reply.js';
import type { ResponseRecord } from './response-record.js';

/**
 * Responds to the request of `record` with a reply that is not an artifact, and records the status. Returns the result of writing
 * the body, if there is one.
 */
export function replyTo(record: ResponseRecord, reply: Reply, headers?: ResponseHeaders): Promise<boolean> | undefined {
  const { status } = reply ?? {};
  if (!(Number.isInteger(status) && status >= 200 && status <= 599)) {
    throw invalidOption(
      `protocols: reply of '${record.protocol?.name}'`,
      'an object with a status from 200 to 599',
      reply,
    );
  }
  record.status = status;
  return answerReply(record.exchange, reply, headers);
}

/** Responds to the request of `record` with an error, in the format of its protocol, and records what happened. */
export function replyError(record: ResponseRecord, status: number, headers?: ResponseHeaders, error?: unknown): void {
  record.status = status; // remains if answerError() throws
  if (isServerFailure(status, error)) record.failure = status;
  record.status = answerError(record.exchange, status, headers, record.protocol, error);
}

/** Ends the response of `record` with what a store, a protocol or the handler has thrown: as an error, or by a reset. */
export function replyFailure(record: ResponseRecord, error: unknown): void {
  const { exchange } = record;
  const cause =
    error instanceof Error
      ? error
      : new Error('a store or protocol threw a value that is not an Error', { cause: error });
  warnOfMistake(cause, exchange);
  if (exchange.closed || exchange.headersSent) {
    endIncomplete(record, error);
    // The client must not take an incomplete response for a complete one.
    exchange.destroy(cause);
    return;
  }
  record.fail(error);
  try {
    replyError(record, statusOf(cause), undefined, cause);
  } catch {
    exchange.destroy(cause); // the host has set a header that cannot be sent
  }
}

/** Records the error that has ended a response after its headers, or after the client has disconnected. */
export function endIncomplete(record: ResponseRecord, error: unknown): void {
  if (record.exchange.closed && !CLOSED.has(errnoCode(error))) {
    // The store was aborted, which is not a failure of the server.
    record.fail(clientGoneError(error));
    return;
  }
  record.fail(error);
  const status = statusOf(error);
  if (isServerFailure(status, error)) record.failure = status;
}

/** Codes of errors that say that the exchange has ended, and by whom. */
const CLOSED: ReadonlySet<string | undefined> = new Set(['ERR_HOTBLOB_CLIENT_GONE', 'ERR_HOTBLOB_HEADERS_SENT']);

/** Codes of errors that the host causes, by a store, a protocol, an access policy or a middleware. */
const MISTAKES: ReadonlySet<string | undefined> = new Set([
  'ERR_HOTBLOB_INVALID_OPTION',
  'ERR_HOTBLOB_INVALID_ARTIFACT',
  'ERR_HOTBLOB_INVALID_STORE',
  'ERR_HOTBLOB_BODY_CONSUMED',
]);

/** Clients get a status without the reason, so the host must learn it. */
function warnOfMistake(error: Error, exchange: Partial<Exchange>): void {
  if (typeof exchange.respond !== 'function') {
    const remedy = 'for a request and a response, use nodeListener(handler) or the function of your framework';
    warnOnce(`handler.handle: expected an exchange; ${remedy}`);
  } else if (MISTAKES.has(errnoCode(error))) {
    warnOnce(error.message);
  } else if (isDenied(error)) {
    warnOnce(`${error.message}; the process lacks permission, so such requests fail`, 'denied');
  } else if (error instanceof TypeError || error instanceof ReferenceError) {
    const [, place = ''] = (error.stack ?? '').split('\n');
    warnOnce(`a request failed with a ${error.name}: ${error.message}, ${place.trim()}`);
  }
}
