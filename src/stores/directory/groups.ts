import type { RetentionGroup, RetentionRules } from '../retention/rules.js';
import { type Candidate, EvictionCandidates, MAX_CANDIDATES } from './candidates.js';
import { DirectoryUsage } from './usage.js';

/** With several rules, each has a list of candidates of its own. The lists together have about the size of one. */
const MIN_CANDIDATES = 8192;

/** Artifacts of a directory with common limits. */
export class DirectoryGroup {
  readonly limits: RetentionGroup;
  readonly candidates: EvictionCandidates;
  /** Bytes of the files of the group, with their metadata and directories. */
  readonly usage = new DirectoryUsage();
  /** Bytes of the reservations of uploads in flight. */
  reserved = 0;
  /** Ends of uploads that have been received completely. Their artifacts can be evicted then. */
  readonly completed = new Set<Promise<void>>();

  constructor(limits: RetentionGroup, capacity: number) {
    this.limits = limits;
    this.candidates = new EvictionCandidates(capacity);
  }

  /** Before the first scan has ended, only reservations are known. */
  get usedBytes(): number {
    return (this.usage.totals?.bytes ?? 0) + this.reserved;
  }

  /** Number of bytes above the limit. */
  get excess(): number {
    return Math.max(0, this.usedBytes - this.limits.maxBytes);
  }

  /** Whether `bytes` more would put the group above its limit by more than `excess`. */
  isFull(bytes: number, excess = this.excess): boolean {
    return this.usedBytes + bytes > this.limits.maxBytes + excess;
  }

  /** Next candidate for eviction. */
  get next(): Candidate | undefined {
    return this.candidates.peek();
  }
}

/** The groups of a directory, by their index. */
export class DirectoryGroups {
  readonly all: readonly DirectoryGroup[];
  readonly #rules: RetentionRules;

  constructor(rules: RetentionRules) {
    this.#rules = rules;
    const capacity = Math.max(MIN_CANDIDATES, Math.floor(MAX_CANDIDATES / rules.groups.length));
    this.all = rules.groups.map((limits) => new DirectoryGroup(limits, capacity));
  }

  /** Returns the group of a key. */
  of(key: string): DirectoryGroup {
    return this.all[this.#rules.groupOf(key).index] as DirectoryGroup; // there is a group for each of the rules
  }

  /**
   * Returns the groups whose artifacts may be evicted for an upload into another group: those without a limit, and those above
   * their limit.
   */
  get unprotected(): readonly DirectoryGroup[] {
    return this.all.filter(({ limits, excess }) => !limits.isProtected || excess > 0);
  }

  /** Returns the ends of the received uploads whose artifacts could be evicted for an upload of `bytes` into `group`. */
  completedFor(bytes: number, group: DirectoryGroup): readonly Promise<void>[] {
    const evictable = group.isFull(bytes) ? [group] : new Set([...this.unprotected, group]);
    return [...evictable].flatMap(({ completed }) => [...completed]);
  }
}

/** Returns the group whose next candidate was used longest ago. */
export function leastRecent(groups: readonly DirectoryGroup[]): DirectoryGroup | undefined {
  let found: DirectoryGroup | undefined;
  let oldest = Number.POSITIVE_INFINITY;
  for (const group of groups) {
    const usedAt = group.next?.usedAt ?? Number.POSITIVE_INFINITY;
    if (usedAt >= oldest) continue;
    found = group;
    oldest = usedAt;
  }
  return found;
}
