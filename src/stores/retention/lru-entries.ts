import { HotblobError } from '../../contract/errors.js';
import { pause } from '../../util/loop-slices.js';
import type { RetentionGroup, RetentionRules } from './rules.js';

/** Artifact in memory. */
export interface LruEntry<T> {
  readonly artifact: T;
  readonly group: LruGroup<T>;
  /** Number of bytes that the entry counts against the limits. */
  readonly bytes: number;
  /** Number of the last use. */
  use: number;
  /** Time of the upload, or of the last use if artifacts can expire, as `performance.now()`: the time of day can be set back. */
  usedAt: number;
}

/** Artifacts with common limits. */
export interface LruGroup<T> {
  readonly limits: RetentionGroup;
  /** Entries by key, the least recently used one first. */
  readonly entries: Map<string, LruEntry<T>>;
  /** Bytes of the entries, and of uploads in flight. */
  usedBytes: number;
}

/** Artifacts in memory, in the order of their last use, within the limits of a store and of its rules. */
export class LruEntries<T> {
  readonly maxBytes: number;
  readonly #rules: RetentionRules;
  readonly #expires: boolean;
  readonly #entries = new Map<string, LruEntry<T>>();
  readonly #groups: readonly LruGroup<T>[];
  #uses = 0;
  #usedBytes = 0;
  #evicted = 0;
  #expired = 0;

  constructor(maxBytes: number, rules: RetentionRules) {
    this.maxBytes = maxBytes;
    this.#rules = rules;
    this.#expires = rules.minAgeMs !== undefined;
    this.#groups = rules.groups.map((limits) => ({ limits, entries: new Map(), usedBytes: 0 }));
  }

  get size(): number {
    return this.#entries.size;
  }

  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Number of artifacts that were evicted, also of those that expired. */
  get evicted(): number {
    return this.#evicted;
  }

  /** Number of artifacts that expired; undefined if none can. */
  get expired(): number | undefined {
    return this.#expires ? this.#expired : undefined;
  }

  keys(): IterableIterator<string> {
    return this.#entries.keys();
  }

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  /** Returns an entry without recording a use. */
  peek(key: string): LruEntry<T> | undefined {
    return this.#entries.get(key);
  }

  /** Returns the artifact under a key, and records a use. */
  use(key: string): T | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    const { entries } = entry.group;
    entries.delete(key);
    entries.set(key, entry);
    entry.use = ++this.#uses;
    if (this.#expires) entry.usedAt = performance.now();
    return entry.artifact;
  }

  /** Adds an artifact whose `bytes` are reserved. There must be no artifact under the key. */
  add(key: string, artifact: T, group: LruGroup<T>, bytes: number): void {
    const entry = { artifact, group, bytes, use: ++this.#uses, usedAt: performance.now() };
    this.#entries.set(key, entry);
    group.entries.set(key, entry);
  }

  remove(key: string): boolean {
    const entry = this.#entries.get(key);
    if (entry === undefined) return false;
    this.#entries.delete(key);
    entry.group.entries.delete(key);
    this.release(entry.bytes, entry.group);
    return true;
  }

  groupOf(key: string): LruGroup<T> {
    const group = this.#groups[this.#rules.groupOf(key).index];
    if (group === undefined) throw new RangeError('unknown group');
    return group;
  }

  /**
   * Reserves `bytes` for an artifact of a group, and evicts artifacts if necessary: of the group if its limit would be exceeded,
   * of groups that are not protected if the limit of the store would be.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if nothing more can be evicted
   */
  reserve(bytes: number, group: LruGroup<T>): void {
    const { maxBytes } = group.limits;
    while (group.usedBytes + bytes > maxBytes) {
      if (!this.#evictOldest(group)) throw overloadedError(`all ${maxBytes} bytes of a rule of 'retain'`);
    }
    while (this.#usedBytes + bytes > this.maxBytes) {
      const victim = this.#leastRecent() ?? group;
      if (!this.#evictOldest(victim)) throw overloadedError(`all ${this.maxBytes} bytes of the memory store`);
    }
    group.usedBytes += bytes;
    this.#usedBytes += bytes;
  }

  release(bytes: number, group: LruGroup<T>): void {
    group.usedBytes -= bytes;
    this.#usedBytes -= bytes;
  }

  /** Removes the artifacts that were not used for the `maxAgeMs` of their rule. */
  async expire(): Promise<void> {
    for (const { limits, entries } of this.#groups) {
      // The least recently used artifact comes first. An artifact that is used during a pause is moved to the end.
      for (const [key, { usedAt }] of entries) {
        if (performance.now() - usedAt < limits.maxAgeMs) break;
        this.remove(key);
        this.#evicted++;
        this.#expired++;
        await pause();
      }
    }
  }

  /** Returns the group with the artifact that was used longest ago, of the groups that are not protected. */
  #leastRecent(): LruGroup<T> | undefined {
    let found: LruGroup<T> | undefined;
    let oldest = Number.POSITIVE_INFINITY;
    for (const group of this.#groups) {
      if (group.limits.isProtected) continue;
      const { use = Number.POSITIVE_INFINITY } = firstOf(group.entries.values()) ?? {};
      if (use >= oldest) continue;
      found = group;
      oldest = use;
    }
    return found;
  }

  #evictOldest({ entries }: LruGroup<T>): boolean {
    const key = firstOf(entries.keys());
    if (key === undefined) return false;
    this.remove(key);
    this.#evicted++;
    return true;
  }
}

function firstOf<T>(items: IterableIterator<T>): T | undefined {
  return items.next().value;
}

/** @param used what uploads in flight use */
function overloadedError(used: string): HotblobError {
  return new HotblobError('ERR_HOTBLOB_OVERLOADED', `uploads in flight use ${used}; retry later or raise maxBytes`);
}
