import { HotblobError } from '../../errors.js';
import type { SegmentSet } from './segment-set.js';

/** Keeps what a store takes on the disk within its limit: nothing is written before there is room for it. */
export class Space {
  readonly maxBytes: number;
  readonly #segments: SegmentSet;
  /** Frees some space, and resolves to whether it did. One call at a time. */
  readonly #evict: () => Promise<boolean>;
  /** Granted, and not in a segment yet. */
  #taken = 0;
  #evicting: Promise<boolean> | undefined;

  constructor(maxBytes: number, segments: SegmentSet, evict: () => Promise<boolean>) {
    this.maxBytes = maxBytes;
    this.#segments = segments;
    this.#evict = evict;
  }

  /** Bytes that are neither written nor granted. */
  get free(): number {
    return this.maxBytes - this.#segments.bytes - this.#taken;
  }

  /**
   * Grants room for `bytes`, when there is some.
   *
   * @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` when nothing more can be evicted
   */
  async take(bytes: number): Promise<void> {
    while (bytes > this.free) {
      if (await this.#evictOnce()) continue;
      if (bytes <= this.free) break;
      const message = `uploads in progress and what cannot be evicted take all of ${this.maxBytes} bytes`;
      throw new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message);
    }
    this.#taken += bytes;
  }

  /** What was granted is in a segment now, or no longer wanted. */
  give(bytes: number): void {
    this.#taken -= bytes;
  }

  /** All who wait for room wait for the same eviction. */
  #evictOnce(): Promise<boolean> {
    this.#evicting ??= this.#evict().finally(() => {
      this.#evicting = undefined;
    });
    return this.#evicting;
  }
}
