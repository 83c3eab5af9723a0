import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { HotblobError } from './errors.js';

/** Response headers, names in lower case. */
export type ResponseHeaders = Record<string, string | number>;

/**
 * One HTTP request and its response, independent of the server framework. Adapters create exchanges; the handler uses nothing
 * else of a server. To mount the handler into a server without an adapter, implement this interface (docs/writing-an-adapter.md).
 */
export interface Exchange {
  /** Request method. */
  readonly method: string;
  /** Request target: path and query. If a framework mounts the handler below a path, without that path. */
  readonly url: string;
  /** Request headers, names in lower case as in node:http. */
  readonly headers: IncomingHttpHeaders;
  /**
   * Request body. Reading this property sends `100 Continue` to a client that expects it (RFC 9110, section 10.1.1).
   *
   * @throws HotblobError `ERR_HOTBLOB_BODY_CONSUMED` if the host has read the body and the stream does not show it
   */
  readonly body: Readable;
  /** Object that identifies the connection, for per-connection limits: the socket, or the HTTP/2 session. */
  readonly connection: object;
  /** Whether the connection carries several exchanges at the same time (HTTP/2). */
  readonly multiplexed: boolean;
  /** Whether the kernel copies the written bytes itself (a socket without TLS). TLS reads them in user space. */
  readonly plain: boolean;
  /**
   * Whether {@link write} resolves only after the bytes have left the process. False if middleware has replaced the response's
   * `write`, as compression does, and for the Fetch API; then files are not mapped, and the memory of written chunks is never reused.
   */
  readonly tracked: boolean;
  /** Whether the client or the host ended the exchange early. */
  readonly closed: boolean;

  /**
   * Calls `listener` once when the exchange ends, whether complete or not. If it has ended, calls it soon. Returns a function that
   * removes the listener.
   */
  onClose(listener: () => void): () => void;
  /**
   * Returns a promise that resolves when the earlier responses of the connection have been sent, or when the exchange ends
   * (HTTP/1.1 pipelining). Returns undefined if this response may be sent now.
   */
  turn(): Promise<void> | undefined;
  /** Whether the response headers have been sent. */
  readonly headersSent: boolean;
  /** Declares that the rest of the request body will not be read. Called before {@link respond}. */
  refuseBody(): void;
  /**
   * Sends status and response headers. Takes ownership of `headers`. Headers that the host has set are kept, except those that
   * frame the body. Does nothing if the exchange is closed.
   *
   * @throws HotblobError `ERR_HOTBLOB_HEADERS_SENT` if the headers have been sent
   * @throws whatever the server throws for invalid headers
   */
  respond(status: number, headers: ResponseHeaders): void;
  /**
   * Writes `chunks` in order. If `last`, ends the response after them. Resolves to true when the bytes have left the process, or to
   * false if the exchange closes first. Never rejects.
   */
  write(chunks: readonly Uint8Array[], last: boolean): Promise<boolean>;
  /** Ends the response. */
  end(): void;
  /** Calls `release` when nothing can read the chunks of a write that resolved to false any more. */
  retire(release: () => void): void;
  /** Makes the client open a new connection after the exchanges in flight (HTTP/2: GOAWAY). */
  replaceConnection(): void;
  /** Ends an incomplete response so that the client notices: resets the HTTP/2 stream, destroys the HTTP/1.1 socket. */
  destroy(error: Error): void;
}

/** Returns the error that {@link Exchange.respond} throws if the headers have been sent. */
export function headersSentError(): HotblobError {
  return new HotblobError('ERR_HOTBLOB_HEADERS_SENT', 'the response headers were already sent by the host');
}

/** Returns the error for a request body that the host has read, or is reading, before the handler. */
export function bodyConsumedError(): HotblobError {
  const message =
    'request body: expected an unread stream, but the host has read it; mount hotblob before body parsers and other middleware that reads the body';
  return new HotblobError('ERR_HOTBLOB_BODY_CONSUMED', message);
}
