import { type IncomingHttpHeaders, validateHeaderValue } from 'node:http';
import { Http2ServerResponse, type Http2Session, type ServerHttp2Stream } from 'node:http2';
import { type ClientCertificate, type Exchange, headersSentError, type ResponseHeaders } from '../contract/exchange.js';
import { afterHttp2Read } from '../util/after-http2-read.js';
import { clientCertificateOf } from './client-certificate.js';
import { onceOver } from './close-listeners.js';
import { isForgotten } from './forgotten-stream.js';
import type { Host } from './host.js';
import { mergeHostHeaders, restoreHead } from './host-headers.js';
import { linger } from './linger.js';
import { withRepeatedFields } from './repeated-fields.js';
import { SessionFence } from './session-fence.js';
import { writeUntracked } from './untracked.js';

const CLOSED = Promise.resolve(false);
const NO_ERROR = 0;

/**
 * Exchange over an HTTP/2 stream. If there is a `response` of the compatibility API, its headers and hooks are
 * respected. The body is nevertheless written to the stream, unless middleware has replaced `response.write`.
 */
export class Http2Exchange implements Exchange {
  readonly multiplexed = true;
  readonly tracked: boolean;
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly connection: object;
  readonly plain: boolean;
  readonly #stream: ServerHttp2Stream;
  readonly #response: Http2ServerResponse | undefined;
  readonly #host: Host | undefined;
  readonly #rawHeaders: readonly string[];
  readonly #session: Http2Session | undefined;
  readonly #fence: SessionFence | undefined;
  #pending: ((sent: boolean) => void) | undefined;
  #isBodyRefused = false;
  #hasResponded = false;
  /** Whether the stream is going to be reset. Nothing may be sent on it any more: the end of the body would complete the response. */
  #isDestroyed = false;

  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    url: string,
    rawHeaders: readonly string[],
    response?: Http2ServerResponse,
    host?: Host,
  ) {
    this.#stream = stream;
    this.#response = response;
    this.#host = host;
    this.#rawHeaders = rawHeaders;
    this.method = String(headers[':method']);
    this.url = host?.url ?? url;
    this.headers = withRepeatedFields(headers, rawHeaders);
    this.tracked = response === undefined || response.write === Http2ServerResponse.prototype.write;
    const { session } = stream;
    this.connection = session ?? stream;
    this.plain = session !== undefined && !session.encrypted;
    this.#session = session;
    this.#fence = session && SessionFence.of(session);
    // A host may pass one request to several handlers, so the listeners are added only once.
    if (stream.listenerCount('error', ignore) === 0) stream.on('error', ignore).on('aborted', destroyForgotten);
  }

  /** Request body. The first access sends `100 Continue` to a client that expects it (RFC 9110, section 10.1.1). */
  get body() {
    const stream = this.#stream;
    const isExpected = this.headers.expect?.toLowerCase() === '100-continue';
    if (isExpected && !this.closed && !stream.headersSent && !isContinued(stream)) {
      stream.additionalHeaders({ ':status': 100 });
    }
    return stream;
  }

  get originalUrl(): string | undefined {
    // Frameworks change the URL of the compatibility API, and with it `:path` of the headers.
    const name = this.#rawHeaders.indexOf(':path');
    return name === -1 ? undefined : this.#rawHeaders[name + 1];
  }

  get localAddress(): string | undefined {
    const session = this.#session;
    return session === undefined || session.destroyed ? undefined : session.socket.localAddress;
  }

  get remoteAddress(): string | undefined {
    const session = this.#session;
    return session === undefined || session.destroyed ? undefined : session.socket.remoteAddress;
  }

  get clientCertificate(): ClientCertificate | undefined {
    const session = this.#session;
    return session === undefined || session.destroyed ? undefined : clientCertificateOf(session, session.socket);
  }

  get secure(): boolean {
    return this.#session?.encrypted === true;
  }

  get headersSent(): boolean {
    return this.#stream.headersSent;
  }

  get closed(): boolean {
    const { destroyed, closed, writableEnded, headersSent } = this.#stream;
    // For a HEAD request, Node ends the writable side of the stream before the response.
    return this.#isDestroyed || destroyed || closed || (writableEnded && (headersSent || this.method !== 'HEAD'));
  }

  onClose(listener: () => void): () => void {
    return onceOver([this.#stream], () => this.#stream.destroyed, listener);
  }

  turn(): undefined {
    return undefined;
  }

  refuseBody(): void {
    this.#isBodyRefused = !this.#stream.endAfterHeaders;
  }

  respond(status: number, headers: ResponseHeaders): void {
    if (this.headersSent) throw headersSentError();
    if (this.closed) return;
    const response = this.#response;
    if (response === undefined) {
      assertValues(headers);
      headers[':status'] = status;
      this.#stream.respond(headers);
    } else this.#respondThrough(response, status, headers);
    this.#hasResponded = true;
    this.#stream.on('close', () => this.#pending?.(false));
    this.#host?.onHeadersSent?.();
  }

  #respondThrough(response: Http2ServerResponse, status: number, headers: ResponseHeaders): void {
    const before = { statusCode: response.statusCode, headers: response.getHeaders() };
    try {
      this.#host?.beforeHeaders?.();
      assertValues(headers);
      const merged = mergeHostHeaders(response, status, headers);
      if (!this.tracked || response.writeHead !== Http2ServerResponse.prototype.writeHead) {
        response.writeHead(status, merged); // runs the hooks of the middleware that replaced it
      } else {
        response.statusCode = status; // for loggers
        this.#stream.respond({ ...response.getHeaders(), ...merged, ':status': status });
      }
    } catch (error) {
      if (!this.headersSent) restoreHead(response, before);
      throw error;
    }
  }

  write(chunks: readonly Uint8Array[], last: boolean): Promise<boolean> {
    if (this.closed) return CLOSED;
    if (this.#response !== undefined && !this.tracked)
      return writeUntracked(this.#response, chunks, last ? () => this.end() : undefined);
    const stream = this.#stream;
    const sequence = this.#fence?.enter() ?? 0;
    return new Promise((resolve) => {
      this.#pending = resolve;
      const isCorked = chunks.length > 1;
      if (isCorked) stream.cork();
      const final = chunks.length - 1;
      for (let index = 0; index < final; index++) stream.write(chunks[index]);
      stream.write(chunks[final], (error) => {
        // If the stream is destroyed, a call of the callback does not mean that the bytes have been sent.
        const isSent = !error && !stream.destroyed;
        if (isSent) this.#fence?.passed(sequence);
        // Node reports a promise that is resolved twice to the process, which costs more than the rest of the callback.
        this.#pending = undefined;
        resolve(isSent);
      });
      if (last) this.end();
      if (isCorked) stream.uncork();
    });
  }

  end(): void {
    if (this.#isDestroyed) return;
    if (this.tracked) this.#stream.end();
    else this.#response?.end();
    if (!this.#isBodyRefused) return;
    // After a complete response, the stream is reset with NO_ERROR, so that the client stops sending its body (RFC
    // 9113, section 8.1). The reset waits until the client has answered a PING, and so has received the response: nghttp2
    // drops the queued headers of a stream that is reset (Node 22), and curl 7.88 drops a response that arrives in one
    // read with a reset. The body is read until then, because Node resets a stream that has never been read.
    const stream = this.#stream;
    const close = (): void => afterHttp2Read(() => stream.close(NO_ERROR));
    linger(stream, (isOver) => isOver || close());
    const confirm = (): void => (this.#fence === undefined ? close() : this.#fence.afterAnswer(close));
    if (stream.writableFinished) confirm();
    else stream.once('finish', confirm);
  }

  retire(release: () => void): void {
    if (this.#fence === undefined) release();
    else this.#fence.hold(release);
  }

  replaceConnection(): void {
    const session = this.#session;
    if (session !== undefined) afterHttp2Read(() => session.close());
  }

  destroy(error: Error): void {
    // A response that the host itself has sent is not reset. Uses destroy(), because close() would send END_STREAM
    // before the reset.
    if (this.#isDestroyed || !(this.#hasResponded || !this.headersSent)) return;
    this.#isDestroyed = true;
    afterHttp2Read(() => this.#stream.destroy(error));
  }
}

/** Rejects invalid header values. node:http2, unlike node:http, would send them (RFC 9113, section 8.2.1). */
function assertValues(headers: ResponseHeaders): void {
  for (const name in headers) {
    const value = headers[name];
    if (typeof value === 'string') validateHeaderValue(name, value);
  }
}

/** Whether `100 Continue` has been sent. Without a 'checkContinue' listener, the compatibility API sends it before the host sees the request. */
function isContinued({ sentInfoHeaders = [] }: ServerHttp2Stream): boolean {
  return sentInfoHeaders.some((headers) => headers[':status'] === 100);
}

function ignore(): void {}

function destroyForgotten(this: ServerHttp2Stream): void {
  afterHttp2Read(() => isForgotten(this) && this.destroy());
}
