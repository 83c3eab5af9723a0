import { type IncomingHttpHeaders, validateHeaderName, validateHeaderValue } from 'node:http';
import { Readable } from 'node:stream';
import type { ReadableStreamDefaultController } from 'node:stream/web';
import { bodyConsumedError, type Exchange, headersSentError, type ResponseHeaders } from '../contract/exchange.js';
import { linger } from './linger.js';
import { targetOf } from './mount.js';

/** Maximum size of the chunks of the response body. */
const CHUNK_BYTES = 256 * 1024;
/** Status codes of responses without a body (Fetch standard, "null body status"). */
const BODILESS = new Set([204, 205, 304]);
const CLOSED = Promise.resolve(false);

interface PendingWrite {
  /** Parts of the write that the consumer has not pulled yet, in order. */
  readonly parts: Uint8Array[];
  readonly last: boolean;
  readonly resolve: (isWritten: boolean) => void;
}

/**
 * Exchange over a Request of the Fetch API and its Response. The response body is a ReadableStream that never buffers
 * chunks in advance.
 */
export class FetchExchange implements Exchange {
  /**
   * Closes an exchange if its response body was garbage-collected before it was read or cancelled. This happens if
   * middleware replaces the response. The registry references an exchange strongly, so an exchange must not reference
   * its stream, except while a read is pending.
   */
  static readonly #dropped = new FinalizationRegistry<FetchExchange>((exchange) => exchange.#close());

  readonly url: string;
  // The Fetch API does not show the connection, so each request counts as one.
  readonly connection = this;
  readonly multiplexed = false;
  // Files are not mapped. Chunks are copied in user space when the consumer pulls them. Until then, the kernel could evict
  // the pages of a mapping, and the copy would read them from the disk on the event loop.
  readonly plain = false;
  readonly tracked = false;
  readonly #request: Request;
  readonly #onResponse: (response: Response) => void;
  readonly #onAbort = (): void => this.#abort();
  readonly #closeListeners = new Set<() => void>();
  #headers: IncomingHttpHeaders | undefined;
  #body: Readable | undefined;
  #stream: WeakRef<ReadableStreamDefaultController<Uint8Array>> | undefined;
  /** Controller of the stream while a read of the consumer is pending, otherwise undefined. */
  #pulled: ReadableStreamDefaultController<Uint8Array> | undefined;
  #write: PendingWrite | undefined;
  #headersSent = false;
  #isClosed = false;

  /**
   * @param url path and query, below the mount path
   * @param onResponse called once, when status and headers are known
   */
  constructor(request: Request, url: string, onResponse: (response: Response) => void) {
    this.#request = request;
    this.url = url;
    this.#onResponse = onResponse;
    request.signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  get method(): string {
    return this.#request.method;
  }

  get originalUrl(): string {
    return targetOf(this.#request.url);
  }

  get headers(): IncomingHttpHeaders {
    this.#headers ??= incomingHeaders(this.#request);
    return this.#headers;
  }

  get body(): Readable {
    this.#body ??= readableOf(this.#request);
    return this.#body;
  }

  get closed(): boolean {
    return this.#isClosed || this.#request.signal.aborted;
  }

  get headersSent(): boolean {
    return this.#headersSent;
  }

  onClose(listener: () => void): () => void {
    // The same function may be added twice.
    const entry = (): void => listener();
    this.#closeListeners.add(entry);
    if (this.closed) queueMicrotask(() => this.#closeListeners.delete(entry) && listener());
    return () => void this.#closeListeners.delete(entry);
  }

  turn(): undefined {}

  /**
   * Reads and discards the rest of the body within limits, then cancels it. Servers that are built on node:http destroy
   * the socket when the body is cancelled. If that happened at once, the client would not receive the response.
   */
  refuseBody(): void {
    const { body: stream, bodyUsed } = this.#request;
    // A body that the host is reading or has read is not touched.
    if (this.#body === undefined && (stream === null || stream.locked || bodyUsed)) return;
    const { body } = this;
    linger(body, () => body.destroy());
  }

  respond(status: number, headers: ResponseHeaders): void {
    if (this.#headersSent) throw headersSentError();
    if (this.closed) return;
    const init = { status, headers: responseHeaders(headers) };
    const isBodiless = this.method === 'HEAD' || BODILESS.has(status) || Number(headers['content-length']) === 0;
    const response = new Response(isBodiless ? null : this.#openStream(), init);
    this.#headersSent = true;
    this.#onResponse(response);
  }

  write(chunks: readonly Uint8Array[], last: boolean): Promise<boolean> {
    if (this.closed) return CLOSED;
    return new Promise((resolve) => {
      this.#write = { parts: partsOf(chunks), last, resolve };
      this.#deliver();
    });
  }

  end(): void {
    if (this.closed) return;
    this.#stream?.deref()?.close();
    this.#close();
  }

  // The memory can be released at once, because the consumer has copies of the chunks.
  retire(release: () => void): void {
    release();
  }

  replaceConnection(): void {}

  destroy(error: Error): void {
    if (this.closed) return;
    if (!this.#headersSent) {
      this.#headersSent = true;
      this.#onResponse(new Response(null, { status: 500 }));
    }
    // The message of `error` becomes only the cause, because it can contain paths, and servers may show the message to
    // the client.
    this.#stream?.deref()?.error(new Error('the response ended early', { cause: error }));
    this.#close();
  }

  /** Removes the listener from the signal of the request. Called if another handler responds. */
  release(): void {
    this.#request.signal.removeEventListener('abort', this.#onAbort);
  }

  #openStream(): ReadableStream<Uint8Array> {
    const stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#stream = new WeakRef(controller);
        },
        pull: (controller) => {
          this.#pulled = controller;
          this.#deliver();
        },
        cancel: () => this.#close(),
      },
      { highWaterMark: 0 },
    );
    FetchExchange.#dropped.register(stream, this, this);
    return stream;
  }

  /** Passes the next part of a write to the consumer, if a read is pending. */
  #deliver(): void {
    const controller = this.#pulled;
    const write = this.#write;
    if (controller === undefined || write === undefined) return;
    const part = write.parts.shift();
    const isWritten = write.parts.length === 0;
    if (isWritten) this.#write = undefined;
    this.#pulled = undefined;
    // The chunk is copied, because the consumer may keep, modify or transfer it, and a store may still use the
    // original.
    if (part !== undefined) controller.enqueue(new Uint8Array(part));
    if (!isWritten) return;
    if (write.last) this.end();
    write.resolve(true);
  }

  #abort(): void {
    this.#stream?.deref()?.error(this.#request.signal.reason);
    this.#close();
  }

  #close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.release();
    FetchExchange.#dropped.unregister(this);
    this.#write?.resolve(false);
    this.#write = undefined;
    this.#pulled = undefined;
    for (const listener of this.#closeListeners) {
      this.#closeListeners.delete(listener);
      listener();
    }
  }
}

function incomingHeaders({ headers, url }: Request): IncomingHttpHeaders {
  const incoming: IncomingHttpHeaders = Object.fromEntries(headers);
  // Some runtimes show the host only in the URL.
  incoming.host ??= new URL(url).host;
  const cookies = headers.getSetCookie();
  // Set-Cookie becomes an array, as in node:http, because it is the only header whose values cannot be joined (RFC
  // 9110, section 5.3).
  if (cookies.length > 0) incoming['set-cookie'] = cookies;
  return incoming;
}

/**
 * Converts headers, and rejects the same values as node:http. `Headers` would only remove line breaks at the ends of a
 * value, which are an error of the store.
 */
function responseHeaders(headers: ResponseHeaders): Headers {
  const checked = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    validateHeaderName(name);
    validateHeaderValue(name, String(value));
    checked.set(name, String(value));
  }
  return checked;
}

function readableOf({ body, bodyUsed }: Request): Readable {
  // Some runtimes set `body` to null after it has been read.
  if (bodyUsed || body?.locked) throw bodyConsumedError();
  if (body === null) return Readable.from([]);
  // If the client disconnects after the store has stopped reading, there is no other listener, and the error would end
  // the process.
  return Readable.fromWeb(body).on('error', () => {});
}

function partsOf(chunks: readonly Uint8Array[]): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (const chunk of chunks) {
    for (let start = 0; start < chunk.byteLength; start += CHUNK_BYTES) {
      parts.push(chunk.subarray(start, start + CHUNK_BYTES));
    }
  }
  return parts;
}
