import type { Source, Transfer, Window } from './source.js';

/** Source of an artifact whose bytes are in memory. */
export class BytesSource implements Source {
  readonly #transfer: Transfer;
  readonly #bytes: Uint8Array;

  readonly #lease: { release(): void } | undefined;

  /** @param lease released by {@link close} */
  constructor(transfer: Transfer, bytes: Uint8Array, lease?: { release(): void }) {
    this.#transfer = transfer;
    this.#bytes = bytes;
    this.#lease = lease;
  }

  next(position: number, length: number): Window {
    const { connection } = this.#transfer;
    const windowBytes = connection.availableBytes(length);
    const sharedBytes = connection.reserve(windowBytes);
    return {
      chunks: [this.#bytes.subarray(position, position + windowBytes)],
      length: windowBytes,
      source: 'bytes',
      release: () => connection.release(windowBytes, sharedBytes),
    };
  }

  close(): void {
    this.#lease?.release();
  }
}
