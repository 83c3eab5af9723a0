import { type IncomingMessage, ServerResponse } from 'node:http';
import { type ClientCertificate, type Exchange, headersSentError, type ResponseHeaders } from '../contract/exchange.js';
import { clientCertificateOf } from './client-certificate.js';
import { onceOver } from './close-listeners.js';
import type { Host } from './host.js';
import { mergeHostHeaders, restoreHead } from './host-headers.js';
import { linger } from './linger.js';
import { limitPipeline } from './pipeline.js';
import { writeUntracked } from './untracked.js';

/**
 * Status codes after which the connection is closed. 503: file descriptors may have run out, and an idle connection
 * uses one. 501: the request has an unknown transfer coding, so the server and a proxy may disagree about the end of
 * the request (RFC 9112, section 6.1).
 */
const CLOSING_STATUSES: ReadonlySet<number> = new Set([501, 503]);
const CLOSED = Promise.resolve(false);

/** Exchange over an HTTP/1.1 request and its response, with or without TLS. */
export class Http1Exchange implements Exchange {
  readonly multiplexed = false;
  readonly tracked: boolean;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #host: Host | undefined;
  /** Node removes the socket from a request that is destroyed before its body has been read. */
  readonly #socket: IncomingMessage['socket'];
  #isBodyRefused = false;
  #hasResponded = false;

  constructor(request: IncomingMessage, response: ServerResponse, host?: Host) {
    this.#request = request;
    this.#response = response;
    this.#host = host;
    this.#socket = request.socket;
    this.tracked = response.write === ServerResponse.prototype.write;
    if (response.socket === null && !response.writableEnded) limitPipeline(request, response);
  }

  get method(): string {
    return this.#request.method ?? 'GET';
  }

  get url(): string {
    return this.#host?.url ?? this.#request.url ?? '/';
  }

  get originalUrl(): string | undefined {
    // Express and Connect keep the URL from which they remove a path.
    const { originalUrl = this.#host?.originalUrl } = this.#request as IncomingMessage & { originalUrl?: string };
    return originalUrl ?? this.#request.url;
  }

  get headers() {
    return this.#request.headers;
  }

  get body() {
    return this.#request;
  }

  get connection() {
    return this.#socket;
  }

  get localAddress(): string | undefined {
    return this.#socket.localAddress;
  }

  get remoteAddress(): string | undefined {
    return this.#socket.remoteAddress;
  }

  get clientCertificate(): ClientCertificate | undefined {
    const socket = this.#socket;
    return clientCertificateOf(socket, socket);
  }

  get secure(): boolean {
    return 'encrypted' in this.#socket;
  }

  get plain(): boolean {
    return !this.secure;
  }

  get headersSent(): boolean {
    return this.#response.headersSent;
  }

  // A pipelined response that waits for earlier ones gets no event when the connection is closed. The socket gets one.
  get closed(): boolean {
    const socket = this.#socket;
    return this.#response.destroyed || this.#response.writableEnded || socket.destroyed || !socket.writable;
  }

  onClose(listener: () => void): () => void {
    // The request emits 'close' as soon as its body has been read. That is not the end of the exchange.
    const isOver = (): boolean => this.closed || this.#response.writableFinished;
    return onceOver([this.#response, this.#request], isOver, listener);
  }

  turn(): Promise<void> | undefined {
    if (this.#response.socket !== null || this.closed) return undefined;
    return new Promise((resolve) => {
      const off = this.onClose(resolve);
      this.#response.once('socket', () => {
        off();
        resolve();
      });
    });
  }

  refuseBody(): void {
    this.#isBodyRefused = !this.#request.complete;
  }

  respond(status: number, headers: ResponseHeaders): void {
    if (this.headersSent) throw headersSentError();
    if (this.closed) return;
    const response = this.#response;
    const { statusCode, statusMessage } = response;
    const before = response.getHeaders();
    try {
      this.#host?.beforeHeaders?.();
      const merged = mergeHostHeaders(response, status, headers);
      const isLast = this.#isBodyRefused || CLOSING_STATUSES.has(status);
      response.writeHead(status, isLast ? { ...merged, connection: 'close' } : merged);
    } catch (error) {
      if (!response.headersSent) {
        restoreHead(response, { statusCode, headers: before });
        response.statusMessage = statusMessage;
      }
      throw error;
    }
    this.#hasResponded = true;
    this.#host?.onHeadersSent?.();
  }

  write(chunks: readonly Uint8Array[], last: boolean): Promise<boolean> {
    if (this.closed) return CLOSED;
    if (!this.tracked) return writeUntracked(this.#response, chunks, last ? () => this.end() : undefined);
    return new Promise((resolve) => {
      const final = chunks.length - 1;
      for (let index = 0; index < final; index++) this.#response.write(chunks[index]);
      // Node calls the callback of every write to a writable socket. If the socket is destroyed, it passes an error.
      this.#response.write(chunks[final], (error) => resolve(!error));
      if (last) this.end();
    });
  }

  end(): void {
    if (!this.#isBodyRefused || this.#request.complete) {
      this.#response.end();
      return;
    }
    this.#response.flushHeaders();
    linger(this.#request, () => this.#response.end());
  }

  // Until a plain socket is closed, the kernel may read the chunks. A TLS socket has copied them.
  retire(release: () => void): void {
    release();
  }

  replaceConnection(): void {}

  destroy(): void {
    // A response that the host itself has sent is not destroyed.
    if (this.#response.headersSent && !this.#hasResponded) return;
    // The error is not passed on: the server would emit it as 'clientError', but it is not an error of the client.
    this.#response.destroy();
  }
}
