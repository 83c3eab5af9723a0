import { pause } from '../../util/loop-slices.js';
import { PeriodicTask } from '../../util/periodic-task.js';
import { expiryIntervalOf } from '../retention/expiry-interval.js';
import { type IndexEntry, isAt, type Location } from './index-entry.js';
import type { LastUses } from './last-uses.js';
import type { DeleteOperation, Outcome } from './operations.js';
import type { Segment } from './segment.js';
import type { SegmentGroups } from './segment-groups.js';
import type { SegmentIndex } from './segment-index.js';
import type { SegmentSet } from './segment-set.js';

/** Number of deletions that are committed together. More would block the event loop while they are written to the index. */
const MAX_DELETIONS = 64;

/** Parts of a writer that an expiry needs. */
export interface ExpiryContext {
  readonly index: SegmentIndex;
  readonly segments: SegmentSet;
  readonly groups: SegmentGroups;
  readonly lastUses: LastUses;
  apply(operation: DeleteOperation): Promise<Outcome>;
}

/**
 * Removes, in the background, the artifacts that were not used for the `maxAgeMs` of their rule. A segment is examined again only
 * when one of its artifacts may have expired.
 */
export class Expiry {
  readonly #context: ExpiryContext;
  readonly #task: PeriodicTask;
  #count = 0;
  #isStopped = false;

  constructor(minAgeMs: number, context: ExpiryContext) {
    this.#context = context;
    this.#task = new PeriodicTask(expiryIntervalOf(minAgeMs), () => this.#expire());
    void this.#task.run();
  }

  /** Number of artifacts that have expired. */
  get count(): number {
    return this.#count;
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#task.stop();
  }

  async #expire(): Promise<void> {
    for (const segment of [...this.#context.segments.all]) {
      const { isMixed, group, nextExpiry } = segment;
      if (nextExpiry > Date.now() || (!isMixed && group.limits.maxAgeMs === Number.POSITIVE_INFINITY)) continue;
      if (this.#isStopped) return;
      await this.#expireIn(segment);
    }
  }

  async #expireIn(segment: Segment): Promise<void> {
    const { index, groups } = this.#context;
    // An upload, or a copy by compaction, may lower it meanwhile.
    segment.nextExpiry = segment.isSealed ? Number.POSITIVE_INFINITY : Date.now() + (groups.rules.minAgeMs ?? 0);
    let nextExpiry = Number.POSITIVE_INFINITY;
    let expired: Promise<void>[] = [];
    for (const batch of index.keysOf(segment.id)) {
      for (const { key, location } of batch) {
        if (this.#isStopped) return;
        await pause();
        const expiresAt = this.#expiresAt(key, location);
        nextExpiry = Math.min(nextExpiry, expiresAt);
        if (expiresAt > Date.now()) continue;
        expired.push(this.#remove(key, location));
        if (expired.length < MAX_DELETIONS) continue;
        await Promise.all(expired);
        expired = [];
      }
    }
    await Promise.all(expired);
    segment.nextExpiry = Math.min(segment.nextExpiry, nextExpiry);
  }

  async #remove(key: string, location: Location): Promise<void> {
    // An artifact that was read or replaced meanwhile is kept.
    const condition = (entry: IndexEntry): boolean => isAt(entry, location) && this.#expiryOf(key, entry) <= Date.now();
    const { isApplied } = await this.#context.apply({ kind: 'delete', key, condition });
    if (isApplied) this.#count++;
  }

  #expiresAt(key: string, location: Location): number {
    try {
      const entry = this.#context.index.get(key);
      return entry !== undefined && isAt(entry, location) ? this.#expiryOf(key, entry) : Number.POSITIVE_INFINITY;
    } catch {
      return Number.POSITIVE_INFINITY; // corrupt
    }
  }

  #expiryOf(key: string, entry: IndexEntry): number {
    const { groups, lastUses } = this.#context;
    const { maxAgeMs } = groups.of(key).limits;
    return maxAgeMs === Number.POSITIVE_INFINITY ? maxAgeMs : lastUses.of(key, entry) + maxAgeMs;
  }
}
