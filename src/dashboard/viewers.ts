import type { Exchange } from '../contract/exchange.js';
import { answerError } from '../handler/reply.js';
import { REPLY_HEADERS } from '../http/browser-headers.js';

/** Maximum number of concurrent event streams. */
const MAX_VIEWERS = 32;
/** Maximum number of these for one connection, so that a single HTTP/2 session cannot use all of them. */
const MAX_PER_CONNECTION = 8;
const INTERVAL_MS = 1000;
/** Time after which a viewer that accepts no message is disconnected. */
const STALLED_MS = 30_000;
/**
 * Maximum duration of an event stream. The page then reconnects. Without a limit, an open page would keep a drained
 * connection alive.
 */
const MAX_STREAM_MS = 10 * 60_000;

interface Viewer {
  readonly exchange: Exchange;
  /** Address of the client; `undefined` if the connection does not reveal it. */
  readonly address: string | undefined;
  readonly since: number;
  /** Time at which the pending write started; `undefined` if no write is pending. */
  sendingSince: number | undefined;
}

/**
 * Open pages that are connected by Server-Sent Events. Every second, all pages receive the same message. It is encoded
 * only once.
 */
export class Viewers {
  readonly #message: () => Promise<object>;
  readonly #viewers = new Set<Viewer>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #isBroadcasting = false;

  /** @param message creates the message. It is called only while there are viewers, and may reject */
  constructor(message: () => Promise<object>) {
    this.#message = message;
  }

  /**
   * Responds with an event stream, or with 503 if there are too many viewers. If all places are taken and an address has
   * at least two viewers more than the address of this one, its oldest viewer is disconnected. The first message also
   * contains the members of `first`. Resolves when the stream has ended.
   *
   * @throws the error of the message, before the response
   */
  async add(exchange: Exchange, first: object): Promise<void> {
    // Before the headers, so that an error becomes a status.
    const message = this.#isClosed ? undefined : encode({ ...first, ...(await this.#message()) });
    if (exchange.closed) return;
    const address = addressOf(exchange.connection);
    if (message === undefined || this.#isClosed || !this.#makeRoom(exchange, address)) {
      answerError(exchange, 503);
      return;
    }
    exchange.respond(200, {
      ...REPLY_HEADERS,
      'content-type': 'text/event-stream; charset=utf-8',
      // Without these headers, a proxy that compresses, or nginx, which buffers, would delay the messages.
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    });
    if (exchange.method === 'HEAD') {
      exchange.end();
      return;
    }
    const viewer: Viewer = { exchange, address, since: performance.now(), sendingSince: undefined };
    const closed = new Promise<void>((resolve) => exchange.onClose(resolve));
    this.#viewers.add(viewer);
    this.#timer ??= setInterval(() => void this.#broadcast(), INTERVAL_MS).unref();
    this.#send(viewer, message);
    await closed;
    this.#remove(viewer);
  }

  /** Ends all streams. Later requests are answered with 503. */
  close(): void {
    this.#isClosed = true;
    for (const viewer of this.#viewers) this.#end(viewer);
  }

  #makeRoom({ connection }: Exchange, address: string | undefined): boolean {
    const viewers = [...this.#viewers];
    if (viewers.filter(({ exchange }) => exchange.connection === connection).length >= MAX_PER_CONNECTION) return false;
    if (viewers.length < MAX_VIEWERS) return true;
    const countOf = (each: string | undefined): number => viewers.filter((viewer) => viewer.address === each).length;
    const most = Math.max(...viewers.map((viewer) => countOf(viewer.address)));
    if (most <= countOf(address) + 1) return false;
    const oldest = viewers.find((viewer) => countOf(viewer.address) === most);
    if (oldest !== undefined) this.#end(oldest);
    return true;
  }

  async #broadcast(): Promise<void> {
    if (this.#isBroadcasting) return; // the statistics of other processes take longer than usual
    this.#isBroadcasting = true;
    let bytes: Buffer;
    try {
      bytes = encode(await this.#message());
    } catch (error) {
      // The pages connect again, and their requests report the error until it is over.
      for (const { exchange } of this.#viewers) exchange.destroy(new Error('the statistics failed', { cause: error }));
      return;
    } finally {
      this.#isBroadcasting = false;
    }
    const now = performance.now();
    for (const viewer of this.#viewers) {
      const { sendingSince, exchange, since } = viewer;
      if (sendingSince === undefined) {
        if (now - since > MAX_STREAM_MS) this.#end(viewer);
        else this.#send(viewer, bytes);
      } else if (now - sendingSince > STALLED_MS) {
        // At most one message is pending for each viewer, so a slow viewer uses bounded memory.
        this.#remove(viewer);
        exchange.destroy(new Error('the viewer stopped reading'));
      }
    }
  }

  #send(viewer: Viewer, bytes: Buffer): void {
    viewer.sendingSince = performance.now();
    void viewer.exchange.write([bytes], false).then((isSent) => {
      viewer.sendingSince = undefined;
      if (!isSent) this.#remove(viewer);
    });
  }

  #end(viewer: Viewer): void {
    this.#remove(viewer);
    viewer.exchange.end();
  }

  #remove(viewer: Viewer): void {
    this.#viewers.delete(viewer);
    if (this.#viewers.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}

/** Returns the address of the client of a socket or an HTTP/2 session. */
function addressOf(connection: object): string | undefined {
  const { remoteAddress, socket } = connection as {
    readonly remoteAddress?: string | undefined;
    readonly socket?: { readonly remoteAddress?: string | undefined };
  };
  return remoteAddress ?? socket?.remoteAddress;
}

/** Encodes an event without a name (HTML Standard, 9.2.5). JSON contains no line breaks. */
function encode(message: object): Buffer {
  return Buffer.from(`data: ${JSON.stringify(message)}\n\n`);
}
