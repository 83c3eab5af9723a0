import type { Exchange } from '../contract/exchange.js';
import { answerError } from '../handler/reply.js';

/** How many may look at the same time. */
const MAX_VIEWERS = 32;
const INTERVAL_MS = 1000;
/** A viewer that has not taken a message for so long has gone. */
const STALLED_MS = 30_000;
/** After this time a viewer is asked to come again: an old connection could not end otherwise. */
const LONGEST_MS = 10 * 60_000;

interface Viewer {
  readonly exchange: Exchange;
  readonly since: number;
  /** When the last message was handed over; undefined while none is on its way. */
  sendingSince: number | undefined;
}

/** Those who look, by Server-Sent Events: each second all get the same message, which is made once. */
export class Viewers {
  readonly #message: () => object;
  readonly #viewers = new Set<Viewer>();
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** @param message what all are told; asked for while there are viewers, and no longer */
  constructor(message: () => object) {
    this.#message = message;
  }

  /** Answers a request for events. `first` goes along with its first message. Resolves when the stream is over. */
  async add(exchange: Exchange, first: object): Promise<void> {
    if (this.#isClosed || this.#viewers.size >= MAX_VIEWERS) {
      answerError(exchange, 503);
      return;
    }
    exchange.respond(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      // For caches and compressors, and for nginx.
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    });
    if (exchange.method === 'HEAD') {
      exchange.end();
      return;
    }
    const viewer: Viewer = { exchange, since: performance.now(), sendingSince: undefined };
    const closed = new Promise<void>((resolve) => exchange.onClose(resolve));
    this.#viewers.add(viewer);
    this.#timer ??= setInterval(() => this.#tellAll(), INTERVAL_MS).unref();
    this.#send(viewer, encode({ ...first, ...this.#message() }));
    await closed;
    this.#remove(viewer);
  }

  /** Ends all streams. Nobody is answered by one from now on. */
  close(): void {
    this.#isClosed = true;
    for (const viewer of this.#viewers) this.#end(viewer);
  }

  #tellAll(): void {
    const bytes = encode(this.#message());
    const now = performance.now();
    for (const viewer of this.#viewers) {
      const { sendingSince, exchange, since } = viewer;
      if (sendingSince === undefined) {
        if (now - since > LONGEST_MS) this.#end(viewer);
        else this.#send(viewer, bytes);
      } else if (now - sendingSince > STALLED_MS) {
        // What it has not taken is all that it gets: one message waits for each viewer, never more.
        this.#remove(viewer);
        exchange.destroy(new Error('the viewer does not read'));
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

/** A message without a name (HTML, 9.2.5). JSON has no line breaks. */
function encode(message: object): Buffer {
  return Buffer.from(`data: ${JSON.stringify(message)}\n\n`);
}
