import { Heap } from '../../util/heap.js';
import { pause } from '../../util/loop-slices.js';
import { estimateIndexBytes, type IndexEntry, type Location } from './index-entry.js';
import type { SegmentGroup, SegmentGroups } from './segment-groups.js';

/** Artifact in a segment that is compacted or evicted. */
export interface Candidate {
  readonly key: string;
  readonly location: Location;
  readonly entry: IndexEntry;
  /** Recency of the last read. See {@link Usage.recencyOf}. */
  readonly recency: number;
}

/** Returns the most recently read candidates of at least `minRecency` that take at most `maxBytes` together. */
export async function mostRecent(
  candidates: readonly Candidate[],
  maxBytes: number,
  minRecency: number,
): Promise<Candidate[]> {
  const mostRecentFirst = new Heap<Candidate>((a, b) => a.recency > b.recency);
  for (const candidate of candidates) {
    if (candidate.recency >= minRecency) mostRecentFirst.push(candidate);
    await pause();
  }
  const selected: Candidate[] = [];
  let budget = maxBytes;
  for (let next = mostRecentFirst.pop(); next !== undefined; next = mostRecentFirst.pop()) {
    const cost = costOf([next]);
    if (cost <= budget) {
      budget -= cost;
      selected.push(next);
    }
    await pause();
  }
  return selected;
}

/**
 * Returns the space that copies of artifacts take. It includes the index entries. Inline bodies have no other cost, and if all of
 * them were copied, no space would be freed.
 */
export function costOf(candidates: readonly Candidate[]): number {
  let bytes = 0;
  for (const { key, entry } of candidates) {
    bytes += (entry.inline === undefined ? entry.length : 0) + estimateIndexBytes(key, entry);
  }
  return bytes;
}

/**
 * Removes the artifacts of protected groups from `candidates`, and returns them as far as there is space. Only a segment that was
 * written with other rules has such artifacts beside others.
 *
 * @param freeBytes returns the space for artifacts that are retained in a group
 */
export async function takeProtected(
  candidates: Candidate[],
  groups: SegmentGroups,
  freeBytes: (group: SegmentGroup) => number,
): Promise<Candidate[]> {
  const taken: Candidate[] = [];
  const left: Candidate[] = [];
  const budgets = new Map<SegmentGroup, number>();
  for (const candidate of candidates) {
    const group = groups.of(candidate.key);
    const budget = (budgets.get(group) ?? freeBytes(group)) - costOf([candidate]);
    if (group.limits.isProtected && budget >= 0) {
      budgets.set(group, budget);
      taken.push(candidate);
    } else {
      left.push(candidate);
    }
    await pause();
  }
  candidates.splice(0, candidates.length, ...left);
  return taken;
}
