import type { Artifact } from '../contract/artifact.js';
import { HotblobError } from '../contract/errors.js';
import { clientGoneError, type Exchange, headersSentError } from '../contract/exchange.js';
import { SendError } from '../contract/send-error.js';
import { totalBytes } from '../send/tally.js';
import { invalidArtifactError } from './download.js';
import { type SenderOptions, senderSettingsOf } from './options.js';
import { endIncomplete } from './record-reply.js';
import { ResponseRecord } from './response-record.js';
import { createServing, type Serving } from './serving.js';
import type { HandlerStats } from './stats.js';

/** Result of {@link Sender.send}: a description of the response that was sent. */
export interface SendResult {
  /** Whether the whole response was sent. False if the response was reset or destroyed after the headers. */
  readonly complete: boolean;
  /** HTTP status code. */
  readonly status: number;
  /** Number of bytes of the artifact that have left the process. */
  readonly bytes: number;
  /** Error that ended the response early; undefined if it is complete. */
  readonly error: unknown;
}

/**
 * Sends artifacts from routes of the host. The host finds the artifact and checks access.
 *
 * The response to a HEAD request has no body. All other methods are handled like GET. The sender determines the status
 * from preconditions and ranges, and ignores a status that the host has set. Headers that the host has set are sent,
 * except those that frame the body.
 */
export interface Sender<Route extends readonly unknown[], Result = SendResult> {
  /**
   * Sends an artifact. Resolves when the response has ended.
   *
   * @throws SendError if an error occurs before the headers are sent. The host can then respond.
   *   `ERR_HOTBLOB_NOT_FOUND` (status 404): the file does not exist or is not a regular file. `EACCES` (403): the
   *   process may not read it. `ERR_HOTBLOB_OVERLOADED` (503): all descriptors or buffers are in use.
   *   `ERR_HOTBLOB_HEADERS_SENT`: the host has already sent headers. `ERR_HOTBLOB_CLIENT_GONE`: the client has
   *   disconnected.
   * @throws HotblobError `ERR_HOTBLOB_INVALID_ARTIFACT` or `ERR_HOTBLOB_INVALID_OPTION` if an argument is of the wrong type
   */
  send(...route: [...Route, artifact: Artifact]): Promise<Result>;
  /**
   * Like {@link send}, except that it resolves to false if the file does not exist or is not a regular file. Nothing
   * has then been sent, and the host must respond.
   */
  trySend(...route: [...Route, artifact: Artifact]): Promise<Result | false>;
  /** Returns statistics: counters since the creation of the sender, and its current use of resources. */
  stats(): HandlerStats;
  /** Closes the open files. A file in use is closed at the end of its last response. */
  close(): void;
}

/**
 * Creates a sender for the routes of a framework. Adapters use it.
 *
 * @param exchangeOf creates the exchange from the arguments that the framework passes to a route
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an unknown or invalid option
 */
export function createRouteSender<Route extends readonly unknown[]>(
  options: SenderOptions,
  exchangeOf: (...route: [...Route, artifact: Artifact]) => Exchange,
): Sender<Route> {
  const sender: Sender<Route> = {
    send: (...route) => withExchange(route, (exchange, artifact) => sendArtifact(serving, exchange, artifact)),
    trySend: (...route) => withExchange(route, (exchange, artifact) => trySendArtifact(serving, exchange, artifact)),
    stats: () => serving.stats(),
    close: () => serving.close(),
  };
  const serving = createServing(senderSettingsOf(options), sender);
  return sender;

  function withExchange<Result>(
    route: [...Route, artifact: Artifact],
    send: (exchange: Exchange, artifact: Artifact) => Promise<Result>,
  ): Promise<Result> {
    try {
      // The cast is safe: by the type of `route`, the last argument is the artifact.
      return send(exchangeOf(...route), route[route.length - 1] as Artifact);
    } catch (error) {
      // A route that is not an async function can handle only a rejection. An exception would end the process.
      return Promise.reject(error);
    }
  }
}

const KINDS: ReadonlySet<unknown> = new Set<Artifact['kind']>(['file', 'bytes', 'stream']);

/** Sends an artifact. See {@link Sender.send}. */
export async function sendArtifact(serving: Serving, exchange: Exchange, artifact: Artifact): Promise<SendResult> {
  const result = await trySendArtifact(serving, exchange, artifact);
  if (result !== false) return result;
  const path = artifact.kind === 'file' ? `: ${artifact.path}` : '';
  throw new SendError(new HotblobError('ERR_HOTBLOB_NOT_FOUND', `no regular file${path}`));
}

/** Sends an artifact if its file exists. See {@link Sender.trySend}. */
export async function trySendArtifact(
  { download, reporter }: Serving,
  exchange: Exchange,
  artifact: Artifact,
): Promise<SendResult | false> {
  // An error of the caller, not of the request: the message of a SendError would hide the reason.
  if (!KINDS.has(artifact?.kind)) throw invalidArtifactError(artifact);
  if (exchange.headersSent) throw new SendError(headersSentError());
  if (exchange.closed) throw new SendError(clientGoneError());
  const record = new ResponseRecord(exchange, 'send', reporter);
  try {
    if ((await download.answer(exchange, artifact, record)) === 'missing') {
      record.abandon();
      return false;
    }
    // If the exchange was closed, it ignored the response.
    if (!exchange.headersSent) throw clientGoneError();
  } catch (error) {
    const reason = new SendError(error);
    if (!exchange.headersSent || reason.code === 'ERR_HOTBLOB_HEADERS_SENT') {
      record.abandon();
      throw reason;
    }
    endIncomplete(record, error);
    // The client must not take an incomplete response for a complete one.
    exchange.destroy(reason);
  }
  record.finish();
  const { complete, status, tally, error } = record;
  return { complete, status, bytes: totalBytes(tally.bytes), error };
}
