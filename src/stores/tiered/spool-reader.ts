import { Readable } from 'node:stream';
import type { ByteRange } from '../../contract/artifact.js';
import type { Spool } from './spool.js';

const READ_BYTES = 128 * 1024;

/** What a spool holds, or a part of it, as it comes in. */
export class SpoolReader extends Readable {
  readonly #spool: Spool;
  readonly #end: number;
  #position: number;

  /** Uses the spool until it is destroyed or at its end. */
  constructor(spool: Spool, { start, end }: ByteRange = { start: 0, end: Number.POSITIVE_INFINITY }) {
    super({ highWaterMark: READ_BYTES });
    // It may fail before its reader listens, and an error without a listener would end the process.
    this.on('error', () => {});
    this.#spool = spool;
    this.#position = start;
    this.#end = end;
    spool.enter();
  }

  override _read(): void {
    void this.#next().then(
      (chunk) => this.push(chunk ?? null),
      (error) =>
        this.destroy(error instanceof Error ? error : new Error('the artifact cannot be read', { cause: error })),
    );
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#spool.leave();
    callback(error);
  }

  async #next(): Promise<Buffer | undefined> {
    const wanted = Math.min(READ_BYTES, this.#end - this.#position);
    const chunk = wanted > 0 ? await this.#spool.read(this.#position, wanted) : undefined;
    this.#position += chunk?.byteLength ?? 0;
    return chunk;
  }
}
