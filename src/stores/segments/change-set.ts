import { estimateIndexBytes, type IndexEntry, isAt } from './index-entry.js';
import type { DeleteOperation, Operation, Outcome, PutOperation } from './operations.js';
import { NO_COUNTS, type SegmentCounts } from './segment.js';
import type { IndexTransaction, SegmentIndex } from './segment-index.js';
import type { Region, SegmentSet } from './segment-set.js';

/** Index changes of one commit. Each added operation sees the effect of the operations before it. */
export class ChangeSet {
  readonly #index: SegmentIndex;
  readonly #segments: SegmentSet;
  readonly #latest = new Map<string, IndexEntry | undefined>();
  readonly #counts = new Map<number, SegmentCounts>();
  readonly #changes: ((transaction: IndexTransaction) => void)[] = [];
  /** Highest segment id among the added entries, plus one; 0 if no entry was added. */
  nextSegment = 0;

  constructor(index: SegmentIndex, segments: SegmentSet) {
    this.#index = index;
    this.#segments = segments;
  }

  /**
   * Adds an operation and returns its outcome. The outcome is final when {@link commit} has resolved.
   *
   * @param region location of the body of a put
   */
  add(operation: Operation, region: Region | undefined): Outcome {
    if (operation.kind === 'drop-segment') {
      const { id } = operation.segment;
      this.#counts.delete(id);
      this.#changes.push((transaction) => transaction.removeSegment(id));
      return { existed: true, isApplied: true };
    }
    if (operation.kind === 'record-uses') {
      for (const [key, minute] of operation.uses) {
        if (this.#entryOf(key) !== undefined) this.#changes.push((transaction) => transaction.setLastUse(key, minute));
      }
      return { existed: true, isApplied: true };
    }
    const { key, expectedLocation } = operation;
    const existing = this.#entryOf(key);
    const isRefused = isRefusedFor(operation, existing);
    const isApplied = !isRefused && (expectedLocation === undefined || isAt(existing, expectedLocation));
    if (isApplied) {
      const entry = operation.kind === 'put' && region !== undefined ? entryOf(operation, region) : undefined;
      this.#replace(key, existing, entry);
    } else if (operation.kind === 'delete' && expectedLocation !== undefined) {
      // The body of the key has moved, or its entry is corrupt. Only the location row remains to be removed.
      this.#changes.push((transaction) => transaction.removeLocation(expectedLocation));
    }
    return { existed: existing !== undefined, isApplied };
  }

  /**
   * Commits the changes to the index, then updates the counts of the segments. If the commit fails, nothing has
   * changed.
   *
   * @param knownNextSegment next segment id that the index has stored already
   * @throws the error of the index
   */
  async commit(knownNextSegment: number): Promise<void> {
    if (this.#changes.length === 0) return;
    await this.#index.commit((transaction) => {
      for (const change of this.#changes) change(transaction);
      for (const [segment, counts] of this.#counts) {
        transaction.setCounts(segment, counts);
        const { group, isMixed, isGroupStored } = this.#segments.get(segment) ?? {};
        if (group?.fingerprint === undefined || isMixed || isGroupStored) continue;
        transaction.setGroup(segment, group.fingerprint);
      }
      if (this.nextSegment > knownNextSegment) transaction.setNextSegment(this.nextSegment);
    });
    for (const [id, counts] of this.#counts) this.#segments.setCounts(id, counts);
  }

  #replace(key: string, existing: IndexEntry | undefined, entry: IndexEntry | undefined): void {
    if (existing !== undefined) {
      this.#count(key, existing, -1);
      this.#changes.push((transaction) => transaction.remove(key, existing));
    }
    this.#latest.set(key, entry);
    if (entry === undefined) {
      this.#changes.push((transaction) => transaction.removeLastUse(key));
      return;
    }
    this.#count(key, entry, 1);
    this.nextSegment = Math.max(this.nextSegment, entry.segment + 1);
    this.#changes.push((transaction) => transaction.put(key, entry));
  }

  #count(key: string, entry: IndexEntry, sign: 1 | -1): void {
    const before = this.#counts.get(entry.segment) ?? this.#segments.get(entry.segment)?.counts ?? NO_COUNTS;
    const bytes = entry.inline === undefined ? entry.length : 0;
    this.#counts.set(entry.segment, {
      liveBytes: Math.max(0, before.liveBytes + sign * bytes),
      liveCount: Math.max(0, before.liveCount + sign),
      indexBytes: Math.max(0, before.indexBytes + sign * estimateIndexBytes(key, entry)),
    });
  }

  #entryOf(key: string): IndexEntry | undefined {
    return this.#latest.has(key) ? this.#latest.get(key) : this.#readEntry(key);
  }

  /** Reads the entry of a key. A corrupt entry counts as absent, so that an upload repairs it. */
  #readEntry(key: string): IndexEntry | undefined {
    try {
      return this.#index.get(key);
    } catch {
      return undefined;
    }
  }
}

/** Whether an operation is not applied to a key with this entry. */
function isRefusedFor(operation: PutOperation | DeleteOperation, existing: IndexEntry | undefined): boolean {
  if (operation.kind === 'delete') {
    return operation.condition !== undefined && (existing === undefined || !operation.condition(existing));
  }
  return operation.signal?.aborted === true || (operation.ifAbsent === true && existing !== undefined);
}

function entryOf({ length, time, digest, body, metadata }: PutOperation, region: Region): IndexEntry {
  const inline = body.kind === 'inline' ? body.bytes : undefined;
  return { segment: region.segment.id, offset: region.offset, length, time, digest, inline, metadata };
}
