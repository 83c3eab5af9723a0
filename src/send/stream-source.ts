import type { Readable } from 'node:stream';
import { HotblobError } from '../contract/errors.js';
import type { Source, Transfer, Window } from './source.js';

/** The windows of a store's stream, as large as it hands them out and no larger than asked for. */
export class StreamSource implements Source {
  readonly #transfer: Transfer;
  readonly #stream: Readable;
  readonly #chunks: AsyncIterator<unknown>;
  readonly #length: number | undefined;
  #received = 0;
  #rest: Uint8Array | undefined;

  /** `length` is what was promised to the client, in bytes; undefined where nobody knows. Destroys `stream` when closed. */
  constructor(transfer: Transfer, stream: Readable, length: number | undefined) {
    this.#transfer = transfer;
    this.#stream = stream;
    this.#length = length;
    this.#chunks = stream[Symbol.asyncIterator]();
    // Between two calls of next() nobody listens, and an error without a listener would end the process.
    stream.on('error', () => {});
    transfer.exchange.onClose(() => stream.destroy());
  }

  async next(_position: number, length: number): Promise<Window | undefined> {
    const { connection } = this.#transfer;
    const bytes = this.#rest ?? (await this.#receive());
    if (bytes === undefined) return undefined;
    const granted = connection.room(Math.min(length, bytes.byteLength));
    const surplus = connection.grant(granted);
    this.#rest = granted < bytes.byteLength ? bytes.subarray(granted) : undefined;
    return {
      chunks: [bytes.subarray(0, granted)],
      length: granted,
      source: 'stream',
      release: () => connection.settle(granted, surplus),
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
        throw new HotblobError(
          'ERR_HOTBLOB_TRUNCATED',
          `the stream ended at ${this.#received} of ${this.#length} bytes`,
        );
      }
      if (!(value instanceof Uint8Array)) {
        throw new HotblobError(
          'ERR_HOTBLOB_INVALID_ARTIFACT',
          `a store's stream must yield bytes, found ${typeof value}`,
        );
      }
      this.#received += value.byteLength;
      if (this.#length !== undefined && this.#received > this.#length) {
        throw new HotblobError(
          'ERR_HOTBLOB_INVALID_ARTIFACT',
          `the stream is longer than the ${this.#length} bytes announced`,
        );
      }
      if (value.byteLength > 0) return value;
    }
  }
}
