import { Readable } from 'node:stream';
import type { ByteRange } from '../../contract/artifact.js';
import type { Spool } from './spool.js';

const READ_BYTES = 128 * 1024;

/** Stream of the bytes of a spool, or of a range of it. Reads the spool while it is being written. */
export class SpoolReader extends Readable {
  readonly #spool: Spool;
  readonly #end: number;
  #position: number;

  /** Retains the spool until the stream ends or is destroyed. */
  constructor(spool: Spool, { start, end }: ByteRange = { start: 0, end: Number.POSITIVE_INFINITY }) {
    super({ highWaterMark: READ_BYTES });
    // The stream may fail before its consumer listens. An 'error' event without a listener would end the process.
    this.on('error', () => {});
    this.#spool = spool;
    this.#position = start;
    this.#end = end;
    spool.retain();
  }

  override _read(): void {
    void this.#readNext().then(
      (chunk) => this.push(chunk ?? null),
      (error) =>
        this.destroy(error instanceof Error ? error : new Error('reading the artifact failed', { cause: error })),
    );
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#spool.release();
    callback(error);
  }

  async #readNext(): Promise<Buffer | undefined> {
    const maxBytes = Math.min(READ_BYTES, this.#end - this.#position);
    const chunk = maxBytes > 0 ? await this.#spool.read(this.#position, maxBytes) : undefined;
    this.#position += chunk?.byteLength ?? 0;
    return chunk;
  }
}
