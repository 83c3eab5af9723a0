import { clientMessage, errnoCode, statusOf } from '../../contract/errors.js';
import type { Exchange } from '../../contract/exchange.js';
import { REPLY_HEADERS } from '../../http/browser-headers.js';

/** Last line of a stream that has failed. */
export interface FailedStream {
  readonly error: string;
  readonly code?: string | undefined;
}

/** Texts for errors whose text for clients of the cache says less. */
const MESSAGES: Readonly<Record<string, string>> = {
  ERR_HOTBLOB_CLOSED: 'The server is shutting down.',
  ERR_HOTBLOB_WRITER_GONE: 'The process that writes to the store ended, or did not respond in time. Try again.',
};

/**
 * Response of JSON values, one per line. The last line has the member `done`, or `error`: a stream without such a line is
 * incomplete.
 */
export class NdjsonStream {
  readonly #exchange: Exchange;
  #isWriting = false;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** Whether a write has not left the process. */
  get isWriting(): boolean {
    return this.#isWriting;
  }

  /** Writes lines. Resolves to false if the client has disconnected. */
  async write(text: string, isLast = false): Promise<boolean> {
    const exchange = this.#exchange;
    if (exchange.closed) return false;
    this.#respond();
    this.#isWriting = true;
    const isSent = await exchange.write([Buffer.from(text)], isLast);
    this.#isWriting = false;
    return isSent;
  }

  /** Ends the response with a line. */
  end(line: object): Promise<boolean> {
    return this.write(`${JSON.stringify(line)}\n`, true);
  }

  /** Ends the response with the line of an error. */
  async fail(error: unknown): Promise<void> {
    const code = errnoCode(error);
    const text = (code !== undefined && MESSAGES[code]) || clientMessage(statusOf(error), error);
    await this.end({ error: text, code } satisfies FailedStream);
  }

  #respond(): void {
    if (this.#exchange.headersSent) return;
    this.#exchange.respond(200, {
      ...REPLY_HEADERS,
      'content-type': 'application/x-ndjson',
      // A proxy that compresses, or nginx, which buffers, would delay the progress.
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    });
  }
}
