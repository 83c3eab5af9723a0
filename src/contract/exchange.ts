import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { HotblobError } from './errors.js';

/** Headers of a response; names in lower case. */
export type ResponseHeaders = Record<string, string | number>;

/**
 * One request and the way to answer it, whatever the server. The adapters make them; the handler knows nothing else.
 * Implement it to mount the handler into a server that has no adapter.
 */
export interface Exchange {
  /** As the client sent it. */
  readonly method: string;
  /** Path and query as the client sent them; a framework that mounts below a path has removed it. */
  readonly url: string;
  /** Lower-case names, as in node:http. */
  readonly headers: IncomingHttpHeaders;
  /** The request's body. Asking for it tells a client that waits with it to send it (RFC 9110, 10.1.1). */
  readonly body: Readable;
  /** What stands for the peer in budgets: the socket, or the session that carries many streams. */
  readonly connection: object;
  /** Whether other exchanges share the connection at the same time (HTTP/2). */
  readonly multiplexed: boolean;
  /** Whether the kernel copies the bytes (a plain socket). TLS reads them in user space instead. */
  readonly plain: boolean;
  /**
   * Whether {@link write} knows when the bytes have left. False when somebody has replaced the response's `write`
   * (compression, recorders): what is written then must never be used again.
   */
  readonly tracked: boolean;
  /** Whether the peer or the host has ended it early. */
  readonly closed: boolean;

  /** Calls `listener` once when the exchange ends, well or not; soon, if it has. Returns what takes the listener away. */
  onClose(listener: () => void): () => void;
  /** Undefined when it is this response's turn on the connection; else a promise of it, or of its end (HTTP/1.1 pipelining). */
  turn(): Promise<void> | undefined;
  /** Whether the headers have gone. */
  readonly headersSent: boolean;
  /** Says that what is left of the request's body will not be read. Called before {@link respond}. */
  refuseBody(): void;
  /**
   * Sends status and headers; the object is the exchange's from then on. What the host has set before stays, but for what
   * frames the body. Does nothing on an exchange that is closed.
   *
   * @throws HotblobError `ERR_HOTBLOB_HEADERS_SENT` when the headers have gone; whatever the server throws for headers that
   * cannot be sent
   */
  respond(status: number, headers: ResponseHeaders): void;
  /**
   * Writes `chunks`, in one go; `last` ends the response with them. Resolves to true when their bytes have left the
   * process, to false when the exchange closed first. Never rejects.
   */
  write(chunks: readonly Uint8Array[], last: boolean): Promise<boolean>;
  /** Ends a response that has no more bytes. */
  end(): void;
  /** Calls `release` once nothing can read the chunks of a write that resolved to false. */
  retire(release: () => void): void;
  /** Asks the peer for another connection: this one takes no more exchanges, and ends with its last (HTTP/2: GOAWAY). */
  replaceConnection(): void;
  /** Cuts the response off, so that the client cannot take it for whole: resets the stream, destroys the socket. */
  destroy(error: Error): void;
}

/** What {@link Exchange.respond} throws when somebody else has answered. */
export function headersSentError(): HotblobError {
  return new HotblobError('ERR_HOTBLOB_HEADERS_SENT', 'the host has sent headers already');
}
