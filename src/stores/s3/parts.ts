import { createHash, type Hash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { PutOptions } from '../../contract/store.js';
import { chunksOf } from '../body.js';
import type { Allowance, ByteBudget } from './byte-budget.js';
import type { Payload } from './payload.js';

/** Maximum number of parts in a multipart upload of S3. */
const MAX_PARTS = 10_000;
/** Size of the first buffer of a part. The buffer grows as bytes arrive. */
const FIRST_BYTES = 256 * 1024;

/** Limits for the parts of an upload. */
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
 * Splits a body into parts of `partBytes`. The last part may be shorter. An empty body becomes one empty part. A part
 * uses memory only for bytes that have arrived.
 *
 * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` above 10,000 parts, `ERR_HOTBLOB_INCOMPLETE` if the body has another
 *   length than announced, `ERR_HOTBLOB_OVERLOADED` if no memory becomes free in time
 * @throws the error of the body, or the reason of the signal
 */
export async function* splitIntoParts(body: Readable, options: PutOptions, limits: UploadLimits): AsyncGenerator<Part> {
  const { partBytes, budget, timeoutMs } = limits;
  let remaining = options.size ?? Number.POSITIVE_INFINITY;
  const startPart = (): PartBuffer =>
    new PartBuffer(Math.min(partBytes, remaining), budget.open(timeoutMs, options.signal));
  let part: PartBuffer | undefined;
  try {
    for await (const chunk of chunksOf(body, options, partBytes * MAX_PARTS)) {
      for (let consumed = 0; consumed < chunk.byteLength; ) {
        if (part?.isFull) {
          const full: Part = part.finish(false);
          part = undefined;
          yield full;
        }
        part ??= startPart();
        const count: number = await part.fill(chunk, consumed);
        consumed += count;
        remaining -= count;
      }
    }
    const last = (part ?? startPart()).finish(true);
    part = undefined;
    yield last;
  } finally {
    part?.release();
  }
}

class PartBuffer {
  readonly #maxBytes: number;
  readonly #allowance: Allowance;
  readonly #hash: Hash = createHash('sha256');
  #bytes: Buffer = Buffer.alloc(0);
  #length = 0;

  constructor(maxBytes: number, allowance: Allowance) {
    this.#maxBytes = maxBytes;
    this.#allowance = allowance;
  }

  get isFull(): boolean {
    return this.#length === this.#maxBytes;
  }

  /** Copies as much of `chunk` from `start` as fits. Resolves to the number of bytes copied. */
  async fill(chunk: Uint8Array, start: number): Promise<number> {
    const count = Math.min(chunk.byteLength - start, this.#maxBytes - this.#length);
    await this.#allowance.grow(count);
    this.#ensureRoom(this.#length + count);
    const slice = chunk.subarray(start, start + count);
    this.#bytes.set(slice, this.#length);
    this.#hash.update(slice);
    this.#length += count;
    return count;
  }

  finish(isLast: boolean): Part {
    const bytes = this.#bytes.subarray(0, this.#length);
    return { bytes, sha256: this.#hash.digest('hex'), isLast, release: () => this.release() };
  }

  release(): void {
    this.#allowance.release();
  }

  #ensureRoom(bytes: number): void {
    if (bytes <= this.#bytes.byteLength) return;
    // The second buffer has the full size, so that few bytes are copied twice. The kernel provides a page only when it
    // is first written.
    const larger = Buffer.allocUnsafeSlow(Math.min(bytes <= FIRST_BYTES ? FIRST_BYTES : Infinity, this.#maxBytes));
    larger.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = larger;
  }
}
