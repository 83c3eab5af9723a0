import type { Source, Transfer, Window } from './source.js';

/** Source of an artifact whose bytes are in memory. */
export class BytesSource implements Source {
  readonly #transfer: Transfer;
  readonly #bytes: Uint8Array;
  readonly #lease: { release(): void } | undefined;
  /** Number of windows that have not been released, and 1 until {@link close}. */
  #users = 1;

  /** @param lease released when the source is closed and nothing can read a window any more */
  constructor(transfer: Transfer, bytes: Uint8Array, lease?: { release(): void }) {
    this.#transfer = transfer;
    this.#bytes = bytes;
    this.#lease = lease;
  }

  next(position: number, length: number): Window {
    const { connection } = this.#transfer;
    const windowBytes = connection.availableBytes(length);
    const sharedBytes = connection.reserve(windowBytes);
    this.#users++;
    return {
      chunks: [this.#bytes.subarray(position, position + windowBytes)],
      length: windowBytes,
      source: 'bytes',
      release: () => {
        connection.release(windowBytes, sharedBytes);
        this.#release();
      },
    };
  }

  close(): void {
    this.#release();
  }

  #release(): void {
    if (--this.#users === 0) this.#lease?.release();
  }
}
