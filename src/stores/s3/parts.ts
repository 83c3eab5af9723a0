import { createHash, type Hash } from 'node:crypto';
import type { Readable } from 'node:stream';
import type { PutOptions } from '../../contract/store.js';
import { chunksOf } from '../body.js';
import type { Payload } from './bucket.js';
import type { ByteBudget } from './byte-budget.js';

/** S3's own limit. */
const MAX_PARTS = 10_000;

/** What bounds an upload. */
export interface UploadLimits {
  readonly partBytes: number;
  /** What the parts of all uploads take from. */
  readonly budget: ByteBudget;
  /** How long a part waits for that, in milliseconds. */
  readonly timeoutMs: number;
}

/** Some bytes of an upload, in memory until they are released. */
export interface Part extends Payload {
  /** Whether the body ends with it. */
  readonly isLast: boolean;
  /** Gives the memory back; once, however often it is called. */
  release(): void;
}

/**
 * Cuts a body into parts, the last of which may be shorter, or empty where the body is. A part waits for its memory only
 * when the ones before it are complete: those are being sent and will be released, so that no two uploads can wait for
 * each other.
 *
 * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` above 10,000 parts, `ERR_HOTBLOB_INCOMPLETE`, `ERR_HOTBLOB_OVERLOADED` for want
 * of memory; else what the body or the signal says
 */
export async function* partsOf(body: Readable, options: PutOptions, limits: UploadLimits): AsyncGenerator<Part> {
  const { partBytes, budget, timeoutMs } = limits;
  let remaining = options.size ?? Number.POSITIVE_INFINITY;
  const begin = async (): Promise<PartBuffer> => {
    const bytes = Math.min(partBytes, remaining);
    return new PartBuffer(bytes, await budget.take(bytes, timeoutMs, options.signal));
  };
  let part: PartBuffer | undefined;
  try {
    for await (const chunk of chunksOf(body, options, partBytes * MAX_PARTS)) {
      for (let taken = 0; taken < chunk.byteLength; ) {
        if (part?.isFull) {
          const full: Part = part.finish(false);
          part = undefined;
          yield full;
        }
        part ??= await begin();
        const count: number = part.fill(chunk, taken);
        taken += count;
        remaining -= count;
      }
    }
    const last = (part ?? (await begin())).finish(true);
    part = undefined;
    yield last;
  } finally {
    part?.release();
  }
}

class PartBuffer {
  readonly release: () => void;
  // Of its full length from the start, so that nothing is copied twice; pages that stay untouched take no memory.
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

  /** Takes what there is room for of a chunk, from `start` on. Returns how much that is. */
  fill(chunk: Uint8Array, start: number): number {
    const count = Math.min(chunk.byteLength - start, this.#bytes.byteLength - this.#length);
    const piece = chunk.subarray(start, start + count);
    this.#bytes.set(piece, this.#length);
    this.#hash.update(piece);
    this.#length += count;
    return count;
  }

  finish(isLast: boolean): Part {
    const bytes = this.#bytes.subarray(0, this.#length);
    return { bytes, sha256: this.#hash.digest('hex'), isLast, release: this.release };
  }
}
