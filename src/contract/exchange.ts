import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import { HotblobError } from './errors.js';

/** Response headers, names in lower case. */
export type ResponseHeaders = Record<string, string | number>;

/**
 * One HTTP request and its response, independent of the server framework. Adapters create exchanges. The handler
 * accesses the server only through them. To mount the handler into a server without an adapter, implement this
 * interface (docs/writing-an-adapter.md).
 */
export interface Exchange {
  /** Request method. */
  readonly method: string;
  /** Request target: path and query. If a framework mounts the handler below a path, that path is not included. */
  readonly url: string;
  /**
   * Request target as the client sent it, with the path that the framework has removed. The handler warns if its `mountPath` is
   * such a path. Undefined if it is not known.
   */
  readonly originalUrl?: string | undefined;
  /** Request headers, names in lower case as in node:http. */
  readonly headers: IncomingHttpHeaders;
  /**
   * Request body. Reading this property sends `100 Continue` to a client that expects it (RFC 9110, section 10.1.1).
   *
   * @throws HotblobError `ERR_HOTBLOB_BODY_CONSUMED` if the host has read the body and the stream itself cannot tell
   *   this
   */
  readonly body: Readable;
  /** Object that identifies the connection, for per-connection limits: the socket, or the HTTP/2 session. */
  readonly connection: object;
  /** Whether the connection carries several exchanges at the same time (HTTP/2). */
  readonly multiplexed: boolean;
  /**
   * Local IP address of the connection, as in `net.Socket`. Undefined if it is not known: the connection is then treated like one to
   * the loopback interface, where a handler without an access policy refuses hosts that are not allowed.
   */
  readonly localAddress?: string | undefined;
  /**
   * IP address of the client or the last proxy, as in `net.Socket`. All connections of an address share a limit on uploads.
   * Undefined if it is not known: only the limit of each connection applies.
   */
  readonly remoteAddress?: string | undefined;
  /**
   * Certificate of the client, if TLS requested and verified one. Access policies receive it. Undefined without a certificate, and
   * if it is not known.
   */
  readonly clientCertificate?: ClientCertificate | undefined;
  /** Whether the connection uses TLS. Undefined if that is not known. */
  readonly secure?: boolean | undefined;
  /** Whether the kernel itself reads the written bytes, as on a socket without TLS. TLS reads them in user space. */
  readonly plain: boolean;
  /**
   * Whether {@link write} resolves only after the bytes have left the process. False if middleware, such as
   * compression, has replaced the response's `write`, and for the Fetch API. If false, files are not mapped, and the
   * memory of written chunks is never reused.
   */
  readonly tracked: boolean;
  /** Whether the client or the host ended the exchange early. */
  readonly closed: boolean;

  /**
   * Calls `listener` once when the exchange ends, whether it is complete or not. If the exchange has already ended,
   * calls `listener` soon. Returns a function that removes the listener.
   */
  onClose(listener: () => void): () => void;
  /**
   * Waits for earlier responses of the connection (HTTP/1.1 pipelining). Returns a promise that resolves when these
   * responses have been sent, or when the exchange ends. Returns undefined if this response may be sent now.
   */
  turn(): Promise<void> | undefined;
  /** Whether the response headers have been sent. */
  readonly headersSent: boolean;
  /** Declares that the rest of the request body will not be read. The handler calls it before {@link respond}. */
  refuseBody(): void;
  /**
   * Sends status and response headers. Takes ownership of `headers`. Headers that the host has set are kept, except
   * those that frame the body. Does nothing if the exchange is closed.
   *
   * @throws HotblobError `ERR_HOTBLOB_HEADERS_SENT` if the headers have been sent
   * @throws the error of the server for invalid headers
   */
  respond(status: number, headers: ResponseHeaders): void;
  /**
   * Writes `chunks` in order. If `last` is true, ends the response after them. Resolves to true when the bytes have
   * left the process, or to false if the exchange is closed first. Never rejects.
   */
  write(chunks: readonly Uint8Array[], last: boolean): Promise<boolean>;
  /** Ends the response. */
  end(): void;
  /**
   * Called after {@link write} resolved to false. Calls `release` when nothing can read the chunks of that write any
   * more.
   */
  retire(release: () => void): void;
  /** Tells the client to open a new connection (HTTP/2: GOAWAY). Exchanges in flight complete on this connection. */
  replaceConnection(): void;
  /**
   * Ends a response in such a way that the client detects that it is incomplete: resets the HTTP/2 stream, or destroys
   * the HTTP/1.1 socket.
   */
  destroy(error: Error): void;
}

/** Certificate of a client that TLS has verified (mutual TLS). */
export interface ClientCertificate {
  /** Fields of the subject, such as `CN` and `O`. A field that occurs several times is an array. */
  readonly subject: Readonly<Record<string, string | readonly string[]>>;
  /** Subject alternative names with their kind, such as `DNS:ci.example.com` or `URI:spiffe://example.com/ci`. */
  readonly subjectAltNames: readonly string[];
  /** SHA-256 digest of the certificate: upper-case hex with colons between the bytes. */
  readonly fingerprint256: string;
}

/** Returns the error that {@link Exchange.respond} throws if the headers have been sent. */
export function headersSentError(): HotblobError {
  return new HotblobError('ERR_HOTBLOB_HEADERS_SENT', 'the response headers were already sent by the host');
}

/**
 * Returns the error for an exchange that ended before its response did.
 *
 * @param cause error of a store that was aborted because of that
 */
export function clientGoneError(cause?: unknown): HotblobError {
  const message = 'the client disconnected or the host ended the response first';
  return new HotblobError('ERR_HOTBLOB_CLIENT_GONE', message, cause === undefined ? undefined : { cause });
}

/** Returns the error for a request body that the host has read, or is reading, before the handler. */
export function bodyConsumedError(): HotblobError {
  const message =
    'request body: expected an unread stream, but the host has read it; mount hotblob before body parsers and other middleware that reads the body';
  return new HotblobError('ERR_HOTBLOB_BODY_CONSUMED', message);
}
