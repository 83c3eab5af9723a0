import { Readable } from 'node:stream';
import type { ByteRange } from '../../contract/artifact.js';
import type { Spool } from './spool.js';

const READ_BYTES = 128 * 1024;

/**
 * Stream of the bytes of a spool, or of a range of it. Reads the spool while it is being written. If the spool is
 * {@link Spool.isUnwritable}, the bytes that it lacks come from another stream.
 */
export class SpoolReader extends Readable {
  readonly #spool: Spool;
  readonly #openRest: ((position: number) => Promise<Readable>) | undefined;
  readonly #end: number;
  #position: number;
  #rest: { readonly stream: Readable; readonly chunks: AsyncIterator<Buffer> } | undefined;

  /**
   * Retains the spool until the stream ends or is destroyed.
   *
   * @param openRest opens the bytes from a position up to the end of the range; undefined if that is not possible
   */
  constructor(
    spool: Spool,
    { start, end }: ByteRange = { start: 0, end: Number.POSITIVE_INFINITY },
    openRest?: ((position: number) => Promise<Readable>) | undefined,
  ) {
    super({ highWaterMark: READ_BYTES });
    // The stream may fail before its consumer listens. An 'error' event without a listener would end the process.
    this.on('error', () => {});
    this.#spool = spool;
    this.#openRest = openRest;
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
    this.#rest?.stream.destroy();
    this.#spool.release();
    callback(error);
  }

  async #readNext(): Promise<Buffer | undefined> {
    const maxBytes = Math.min(READ_BYTES, this.#end - this.#position);
    const chunk = maxBytes > 0 ? await this.#nextChunk(maxBytes) : undefined;
    this.#position += chunk?.byteLength ?? 0;
    return chunk;
  }

  async #nextChunk(maxBytes: number): Promise<Buffer | undefined> {
    if (this.#rest === undefined) {
      try {
        return await this.#spool.read(this.#position, maxBytes);
      } catch (error) {
        if (!this.#spool.isUnwritable || this.#openRest === undefined) throw error;
      }
      const stream = await this.#openRest(this.#position);
      this.#rest = { stream, chunks: stream[Symbol.asyncIterator]() };
      if (this.destroyed) stream.destroy();
    }
    const { done, value } = await this.#rest.chunks.next();
    return done ? undefined : value;
  }
}
