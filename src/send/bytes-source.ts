import type { PooledBuffer } from './buffer-pool.js';
import type { Source, Transfer, Window } from './source.js';

/**
 * Source of an artifact whose bytes are in memory. Over TLS, the copy that TLS makes of a window counts towards the limit of the
 * buffer pool.
 */
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

  next(position: number, length: number): Window | Promise<Window> {
    const { exchange, connection, leases } = this.#transfer;
    const windowBytes = connection.availableBytes(length);
    if (leases.countCopy(exchange, connection, windowBytes)) {
      const bytes = this.#bytes.subarray(position, position + windowBytes);
      return this.#window(bytes, () => leases.uncountCopy(exchange, connection, windowBytes));
    }
    return leases.waitForBuffer(exchange, connection, length).then((buffer) => this.#copy(buffer, position, length));
  }

  close(): void {
    this.#release();
  }

  /** Returns a window in a pooled buffer. A response that waits gets one when others have returned theirs. */
  #copy(buffer: PooledBuffer, position: number, length: number): Window {
    const { exchange, connection, leases } = this.#transfer;
    const { memory } = buffer;
    const windowBytes = Math.min(connection.availableBytes(length), memory.byteLength);
    memory.set(this.#bytes.subarray(position, position + windowBytes));
    return this.#window(memory.subarray(0, windowBytes), () =>
      leases.releaseBuffer(connection, buffer, exchange.tracked),
    );
  }

  #window(bytes: Uint8Array, release: () => void): Window {
    const { connection } = this.#transfer;
    const { byteLength: length } = bytes;
    const sharedBytes = connection.reserve(length);
    this.#users++;
    return {
      chunks: [bytes],
      length,
      source: 'bytes',
      release: () => {
        connection.release(length, sharedBytes);
        release();
        this.#release();
      },
    };
  }

  #release(): void {
    if (--this.#users === 0) this.#lease?.release();
  }
}
