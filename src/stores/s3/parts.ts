import { createHash, type Hash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { PutOptions } from '../../contract/store.js';
import { chunksOf } from '../body.js';
import type { Payload } from './bucket.js';
import type { ByteBudget } from './byte-budget.js';

/** Maximum number of parts in a multipart upload of S3. */
const MAX_PARTS = 10_000;

/** Limits of an upload. */
export interface UploadLimits {
  readonly partBytes: number;
  /** Memory for the parts of all uploads. */
  readonly budget: ByteBudget;
  /** Maximum time that a part waits for memory, in milliseconds. */
  readonly timeoutMs: number;
}

/** Part of an upload, held in memory until it is released. */
export interface Part extends Payload {
  readonly isLast: boolean;
  /** Releases the memory. Further calls do nothing. */
  release(): void;
}

/**
 * Splits a body into parts of `partBytes`. The last part may be shorter; an empty body is one empty part.
 *
 * An upload waits for memory only while all of its earlier parts are being sent. Those will be released, so that two
 * uploads cannot block each other.
 *
 * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` above 10,000 parts, `ERR_HOTBLOB_INCOMPLETE` if the body has another
 * length than announced, `ERR_HOTBLOB_OVERLOADED` if no memory becomes free in time; else the error of the body or the
 * reason of the signal
 */
export async function* splitIntoParts(body: Readable, options: PutOptions, limits: UploadLimits): AsyncGenerator<Part> {
  const { partBytes, budget, timeoutMs } = limits;
  let remaining = options.size ?? Number.POSITIVE_INFINITY;
  const startPart = async (): Promise<PartBuffer> => {
    const bytes = Math.min(partBytes, remaining);
    return new PartBuffer(bytes, await budget.reserve(bytes, timeoutMs, options.signal));
  };
  let part: PartBuffer | undefined;
  try {
    for await (const chunk of chunksOf(body, options, partBytes * MAX_PARTS)) {
      for (let consumed = 0; consumed < chunk.byteLength; ) {
        if (part?.isFull) {
          const full: Part = part.finish(false);
          part = undefined;
          yield full;
        }
        part ??= await startPart();
        const count: number = part.fill(chunk, consumed);
        consumed += count;
        remaining -= count;
      }
    }
    const last = (part ?? (await startPart())).finish(true);
    part = undefined;
    yield last;
  } finally {
    part?.release();
  }
}

class PartBuffer {
  readonly release: () => void;
  // Allocated in full, so that no byte is copied twice. The kernel provides a page only when it is first written.
  readonly #bytes: Buffer;
  readonly #hash: Hash = createHash('sha256');
  #length = 0;

  constructor(bytes: number, release: () => void) {
    this.#bytes = Buffer.allocUnsafeSlow(bytes);
    this.release = release;
  }

  get isFull(): boolean {
    return this.#length === this.#bytes.byteLength;
  }

  /** Copies as much of `chunk` from `start` as fits. Returns the number of bytes copied. */
  fill(chunk: Uint8Array, start: number): number {
    const count = Math.min(chunk.byteLength - start, this.#bytes.byteLength - this.#length);
    const slice = chunk.subarray(start, start + count);
    this.#bytes.set(slice, this.#length);
    this.#hash.update(slice);
    this.#length += count;
    return count;
  }

  finish(isLast: boolean): Part {
    const bytes = this.#bytes.subarray(0, this.#length);
    return { bytes, sha256: this.#hash.digest('hex'), isLast, release: this.release };
  }
}
