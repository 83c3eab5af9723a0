import { TwoGenerationMap } from '../../util/two-generation-map.js';

/** Keys in a generation. With keys of 100 characters both take some 15 MB. */
const GENERATION_SIZE = 32_768;

interface Heat {
  /** As of `clock`. */
  bytes: number;
  clock: number;
}

/**
 * What has been used of late, and how hot that makes each segment. Kept in memory alone, because a read must not cost a
 * write; after a restart everything counts as unused.
 *
 * Time is measured in bytes that were used, so that "late" means the same to a store that is busy and to one that is not.
 */
export class Usage {
  readonly #halfLife: number;
  /** Clock of the last use of a key; negative if the key was written and not read since. */
  readonly #clocks = new TwoGenerationMap<string, number>(GENERATION_SIZE);
  readonly #heat = new Map<number, Heat>();
  #clock = 0;

  /** @param halfLife after how many bytes of other use a use counts half */
  constructor(halfLife: number) {
    this.#halfLife = halfLife;
  }

  /** A body of `length` bytes in `segment` has been asked for. */
  read(key: string, segment: number, length: number): void {
    this.#clock += length + 1;
    // However often it is read, a body makes its segment no hotter than its own size.
    this.#warm(segment, length * (1 - this.#weightOf(Math.abs(this.#lookUp(key)))));
    this.#clocks.set(key, this.#clock);
  }

  /** A body has been put. */
  written(key: string, segment: number, length: number): void {
    this.#clock += length + 1;
    this.#warm(segment, length);
    this.#clocks.set(key, -this.#clock);
  }

  /** A body has been copied to another segment. */
  moved(key: string, segment: number, length: number): void {
    this.#warm(segment, length * this.#weightOf(Math.abs(this.#lookUp(key))));
  }

  /** A segment is gone. */
  forget(segment: number): void {
    this.#heat.delete(segment);
  }

  /** How lately a key has been read: from 1, right now, down to 0 for never, or for a key that is not known any more. */
  recencyOf(key: string): number {
    return this.#weightOf(Math.max(0, this.#lookUp(key)));
  }

  /** The bytes of a segment that were used, each counting less the longer ago that was. */
  heatOf(segment: number): number {
    const heat = this.#heat.get(segment);
    return heat === undefined ? 0 : heat.bytes * this.#decay(heat.clock);
  }

  #lookUp(key: string): number {
    return this.#clocks.get(key) ?? 0;
  }

  #warm(segment: number, bytes: number): void {
    this.#heat.set(segment, { bytes: this.heatOf(segment) + bytes, clock: this.#clock });
  }

  #weightOf(clock: number): number {
    return clock === 0 ? 0 : this.#decay(clock);
  }

  #decay(since: number): number {
    return 2 ** ((since - this.#clock) / this.#halfLife);
  }
}
