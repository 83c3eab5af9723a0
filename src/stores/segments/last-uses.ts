import { pause } from '../../util/loop-slices.js';
import { PeriodicTask } from '../../util/periodic-task.js';
import { TwoGenerationMap } from '../../util/two-generation-map.js';
import type { Committer } from './committer.js';
import type { IndexEntry } from './index-entry.js';
import type { SegmentIndex } from './segment-index.js';

const MINUTE_MS = 60_000;
const MIN_INTERVAL_MS = 1000;
/** Fraction of the shortest age of a rule that is the longest interval. */
const MAX_FRACTION = 1 / 16;
/** A last use is stored again when it is so many minutes later than the one that is stored. */
const STORED_PRECISION = 60;
/** Number of uses in one operation. More would block the event loop while they are written to the index. */
const MAX_USES = 256;
/** Number of keys in a generation of the map of uses. With keys of 100 characters, both generations take about 15 MB. */
const GENERATION_SIZE = 32_768;

/**
 * Last uses of the artifacts of a segment store. A read only marks the index entry in memory, once in an interval. At the end of the
 * interval, the uses that are an hour later than the stored ones are written to the index, in batches.
 */
export class LastUses {
  readonly #index: SegmentIndex;
  readonly #committer: Committer;
  readonly #intervalMs: number;
  readonly #task: PeriodicTask;
  /** Beginning of the current interval, in milliseconds since 1970. */
  #now = Date.now();
  /** Beginnings of the intervals of the last reads by this process. */
  readonly #reads = new TwoGenerationMap<string, number>(GENERATION_SIZE);
  /** Number of reads that were recorded in the current interval. */
  #recorded = 0;
  /** Beginning of the last interval whose reads are stored. */
  #storedTo = 0;
  /** Bytes that the stored uses take in the index. */
  #bytes: number;

  /** @param minAgeMs shortest age after which artifacts expire */
  constructor(index: SegmentIndex, committer: Committer, minAgeMs = Number.POSITIVE_INFINITY) {
    this.#index = index;
    this.#committer = committer;
    this.#bytes = index.uses.bytes();
    this.#intervalMs = Math.max(MIN_INTERVAL_MS, Math.min(MINUTE_MS, Math.floor(minAgeMs * MAX_FRACTION)));
    this.#task = new PeriodicTask(this.#intervalMs, () => this.#store());
  }

  /** Bytes that the stored uses take in the index. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Records a read. */
  record(key: string, entry: IndexEntry): void {
    if (entry.usedAt === this.#now) return;
    entry.usedAt = this.#now;
    this.#reads.set(key, this.#now);
    if (++this.#recorded === GENERATION_SIZE) void this.#task.run();
  }

  /**
   * Returns the time of the last use, in milliseconds since 1970: that of the upload or of the last read. It may be an interval later
   * than the read. After a restart, it may be an hour earlier.
   */
  of(key: string, { time }: IndexEntry): number {
    const now = Date.now();
    const read = this.#reads.get(key);
    const stored = (this.#index.uses.get(key) ?? 0) * MINUTE_MS;
    // A time in the future was recorded before the clock was set back.
    const latest = Math.max(
      time <= now ? time : 0,
      read === undefined ? 0 : Math.min(now, read + this.#intervalMs),
      stored > 0 && stored <= now ? Math.min(now, stored + MINUTE_MS) : 0,
    );
    if (latest > 0) return latest;
    this.#reads.set(key, this.#now); // the age counts from now on
    return now;
  }

  /** Stores the reads a last time. Never rejects. */
  async close(): Promise<void> {
    await this.#task.stop();
    await this.#store().catch(() => {}); // a full or failing disk
  }

  async #store(): Promise<void> {
    const from = this.#storedTo;
    const to = this.#now;
    this.#now = Date.now();
    this.#recorded = 0;
    if (this.#now < to) await this.#correctReads(this.#now);
    let uses: [key: string, minute: number][] = [];
    for (const [key, usedAt] of this.#reads) {
      await pause();
      const minute = Math.floor(usedAt / MINUTE_MS);
      if (usedAt <= from || this.#isStored(key, minute)) continue;
      uses.push([key, minute]);
      if (uses.length < MAX_USES) continue;
      await this.#committer.apply({ kind: 'record-uses', uses });
      uses = [];
    }
    if (uses.length > 0) await this.#committer.apply({ kind: 'record-uses', uses });
    this.#storedTo = Math.min(to, this.#now);
    this.#bytes = this.#index.uses.bytes();
  }

  /** Makes reads count as reads now, because the clock was set back. Otherwise, their artifacts would not expire. */
  async #correctReads(now: number): Promise<void> {
    for (const [key, usedAt] of this.#reads) {
      if (usedAt > now) this.#reads.set(key, now);
      await pause();
    }
  }

  /** Whether the index has a use of a key that is not much earlier, or the key has no artifact. */
  #isStored(key: string, minute: number): boolean {
    const isRecent = (stored: number): boolean => minute - stored < STORED_PRECISION && stored <= minute;
    const stored = this.#index.uses.get(key);
    if (stored !== undefined && isRecent(stored)) return true;
    try {
      const entry = this.#index.get(key);
      return entry === undefined || isRecent(Math.floor(entry.time / MINUTE_MS));
    } catch {
      return true; // corrupt
    }
  }
}
