import type { Source, Transfer, Window } from './source.js';

/** The windows of an artifact that is in memory already. */
export class BytesSource implements Source {
  readonly #transfer: Transfer;
  readonly #bytes: Uint8Array;

  constructor(transfer: Transfer, bytes: Uint8Array) {
    this.#transfer = transfer;
    this.#bytes = bytes;
  }

  next(position: number, length: number): Window {
    const { connection } = this.#transfer;
    const granted = connection.room(length);
    const surplus = connection.grant(granted);
    return {
      chunks: [this.#bytes.subarray(position, position + granted)],
      length: granted,
      source: 'bytes',
      release: () => connection.settle(granted, surplus),
    };
  }

  close(): void {}
}
