import { copyString } from './copy-string.js';

/**
 * Map of bounded size that drops the entries that were set longest ago.
 *
 * It always holds the `generationSize` keys that were set last, and never more than twice as many. Reading an entry
 * does not keep it longer; setting it again does.
 *
 * Keys that are strings are copied, because a key may be a part of a longer string.
 *
 * Entries are in two generations. When the young one is full, it becomes the old one, and the previous old one is
 * dropped. A single Map ordered by use would be slower: V8 leaves a hole for each deleted entry, and a search for the
 * oldest entry passes over these holes.
 */
export class TwoGenerationMap<K, V> {
  readonly #generationSize: number;
  #young = new Map<K, V>();
  #old = new Map<K, V>();

  constructor(generationSize: number) {
    this.#generationSize = generationSize;
  }

  get(key: K): V | undefined {
    return this.#young.get(key) ?? this.#old.get(key);
  }

  set(key: K, value: V): void {
    if (this.#young.has(key)) {
      this.#young.set(key, value);
      return;
    }
    if (this.#young.size >= this.#generationSize) {
      this.#old = this.#young;
      this.#young = new Map();
    }
    this.#young.set(typeof key === 'string' ? (copyString(key) as K & string) : key, value);
  }

  /** Iterates over the keys and their values. A key that is set meanwhile may be visited again. */
  *[Symbol.iterator](): Generator<[K, V]> {
    const [old, young] = [this.#old, this.#young];
    for (const [key, value] of old) if (!young.has(key)) yield [key, value];
    yield* young;
  }

  delete(key: K): void {
    this.#young.delete(key);
    this.#old.delete(key);
  }

  clear(): void {
    this.#young.clear();
    this.#old.clear();
  }
}
