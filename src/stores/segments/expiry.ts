import { pause } from '../../util/loop-slices.js';
import { PeriodicTask } from '../../util/periodic-task.js';
import { expiryIntervalOf } from '../retention/expiry-interval.js';
import { MAX_DELETIONS, settleAll } from './deletions.js';
import { type IndexEntry, isAt, type Location } from './index-entry.js';
import type { LastUses } from './last-uses.js';
import type { DeleteOperation, Outcome } from './operations.js';
import type { Segment } from './segment.js';
import type { SegmentGroups } from './segment-groups.js';
import type { SegmentIndex } from './segment-index.js';
import type { SegmentSet } from './segment-set.js';

/** Artifact of a segment. */
interface Located {
  readonly key: string;
  readonly location: Location;
}

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
      if (!this.#isDue(segment)) continue;
      if (this.#isStopped) return;
      await this.#expireIn(segment);
    }
  }

  /** Whether an artifact of a segment may have expired. */
  #isDue({ isMixed, group, nextExpiry }: Segment): boolean {
    const { groups } = this.#context;
    const ages = (isMixed ? groups.all : [group]).map(({ limits }) => limits.maxAgeMs).filter(Number.isFinite);
    if (ages.length === 0 || nextExpiry === Number.POSITIVE_INFINITY) return false;
    const now = Date.now();
    // A later time than any age allows was determined before the clock was set back.
    return nextExpiry <= now || nextExpiry > now + Math.max(...ages);
  }

  async #expireIn(segment: Segment): Promise<void> {
    const { index, groups } = this.#context;
    // An upload in flight is not yet in the index, although its segment may be sealed.
    const isComplete = segment.isSealed && segment.pendingRegions === 0;
    // A copy by compaction may lower it meanwhile.
    segment.nextExpiry = isComplete ? Number.POSITIVE_INFINITY : Date.now() + (groups.rules.minAgeMs ?? 0);
    let nextExpiry = 0; // unless all artifacts are examined, the next pass examines them again
    try {
      nextExpiry = await this.#removeExpired(index.keysOf(segment.id));
    } finally {
      segment.nextExpiry = Math.min(segment.nextExpiry, nextExpiry);
    }
  }

  /** Removes the artifacts that have expired. Resolves to the time before which no other one expires; 0 after {@link stop}. */
  async #removeExpired(batches: Iterable<readonly Located[]>): Promise<number> {
    let nextExpiry = Number.POSITIVE_INFINITY;
    let expired: Located[] = [];
    // The deletions begin together: one that failed during a pause would be an unhandled rejection.
    const removeAll = () => settleAll(expired.map(({ key, location }) => this.#remove(key, location)));
    for (const batch of batches) {
      for (const located of batch) {
        if (this.#isStopped) return 0;
        await pause();
        const expiresAt = this.#expiresAt(located.key, located.location);
        nextExpiry = Math.min(nextExpiry, expiresAt);
        if (expiresAt > Date.now()) continue;
        expired.push(located);
        if (expired.length < MAX_DELETIONS) continue;
        await removeAll();
        expired = [];
      }
    }
    await removeAll();
    return nextExpiry;
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
