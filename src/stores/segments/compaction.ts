import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import type { Committer } from './committer.js';
import { DIGEST_BYTES, type Entry, indexBytesOf, isAt, type Place } from './entry.js';
import type { Segment } from './segment.js';
import type { SegmentIndex } from './segment-index.js';
import type { SegmentSet } from './segment-set.js';
import type { Usage } from './usage.js';

/** A sealed segment is rewritten when no more than this part of it can still be asked for. */
const WASTE_RATIO = 0.5;
/** Of a segment that is evicted at most this part is kept, by copying it: else nothing would be gained. */
const KEPT_RATIO = 0.5;
/** What has been read within two half-lives is copied forward. */
const POPULAR_RECENCY = 0.25;
/** Bytes copied at the same time. */
const COPIES_BYTES = 8 * 1024 * 1024;
const SLICE = 256;

interface Candidate {
  readonly key: string;
  readonly place: Place;
  readonly entry: Entry;
  /** As in {@link Usage.recencyOf}. */
  readonly recency: number;
}

/** Gets space back, by unlinking whole segments once what is wanted of them has been copied forward. */
export class Compaction {
  readonly #index: SegmentIndex;
  readonly #segments: SegmentSet;
  readonly #committer: Committer;
  readonly #usage: Usage;
  #queue: Promise<unknown> = Promise.resolve();
  /** Segments with bodies that cannot be read now: no use in trying again and again. */
  readonly #unreadable = new WeakSet<Segment>();
  #isSweeping = false;
  #evicted = 0;
  #closed = false;

  constructor(index: SegmentIndex, segments: SegmentSet, committer: Committer, usage: Usage) {
    this.#index = index;
    this.#segments = segments;
    this.#committer = committer;
    this.#usage = usage;
  }

  /** How many artifacts have gone to make room for others. */
  get evicted(): number {
    return this.#evicted;
  }

  /**
   * Evicts the coldest segment: the one with the fewest bytes of late use for its size; of equals the oldest. What was read
   * of late is kept as far as `freeBytes` allow. Resolves to false when there is none that nobody writes to.
   */
  evictColdest(freeBytes: () => number): Promise<boolean> {
    return this.#exclusively(async () => {
      const victim = this.#coldest();
      if (victim === undefined) return false;
      this.#segments.seal(victim);
      const candidates = (await this.#candidates(victim)).filter(({ recency }) => recency > POPULAR_RECENCY);
      candidates.sort((a, b) => b.recency - a.recency);
      let budget = Math.min(victim.bytes * KEPT_RATIO, freeBytes());
      const kept = candidates.filter(({ key, entry }) => {
        // With its part of the index: tiny bodies have nothing else, and copying them all would go on for ever.
        const cost = (entry.inline === undefined ? entry.length : 0) + indexBytesOf(key, entry);
        if (cost > budget) return false;
        budget -= cost;
        return true;
      });
      await this.#copyForward(victim, kept);
      this.#evicted += await this.#drop(victim);
      return true;
    });
  }

  /** Gets back what overwritten, deleted and failed bodies take, in the background. */
  sweep(freeBytes: () => number): void {
    if (this.#isSweeping || this.#closed) return;
    const isWorth = (segment: Segment): boolean => isWasteful(segment) && !this.#unreadable.has(segment);
    const wasteful = this.#segments.takeSuspects().filter(isWorth);
    if (wasteful.length === 0) return;
    this.#isSweeping = true;
    this.#exclusively(async () => {
      for (const segment of wasteful) {
        if (this.#closed || !isWorth(segment) || segment.counts.liveBytes > freeBytes()) continue;
        if (await this.#copyForward(segment, await this.#candidates(segment))) await this.#drop(segment);
      }
    })
      .catch(() => {}) // a disk that is full or broken says so to the next upload
      .finally(() => {
        this.#isSweeping = false;
      });
  }

  /** Ends the sweep after what it is doing, and waits for that. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#queue;
  }

  #exclusively<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(task);
    this.#queue = result.catch(() => {});
    return result;
  }

  #coldest(): Segment | undefined {
    const heat = (segment: Segment): number => this.#usage.heatOf(segment.id) / segment.bytes;
    let coldest: Segment | undefined;
    for (const segment of this.#segments.all) {
      if (segment.pending > 0 || segment.bytes === 0) continue;
      // They come in the order of their ids, the oldest first.
      if (coldest === undefined || heat(segment) < heat(coldest)) coldest = segment;
    }
    return coldest;
  }

  async #candidates(segment: Segment): Promise<Candidate[]> {
    const found: Candidate[] = [];
    for (const part of this.#index.keysOf(segment.id)) {
      for (const { key, place } of part) {
        const entry = this.#entryOf(key);
        if (entry !== undefined && isAt(entry, place)) {
          found.push({ key, place, entry, recency: this.#usage.recencyOf(key) });
        }
      }
      await setImmediate();
    }
    return found;
  }

  #entryOf(key: string): Entry | undefined {
    try {
      return this.#index.get(key);
    } catch {
      return undefined; // damaged: nobody knows where its body would be
    }
  }

  /** Resolves to whether all of them have been copied; a body that is damaged is not worth it. */
  async #copyForward(from: Segment, candidates: readonly Candidate[]): Promise<boolean> {
    const rest = [...candidates];
    while (rest.length > 0) {
      if (this.#closed) return false;
      let bytes = 0;
      const count = rest.findIndex(({ entry }, index) => {
        bytes += entry.length;
        return index > 0 && (bytes > COPIES_BYTES || index === SLICE);
      });
      const part = rest.splice(0, count === -1 ? rest.length : count);
      const copied = await Promise.all(part.map((candidate) => this.#copy(from, candidate)));
      if (copied.includes(false)) return false;
    }
    return true;
  }

  async #copy(from: Segment, { key, place, entry }: Candidate): Promise<boolean> {
    const { length, time, digest, inline, metadata } = entry;
    const operation = { kind: 'put', key, length, time, digest, metadata, movedFrom: place } as const;
    try {
      if (inline === undefined) {
        const bytes = await from.read(entry.offset, length);
        if (!hasDigest(bytes, digest)) return true;
        await this.#committer.run({ ...operation, body: { kind: 'memory', chunks: [bytes] } });
      } else {
        await this.#committer.run({ ...operation, body: { kind: 'inline', bytes: inline } });
      }
    } catch {
      this.#unreadable.add(from);
      return false;
    }
    const now = this.#entryOf(key);
    if (now !== undefined) this.#usage.moved(key, now.segment, length);
    return true;
  }

  /**
   * Removes what is left of a segment from the index, and then its file: nobody is ever sent to one that is gone. Resolves to
   * how many artifacts were left.
   */
  async #drop(segment: Segment): Promise<number> {
    let left = 0;
    for (const part of this.#index.keysOf(segment.id)) {
      const removals = part.map(({ key, place }) => this.#committer.run({ kind: 'remove', key, onlyAt: place }));
      for (const { isDone } of await Promise.all(removals)) if (isDone) left++;
    }
    await this.#committer.run({ kind: 'forget', segment });
    this.#segments.remove(segment);
    this.#usage.forget(segment.id);
    await segment.unlink();
    return left;
  }
}

function isWasteful({ isSealed, pending, end, counts }: Segment): boolean {
  if (!isSealed || pending > 0) return false;
  return counts.liveCount === 0 || (end > 0 && counts.liveBytes <= end * WASTE_RATIO);
}

/** Whether `bytes` are those that were put. */
export function hasDigest(bytes: Uint8Array, digest: Uint8Array): boolean {
  return createHash('sha256').update(bytes).digest().subarray(0, DIGEST_BYTES).equals(digest);
}
