import type { Source, Transfer, Window } from './source.js';

/** Source of an artifact whose bytes are in memory. */
export class BytesSource implements Source {
  readonly #transfer: Transfer;
  readonly #bytes: Uint8Array;

  constructor(transfer: Transfer, bytes: Uint8Array) {
    this.#transfer = transfer;
    this.#bytes = bytes;
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

  close(): void {}
}
