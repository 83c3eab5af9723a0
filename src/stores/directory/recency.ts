/** Keys per generation. With keys of 100 characters both take some 15 MB. */
const GENERATION = 32_768;

/**
 * When keys were last used, as far as memory for it is granted: that of the last 32,768 keys at least and twice as many
 * at most is known. Keys of nothing (misses) count too, so that there must be a limit.
 */
export class Recency {
  // Two generations instead of one map in order of use: taking the oldest out of a Map walks over what was deleted before.
  #young = new Map<string, number>();
  #old = new Map<string, number>();
  #latest = 0;

  touch(key: string): void {
    // Strictly increasing, so that uses in one millisecond keep their order.
    this.#latest = Math.max(Date.now(), this.#latest + 0.001);
    this.#young.set(key, this.#latest);
    if (this.#young.size < GENERATION) return;
    this.#old = this.#young;
    this.#young = new Map();
  }

  /** Milliseconds since 1970; 0 for a key that is not known. */
  lastUse(key: string): number {
    return this.#young.get(key) ?? this.#old.get(key) ?? 0;
  }
}
