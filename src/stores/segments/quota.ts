import { HotblobError } from '../../contract/errors.js';
import type { SegmentGroup } from './segment-groups.js';
import type { SegmentSet } from './segment-set.js';

/**
 * Bytes of the index file that hold no entries: each commit replaces pages, which only later commits reuse. Measured: up to a few
 * MiB, whatever the size of the index is.
 */
const MAX_UNUSED_INDEX_BYTES = 4 * 1024 * 1024;

/** Frees space for {@link Quota}. */
export interface SpaceReclaimer {
  /** Evicts artifacts of the groups that `isIncluded` selects. Resolves to whether space was freed. */
  evict(isIncluded: (group: SegmentGroup) => boolean): Promise<boolean>;
  /**
   * Resolves when an eviction from the groups may have become possible. Returns undefined if no operation is in flight that
   * could make it possible.
   */
  progress(isIncluded: (group: SegmentGroup) => boolean): Promise<void> | undefined;
}

/** Keeps the disk usage of a store, and of each of its groups, within its limit: space is reserved before anything is written. */
export class Quota {
  /** Bytes for segments and index entries. */
  readonly capacity: number;
  readonly #headroomBytes: number;
  readonly #segments: SegmentSet;
  readonly #useBytes: () => number;
  readonly #reclaimer: SpaceReclaimer;
  /** Number of bytes that are reserved but not yet part of a segment. */
  #reserved = 0;
  readonly #evicting = new Map<SegmentGroup | undefined, Promise<boolean>>();

  /**
   * @param headroomBytes free space to keep if possible, because an eviction copies recently used artifacts before it
   *   frees the space of their segment
   * @param useBytes returns the bytes that the last uses of artifacts take in the index
   */
  constructor(
    maxBytes: number,
    headroomBytes: number,
    segments: SegmentSet,
    useBytes: () => number,
    reclaimer: SpaceReclaimer,
  ) {
    this.#headroomBytes = headroomBytes;
    this.capacity = maxBytes - Math.min(MAX_UNUSED_INDEX_BYTES, maxBytes / 8);
    this.#segments = segments;
    this.#useBytes = useBytes;
    this.#reclaimer = reclaimer;
  }

  /** Number of bytes that are neither used nor reserved. */
  get free(): number {
    return this.capacity - this.#segments.bytes - this.#useBytes() - this.#reserved;
  }

  /** Number of bytes that a group may use in addition, without regard to the limit of the store. */
  freeOf(group: SegmentGroup): number {
    const { limits, reserved } = group;
    return limits.isProtected ? limits.maxBytes - this.#segments.bytesOf(group) - reserved : Number.POSITIVE_INFINITY;
  }

  /** Maximum size of an artifact of a group, with its index entry. */
  capacityOf({ limits }: SegmentGroup): number {
    return Math.min(this.capacity, limits.maxBytes);
  }

  /**
   * Reserves space for a group, and evicts artifacts if necessary: of the group if its limit would be exceeded, of groups that are
   * not protected or above their limit if the limit of the store would be.
   *
   * @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` if there is not enough space and nothing can be evicted
   */
  async reserve(bytes: number, group: SegmentGroup): Promise<void> {
    for (;;) {
      const isGroupFull = bytes + group.segmentBytes / 2 > this.freeOf(group);
      if (!isGroupFull && bytes + this.#headroomBytes <= this.free) break;
      const isEvictable = (each: SegmentGroup): boolean =>
        each === group || (!isGroupFull && this.#isUnprotected(each));
      // An operation may settle during the attempt, and too late for it.
      const before = this.#reclaimer.progress(isEvictable);
      if (await this.#evict(group, isGroupFull)) continue;
      if (bytes <= Math.min(this.free, this.freeOf(group))) break;
      const progress = this.#reclaimer.progress(isEvictable) ?? before;
      if (progress === undefined) throw this.#fullError(bytes, group);
      await progress;
    }
    this.#reserved += bytes;
    group.reserved += bytes;
  }

  /** Ends a reservation: the bytes are part of a segment now, or are no longer needed. */
  release(bytes: number, group: SegmentGroup): void {
    this.#reserved -= bytes;
    group.reserved -= bytes;
  }

  async #evict(group: SegmentGroup, isGroupFull: boolean): Promise<boolean> {
    if (isGroupFull) return this.#evictOnce(group);
    // The space that other groups have left belongs to the groups that are not protected. If they use none, and no group is above
    // its limit, the group of the upload gives up its own artifacts.
    return (await this.#evictOnce(undefined)) || (group.limits.isProtected && this.#evictOnce(group));
  }

  /**
   * Evicts artifacts of a group; without one, of the groups that are not protected or above their limit. If such an eviction is in
   * flight, waits for it.
   */
  #evictOnce(group: SegmentGroup | undefined): Promise<boolean> {
    const inFlight = this.#evicting.get(group);
    if (inFlight !== undefined) return inFlight;
    const isIncluded = (each: SegmentGroup): boolean =>
      group === undefined ? this.#isUnprotected(each) : each === group;
    const evicting = this.#reclaimer.evict(isIncluded).finally(() => this.#evicting.delete(group));
    this.#evicting.set(group, evicting);
    return evicting;
  }

  /** Whether a group has no limit, or is above its limit, because the limit was lowered since its artifacts were stored. */
  #isUnprotected(group: SegmentGroup): boolean {
    return !group.limits.isProtected || this.#segments.bytesOf(group) > group.limits.maxBytes;
  }

  #fullError(bytes: number, group: SegmentGroup): HotblobError {
    const isGroupFull = this.freeOf(group) < this.free;
    const [limit, free, capacity] = isGroupFull
      ? ['maxBytes of a rule of retain', this.freeOf(group), group.limits.maxBytes]
      : ['maxBytes', this.free, this.capacity];
    const message =
      `${limit}: an upload needs ${bytes} bytes, but only ${free} of ${capacity} are free and nothing can be ` +
      'evicted: retry when fewer uploads are in flight, or raise maxBytes';
    return new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message);
  }
}
