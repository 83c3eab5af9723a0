import { pause } from '../../util/loop-slices.js';
import { hasDigest } from './body-check.js';
import { type Candidate, costOf, mostRecent, takeProtected } from './candidates.js';
import type { CommitSpace } from './commit-space.js';
import type { Committer } from './committer.js';
import { type IndexEntry, isAt } from './index-entry.js';
import type { Segment } from './segment.js';
import type { SegmentGroup, SegmentGroups } from './segment-groups.js';
import type { SegmentIndex } from './segment-index.js';
import type { SegmentSet } from './segment-set.js';

/** Fraction of live bytes up to which a sealed segment is compacted. */
const MAX_LIVE_RATIO = 0.5;
/** Maximum fraction of an evicted segment that is retained. Without a limit, an eviction might free no space. */
const MAX_RETAINED_RATIO = 0.5;
/** Minimum recency of an artifact that an eviction retains: it was read within two half-lives. */
const MIN_RETAINED_RECENCY = 0.25;
/** Maximum number of bytes and of bodies that are copied at the same time. */
const MAX_COPY_BYTES = 8 * 1024 * 1024;
const MAX_COPIES = 256;

/**
 * Frees the disk space of a segment: copies the bodies that are retained into other segments, then unlinks the segment
 * file.
 */
export class Compaction {
  readonly #index: SegmentIndex;
  readonly #segments: SegmentSet;
  readonly #committer: Committer;
  readonly #groups: SegmentGroups;
  readonly #space: CommitSpace;
  #queue: Promise<unknown> = Promise.resolve();
  /** Segments with bodies that could not be copied. These segments are not compacted again. */
  readonly #uncopyable = new WeakSet<Segment>();
  /** Whether only segments without artifacts are removed, and no artifact is copied. */
  readonly #isPurgeOnly: boolean;
  #sweeping: Promise<void> | undefined;
  #evicted = 0;
  #closed = false;

  constructor(
    index: SegmentIndex,
    segments: SegmentSet,
    committer: Committer,
    groups: SegmentGroups,
    space: CommitSpace,
    isPurgeOnly: boolean,
  ) {
    this.#isPurgeOnly = isPurgeOnly;
    this.#index = index;
    this.#segments = segments;
    this.#committer = committer;
    this.#groups = groups;
    this.#space = space;
  }

  /** Number of artifacts that were evicted. */
  get evicted(): number {
    return this.#evicted;
  }

  /**
   * Evicts the coldest segment of the groups that `isIncluded` selects. It is the segment with the least heat per byte. Of several
   * such segments, the oldest is evicted. Recently read artifacts are retained as far as `freeBytes` allows. Resolves to `false` if
   * all these segments have pending regions.
   *
   * @param freeBytes returns the space for artifacts that are retained in a group
   */
  evictColdest(
    isIncluded: (group: SegmentGroup) => boolean,
    freeBytes: (group: SegmentGroup) => number,
  ): Promise<boolean> {
    return this.#exclusively(async () => {
      const victim = this.#findColdest(isIncluded);
      if (victim === undefined) return false;
      this.#segments.seal(victim);
      const candidates = await this.#candidatesIn(victim);
      if (victim.isMixed) await this.#copyForward(victim, await takeProtected(candidates, this.#groups, freeBytes));
      const budget = Math.min(victim.bytes * MAX_RETAINED_RATIO, freeBytes(victim.group));
      const retained = await mostRecent(candidates, budget, MIN_RETAINED_RECENCY);
      await this.#copyForward(victim, retained);
      this.#evicted += await this.#dropSegment(victim);
      return true;
    });
  }

  /**
   * Frees disk space for an upload of `bytes`, because the disk is full: of the segments with enough dead bytes, removes the one
   * with the fewest live bytes. Its artifacts are copied as far as the disk has space, and the others are evicted. Resolves to
   * `false` if there is no such segment, or if more bytes than the dead ones, or any without a limit, would be evicted.
   */
  reclaim(bytes: number): Promise<boolean> {
    return this.#exclusively(async () => {
      const missing = await this.#space.missingFor(bytes);
      if (missing <= 0) return true; // freed by the task before this one
      const victim = this.#findReclaimable(missing);
      if (this.#closed || victim === undefined) return false;
      this.#segments.seal(victim);
      const candidates = await this.#candidatesIn(victim);
      const budget = -(await this.#space.missingFor(0));
      const retained = await mostRecent(candidates, budget, 0);
      const mayEvict = this.#groups.mayEvict && !victim.group.limits.isProtected;
      const maxEvictedBytes = mayEvict ? deadBytesOf(victim) : 0;
      if (costOf(candidates) - costOf(retained) > maxEvictedBytes) return false;
      if (!(await this.#copyForward(victim, retained))) return false;
      this.#evicted += await this.#dropSegment(victim);
      return true;
    });
  }

  /**
   * Compacts segments in the background if they have much dead space: bodies that were overwritten or deleted, or whose
   * upload failed.
   */
  sweep(freeBytes: () => number): void {
    if (this.#sweeping === undefined) void this.#sweep(this.#segments.takeChanged(), freeBytes, false);
  }

  /** Like {@link sweep}, but also compacts segments that accept bodies. Resolves when the space is free. Never rejects. */
  async sweepAll(freeBytes: () => number): Promise<void> {
    while (this.#sweeping !== undefined) await this.#sweeping;
    await this.#sweep([...this.#segments.all], freeBytes, true);
  }

  async #sweep(changed: readonly Segment[], freeBytes: () => number, includesOpen: boolean): Promise<void> {
    const shouldCompact = (segment: Segment): boolean =>
      isMostlyDead(segment, this.#space.isLow, includesOpen) &&
      !this.#uncopyable.has(segment) &&
      !(this.#isPurgeOnly && segment.counts.liveCount > 0);
    const segments = changed.filter(shouldCompact);
    if (segments.length === 0 || this.#closed) return;
    this.#sweeping = this.#exclusively(async () => {
      for (const segment of segments) {
        if (this.#closed || !shouldCompact(segment) || segment.counts.liveBytes > freeBytes()) continue;
        this.#segments.seal(segment);
        if (await this.#copyForward(segment, await this.#candidatesIn(segment))) await this.#dropSegment(segment);
      }
    })
      .catch(() => {}) // a full or failing disk is reported by the next upload
      .finally(() => {
        this.#sweeping = undefined;
      });
    await this.#sweeping;
  }

  /** Ends the sweep after the current step. Resolves when no compaction or eviction is in flight. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#queue;
  }

  #exclusively<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(task);
    this.#queue = result.catch(() => {});
    return result;
  }

  #findColdest(isIncluded: (group: SegmentGroup) => boolean): Segment | undefined {
    const heatPerByte = ({ id, group, bytes }: Segment): number => group.usage.heatOf(id) / bytes;
    let coldest: Segment | undefined;
    for (const segment of this.#segments.all) {
      if (segment.pendingRegions > 0 || segment.bytes === 0 || !isIncluded(segment.group)) continue;
      // The segments are in the order of their ids. If two are equally cold, the older one, which comes first, is
      // chosen.
      if (coldest === undefined || heatPerByte(segment) < heatPerByte(coldest)) coldest = segment;
    }
    return coldest;
  }

  /** Returns the segment with the fewest live bytes of those with at least `deadBytes` dead bytes. */
  #findReclaimable(deadBytes: number): Segment | undefined {
    let found: Segment | undefined;
    for (const segment of this.#segments.all) {
      if (segment.pendingRegions > 0 || deadBytesOf(segment) < deadBytes) continue;
      if (found === undefined || segment.counts.liveBytes < found.counts.liveBytes) found = segment;
    }
    return found;
  }

  async #candidatesIn(segment: Segment): Promise<Candidate[]> {
    const candidates: Candidate[] = [];
    for (const batch of this.#index.keysOf(segment.id)) {
      for (const { key, location } of batch) {
        const entry = this.#readEntry(key);
        if (entry !== undefined && isAt(entry, location)) {
          candidates.push({ key, location, entry, recency: segment.group.usage.recencyOf(key) });
        }
        await pause();
      }
    }
    return candidates;
  }

  #readEntry(key: string): IndexEntry | undefined {
    try {
      return this.#index.get(key);
    } catch {
      return undefined; // corrupt: the location of the body is unknown
    }
  }

  /** Copies bodies to other segments. Resolves to `false` if a body could not be copied. Corrupt bodies are skipped. */
  async #copyForward(from: Segment, candidates: readonly Candidate[]): Promise<boolean> {
    const remaining = [...candidates];
    while (remaining.length > 0) {
      if (this.#closed) return false;
      let bytes = 0;
      const count = remaining.findIndex(({ entry }, index) => {
        bytes += entry.length;
        return index > 0 && (bytes > MAX_COPY_BYTES || index === MAX_COPIES);
      });
      const group = remaining.splice(0, count === -1 ? remaining.length : count);
      const results = await Promise.all(group.map((candidate) => this.#copy(from, candidate)));
      if (results.includes(false)) return false;
    }
    return true;
  }

  async #copy(from: Segment, { key, location, entry }: Candidate): Promise<boolean> {
    const { length, time, digest, inline, metadata } = entry;
    const operation = { kind: 'put', key, length, time, digest, metadata, expectedLocation: location } as const;
    try {
      if (inline === undefined) {
        const bytes = await from.read(entry.offset, length);
        if (!hasDigest(bytes, digest)) return true;
        await this.#committer.apply({ ...operation, body: { kind: 'memory', chunks: [bytes] } });
      } else {
        await this.#committer.apply({ ...operation, body: { kind: 'inline', bytes: inline } });
      }
    } catch {
      this.#uncopyable.add(from);
      return false;
    }
    const current = this.#readEntry(key);
    const moved = current && this.#segments.get(current.segment);
    if (moved !== undefined) {
      moved.group.usage.recordMove(key, moved.id, length);
      moved.nextExpiry = 0;
    }
    return true;
  }

  /**
   * Removes the remaining artifacts of a segment from the index and then unlinks its file, so that no entry ever names a
   * missing file. Resolves to the number of artifacts removed.
   */
  async #dropSegment(segment: Segment): Promise<number> {
    let removed = 0;
    for (const batch of this.#index.keysOf(segment.id)) {
      const removals = batch.map(({ key, location }) =>
        this.#committer.apply({ kind: 'delete', key, expectedLocation: location }),
      );
      for (const { isApplied } of await Promise.all(removals)) if (isApplied) removed++;
    }
    await this.#committer.apply({ kind: 'drop-segment', segment });
    this.#segments.remove(segment);
    segment.group.usage.forgetSegment(segment.id);
    await segment.unlink();
    return removed;
  }
}

function deadBytesOf({ fileBytes, counts }: Segment): number {
  return fileBytes - counts.liveBytes;
}

/**
 * @param isLow whether the disk is almost full: a segment without artifacts is then dead even if it accepts bodies
 * @param includesOpen whether segments that accept bodies are treated like others
 */
function isMostlyDead(
  { isSealed, pendingRegions, fileBytes, counts }: Segment,
  isLow: boolean,
  includesOpen: boolean,
): boolean {
  if (pendingRegions > 0 || (!isSealed && fileBytes === 0)) return false;
  if (!isSealed && !includesOpen) return isLow && counts.liveCount === 0;
  return counts.liveCount === 0 || (fileBytes > 0 && counts.liveBytes <= fileBytes * MAX_LIVE_RATIO);
}
