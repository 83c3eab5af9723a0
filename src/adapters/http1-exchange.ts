import { type IncomingMessage, ServerResponse } from 'node:http';
import { type Exchange, headersSentError, type ResponseHeaders } from '../contract/exchange.js';
import { onceOver } from './close-listeners.js';
import type { Host } from './host.js';
import { besideHostHeaders } from './host-headers.js';
import { writeUntracked } from './untracked.js';

/** How long a refused upload is read on, so that the client sees the answer before its connection is reset. */
const LINGER_MS = 1000;
const CLOSED = Promise.resolve(false);

/** A request of HTTP/1.1 and its response, plain or over TLS. */
export class Http1Exchange implements Exchange {
  readonly multiplexed = false;
  readonly tracked: boolean;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #host: Host | undefined;
  #isRefused = false;
  #isBegun = false;

  constructor(request: IncomingMessage, response: ServerResponse, host?: Host) {
    this.#request = request;
    this.#response = response;
    this.#host = host;
    this.tracked = response.write === ServerResponse.prototype.write;
  }

  get method(): string {
    return this.#request.method ?? 'GET';
  }

  get url(): string {
    return this.#host?.url ?? this.#request.url ?? '/';
  }

  get headers() {
    return this.#request.headers;
  }

  get body() {
    return this.#request;
  }

  get connection() {
    return this.#request.socket;
  }

  get plain(): boolean {
    return !('encrypted' in this.#request.socket);
  }

  get headersSent(): boolean {
    return this.#response.headersSent;
  }

  // A response that waits for its turn is told nothing when the connection drops: the socket says so.
  get closed(): boolean {
    const { socket } = this.#request;
    return this.#response.destroyed || this.#response.writableEnded || socket.destroyed || !socket.writable;
  }

  onClose(listener: () => void): () => void {
    // The request closes as soon as its body has been read.
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
    this.#isRefused = !this.#request.complete;
  }

  respond(status: number, headers: ResponseHeaders): void {
    if (this.headersSent) throw headersSentError();
    if (this.closed) return;
    this.#host?.beforeHeaders?.();
    const merged = besideHostHeaders(this.#response, status, headers);
    // Where descriptors have run out, connections that wait for their next request are what holds them.
    const isLast = this.#isRefused || status === 503;
    this.#response.writeHead(status, isLast ? { ...merged, connection: 'close' } : merged);
    this.#isBegun = true;
    this.#host?.onHeadersSent?.();
  }

  write(chunks: readonly Uint8Array[], last: boolean): Promise<boolean> {
    if (this.closed) return CLOSED;
    if (!this.tracked) return writeUntracked(this.#response, chunks, last);
    return new Promise((resolve) => {
      const final = chunks.length - 1;
      for (let index = 0; index < final; index++) this.#response.write(chunks[index]);
      // A socket that is writable answers every write, with an error when it is destroyed.
      this.#response.write(chunks[final], (error) => resolve(!error));
      if (last) this.end();
    });
  }

  end(): void {
    if (this.#isRefused && !this.#request.complete) this.#linger();
    else this.#response.end();
  }

  // The kernel reads a plain socket's chunks, and stops when it is closed; TLS has copied them.
  retire(release: () => void): void {
    release();
  }

  replaceConnection(): void {}

  destroy(): void {
    // What the host has answered by itself is not ours to cut off.
    if (this.#response.headersSent && !this.#isBegun) return;
    // Without the error: hosts would get it as a clientError, and it is not the client's.
    this.#response.destroy();
  }

  #linger(): void {
    const end = () => {
      clearTimeout(timer);
      this.#response.end();
    };
    const timer = setTimeout(end, LINGER_MS);
    this.#request.once('end', end).once('close', end).on('error', end);
    this.#request.on('data', () => {});
    this.#request.resume();
  }
}
