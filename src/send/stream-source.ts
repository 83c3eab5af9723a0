import type { Readable } from 'node:stream';
import { HotblobError } from '../contract/errors.js';
import type { Source, Transfer, Window } from './source.js';

/** Source of an artifact that the store returned as a stream. A window is at most as large as a chunk of the stream. */
export class StreamSource implements Source {
  readonly #transfer: Transfer;
  readonly #stream: Readable;
  readonly #chunks: AsyncIterator<unknown>;
  readonly #length: number | undefined;
  #received = 0;
  #rest: Uint8Array | undefined;

  /**
   * @param stream stream of the store. It is destroyed by {@link close}, and when the exchange is closed
   * @param length length of the response body in bytes, undefined if it is unknown
   */
  constructor(transfer: Transfer, stream: Readable, length: number | undefined) {
    this.#transfer = transfer;
    this.#stream = stream;
    this.#length = length;
    this.#chunks = stream[Symbol.asyncIterator]();
    // Between two calls of next(), the iterator has no error listener. An 'error' event without a listener ends the
    // process.
    stream.on('error', () => {});
    transfer.exchange.onClose(() => stream.destroy());
  }

  async next(_position: number, length: number): Promise<Window | undefined> {
    const { connection } = this.#transfer;
    const bytes = this.#rest ?? (await this.#receive());
    if (bytes === undefined) return undefined;
    const windowBytes = connection.availableBytes(Math.min(length, bytes.byteLength));
    const sharedBytes = connection.reserve(windowBytes);
    this.#rest = windowBytes < bytes.byteLength ? bytes.subarray(windowBytes) : undefined;
    return {
      chunks: [bytes.subarray(0, windowBytes)],
      length: windowBytes,
      source: 'stream',
      release: () => connection.release(windowBytes, sharedBytes),
    };
  }

  close(): void {
    this.#stream.destroy();
  }

  async #receive(): Promise<Uint8Array | undefined> {
    for (;;) {
      const { done, value } = await this.#chunks.next();
      if (done) {
        if (this.#length === undefined) return undefined;
        throw new HotblobError('ERR_HOTBLOB_TRUNCATED', this.#lengthMessage());
      }
      if (!(value instanceof Uint8Array)) {
        const message = `stream of an artifact: expected Uint8Array chunks, received ${typeof value}`;
        throw new HotblobError('ERR_HOTBLOB_INVALID_ARTIFACT', message);
      }
      this.#received += value.byteLength;
      if (this.#length !== undefined && this.#received > this.#length) {
        throw new HotblobError('ERR_HOTBLOB_INVALID_ARTIFACT', this.#lengthMessage());
      }
      if (value.byteLength > 0) return value;
    }
  }

  #lengthMessage(): string {
    return `stream of an artifact: expected ${this.#length} bytes, received ${this.#received}`;
  }
}
