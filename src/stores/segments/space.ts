import { HotblobError } from '../../contract/errors.js';
import type { SegmentSet } from './segment-set.js';

/** Where room comes from. */
export interface SpaceSource {
  /** Frees some, and resolves to whether it did. One call at a time. */
  evict(): Promise<boolean>;
  /** Resolves when something has changed that may make an eviction possible; undefined when nothing will soon. */
  progress(): Promise<void> | undefined;
}

/** Keeps what a store takes on the disk within its limit: nothing is written before there is room for it. */
export class Space {
  readonly maxBytes: number;
  readonly #segments: SegmentSet;
  /** Frees some space, and resolves to whether it did. One call at a time. */
  readonly #reserveBytes: number;
  readonly #source: SpaceSource;
  /** Granted, and not in a segment yet. */
  #taken = 0;
  #evicting: Promise<boolean> | undefined;

  /** @param reserveBytes what is kept free if possible: an eviction copies what is popular before it frees the rest */
  constructor(maxBytes: number, reserveBytes: number, segments: SegmentSet, source: SpaceSource) {
    this.maxBytes = maxBytes;
    this.#reserveBytes = reserveBytes;
    this.#segments = segments;
    this.#source = source;
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
    while (bytes + this.#reserveBytes > this.free) {
      if (await this.#evictOnce()) continue;
      if (bytes <= this.free) break;
      const progress = this.#source.progress();
      if (progress === undefined) {
        const message = `uploads in progress and what cannot be evicted take all of ${this.maxBytes} bytes`;
        throw new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message);
      }
      await progress;
    }
    this.#taken += bytes;
  }

  /** What was granted is in a segment now, or no longer wanted. */
  give(bytes: number): void {
    this.#taken -= bytes;
  }

  /** All who wait for room wait for the same eviction. */
  #evictOnce(): Promise<boolean> {
    this.#evicting ??= this.#source.evict().finally(() => {
      this.#evicting = undefined;
    });
    return this.#evicting;
  }
}
