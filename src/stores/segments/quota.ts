import { HotblobError } from '../../contract/errors.js';
import type { SegmentSet } from './segment-set.js';

/**
 * Bytes of the index file that hold no entries: each commit replaces pages, which only later commits reuse. Measured: up to a few
 * MiB, whatever the size of the index is.
 */
const MAX_UNUSED_INDEX_BYTES = 4 * 1024 * 1024;

/** Frees space for {@link Quota}. */
export interface SpaceReclaimer {
  /** Evicts artifacts. Resolves to whether space was freed. It is not called again before the promise has settled. */
  evict(): Promise<boolean>;
  /**
   * Resolves when an eviction may have become possible. Returns undefined if no operation is in flight that could make
   * it possible.
   */
  progress(): Promise<void> | undefined;
}

/** Keeps the disk usage of a store within its limit: space is reserved before anything is written. */
export class Quota {
  /** Bytes for segments and index entries. */
  readonly capacity: number;
  readonly #headroomBytes: number;
  readonly #segments: SegmentSet;
  readonly #reclaimer: SpaceReclaimer;
  /** Number of bytes that are reserved but not yet part of a segment. */
  #reserved = 0;
  #evicting: Promise<boolean> | undefined;

  /**
   * @param headroomBytes free space to keep if possible, because an eviction copies recently used artifacts before it
   *   frees the space of their segment
   */
  constructor(maxBytes: number, headroomBytes: number, segments: SegmentSet, reclaimer: SpaceReclaimer) {
    this.#headroomBytes = headroomBytes;
    this.capacity = maxBytes - Math.min(MAX_UNUSED_INDEX_BYTES, maxBytes / 8);
    this.#segments = segments;
    this.#reclaimer = reclaimer;
  }

  /** Number of bytes that are neither used nor reserved. */
  get free(): number {
    return this.capacity - this.#segments.bytes - this.#reserved;
  }

  /**
   * Reserves space, and evicts artifacts if necessary.
   *
   * @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` if there is not enough space and nothing can be evicted
   */
  async reserve(bytes: number): Promise<void> {
    while (bytes + this.#headroomBytes > this.free) {
      if (await this.#evictOnce()) continue;
      if (bytes <= this.free) break;
      const progress = this.#reclaimer.progress();
      if (progress === undefined) {
        const message =
          `maxBytes: an upload needs ${bytes} bytes, but only ${this.free} of ${this.capacity} are free and nothing can be ` +
          'evicted: retry when fewer uploads are in flight, or raise maxBytes';
        throw new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message);
      }
      await progress;
    }
    this.#reserved += bytes;
  }

  /** Ends a reservation: the bytes are part of a segment now, or are no longer needed. */
  release(bytes: number): void {
    this.#reserved -= bytes;
  }

  /** Evicts artifacts, or waits for the eviction in flight if there is one. */
  #evictOnce(): Promise<boolean> {
    this.#evicting ??= this.#reclaimer.evict().finally(() => {
      this.#evicting = undefined;
    });
    return this.#evicting;
  }
}
