/** Keys per generation. With keys of 100 characters both take some 15 MB. */
const GENERATION = 32_768;

interface Generation {
  /** When each key was last used. */
  readonly keys: Map<string, number>;
  /** Bytes of those keys, by segment. */
  readonly bytes: Map<number, number>;
}

/**
 * What has been used of late: of the last 32,768 artifacts at least, and twice as many at most. Kept in memory alone,
 * because a read must not cost a write; after a restart everything counts as unused.
 */
export class Usage {
  // Two generations instead of one map in order of use: taking the oldest out of a Map walks over what was deleted before.
  #young = emptyGeneration();
  #old = emptyGeneration();
  #latest = 0;

  /** Counts a use of a key, whose body has `length` bytes in `segment`. */
  touch(key: string, segment: number, length: number): void {
    // Strictly increasing, so that uses in one millisecond keep their order.
    this.#latest = Math.max(Date.now(), this.#latest + 0.001);
    const { keys, bytes } = this.#young;
    if (!keys.has(key)) bytes.set(segment, (bytes.get(segment) ?? 0) + length);
    keys.set(key, this.#latest);
    if (keys.size < GENERATION) return;
    this.#old = this.#young;
    this.#young = emptyGeneration();
  }

  /** A body has been copied to another segment, which is as hot as that makes it. */
  moved(segment: number, length: number): void {
    const { bytes } = this.#young;
    bytes.set(segment, (bytes.get(segment) ?? 0) + length);
  }

  /** Milliseconds since 1970; 0 for a key that is not known. */
  lastUse(key: string): number {
    return this.#young.keys.get(key) ?? this.#old.keys.get(key) ?? 0;
  }

  /** Bytes in a segment that were used of late. Those of a generation count once, those used in both twice. */
  usedBytes(segment: number): number {
    return (this.#young.bytes.get(segment) ?? 0) + (this.#old.bytes.get(segment) ?? 0);
  }
}

function emptyGeneration(): Generation {
  return { keys: new Map(), bytes: new Map() };
}
