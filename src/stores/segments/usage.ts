import { TwoGenerationMap } from '../../util/two-generation-map.js';

/** Number of keys in a generation. With keys of 100 characters, both generations use about 15 MB. */
const GENERATION_SIZE = 32_768;

interface Heat {
  /** Heat in bytes, see {@link Usage.heatOf}, when the clock of used bytes had the value `clock`. */
  bytes: number;
  clock: number;
}

/**
 * Recency of keys and heat of segments, which determine what is evicted. They are kept only in memory, because a read
 * must not cause a write. After a restart, they are estimated from the stored last uses.
 *
 * The clock counts used bytes instead of seconds, so that recency means the same in a busy store and in an idle one.
 */
export class Usage {
  readonly #halfLife: number;
  /** Value of the clock at the last use of a key. It is negative if the key was written and has not been read since. */
  readonly #clocks: TwoGenerationMap<string, number>;
  readonly #heat = new Map<number, Heat>();
  #clock = 0;

  /**
   * @param halfLife number of used bytes after which an earlier use counts half
   * @param parts number of objects that share the memory for keys
   */
  constructor(halfLife: number, parts = 1) {
    this.#halfLife = halfLife;
    this.#clocks = new TwoGenerationMap(Math.ceil(GENERATION_SIZE / parts));
  }

  /** Records that a body of `length` bytes in `segment` was read. */
  recordRead(key: string, segment: number, length: number): void {
    this.#clock += length + 1;
    // Adds only the heat that has decayed since the last use, so that a body never contributes more heat than its own
    // length.
    this.#addHeat(segment, length * (1 - this.#weightOf(Math.abs(this.#clockOf(key)))));
    this.#clocks.set(key, this.#clock);
  }

  /** Records that a body was uploaded. */
  recordWrite(key: string, segment: number, length: number): void {
    this.#clock += length + 1;
    this.#addHeat(segment, length);
    this.#clocks.set(key, -this.#clock);
  }

  /** Records that a body was copied to another segment. */
  recordMove(key: string, segment: number, length: number): void {
    this.#addHeat(segment, length * this.#weightOf(Math.abs(this.#clockOf(key))));
  }

  /** Discards the heat of a segment that was removed. */
  forgetSegment(segment: number): void {
    this.#heat.delete(segment);
  }

  /**
   * Returns the recency of the last read of a key: 1 means just now, 0 means never, or too long ago to be remembered.
   */
  recencyOf(key: string): number {
    return this.#weightOf(Math.max(0, this.#clockOf(key)));
  }

  /** Returns the heat of a segment: the sum of its used bytes. The longer ago a use was, the less it counts. */
  heatOf(segment: number): number {
    const heat = this.#heat.get(segment);
    return heat === undefined ? 0 : heat.bytes * this.#decay(heat.clock);
  }

  #clockOf(key: string): number {
    return this.#clocks.get(key) ?? 0;
  }

  #addHeat(segment: number, bytes: number): void {
    this.#heat.set(segment, { bytes: this.heatOf(segment) + bytes, clock: this.#clock });
  }

  #weightOf(clock: number): number {
    return clock === 0 ? 0 : this.#decay(clock);
  }

  #decay(since: number): number {
    return 2 ** ((since - this.#clock) / this.#halfLife);
  }
}
