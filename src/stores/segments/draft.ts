import { type Entry, indexBytesOf, isAt } from './entry.js';
import type { Operation, Outcome, PutOperation } from './operations.js';
import { NO_COUNTS, type SegmentCounts } from './segment.js';
import type { IndexChange, SegmentIndex } from './segment-index.js';
import type { Region, SegmentSet } from './segment-set.js';

/** What one commit will do to the index: operations one after the other, each as if those before it were done. */
export class Draft {
  readonly #index: SegmentIndex;
  readonly #segments: SegmentSet;
  readonly #latest = new Map<string, Entry | undefined>();
  readonly #counts = new Map<number, SegmentCounts>();
  readonly #changes: ((to: IndexChange) => void)[] = [];
  /** One more than the highest id of a segment that an entry of this names. */
  nextSegment = 0;

  constructor(index: SegmentIndex, segments: SegmentSet) {
    this.#index = index;
    this.#segments = segments;
  }

  /** @param region where the body of a put is */
  add(operation: Operation, region: Region | undefined): Outcome {
    if (operation.kind === 'forget') {
      const { id } = operation.segment;
      this.#counts.delete(id);
      this.#changes.push((to) => to.removeSegment(id));
      return { existed: true, isDone: true };
    }
    const { key } = operation;
    const existing = this.#latest.has(key) ? this.#latest.get(key) : this.#existing(key);
    const onlyAt = operation.kind === 'put' ? operation.movedFrom : operation.onlyAt;
    const isAborted = operation.kind === 'put' && operation.signal?.aborted === true;
    const isDone = !isAborted && (onlyAt === undefined || isAt(existing, onlyAt));
    const entry = operation.kind === 'put' && region !== undefined ? this.#entryOf(operation, region) : undefined;
    if (isDone) this.#replace(key, existing, entry);
    // Its key has gone elsewhere, or cannot be read.
    else if (operation.kind === 'remove' && onlyAt !== undefined) {
      this.#changes.push((to) => to.removePlace(onlyAt));
    }
    return { existed: existing !== undefined, isDone };
  }

  /** Commits, and then counts. @throws what the index says; then nothing has changed */
  async commit(knownNextSegment: number): Promise<void> {
    if (this.#changes.length === 0) return;
    await this.#index.commit((to) => {
      for (const change of this.#changes) change(to);
      for (const [segment, counts] of this.#counts) to.setCounts(segment, counts);
      if (this.nextSegment > knownNextSegment) to.setNextSegment(this.nextSegment);
    });
    for (const [id, counts] of this.#counts) this.#segments.setCounts(id, counts);
  }

  #replace(key: string, existing: Entry | undefined, entry: Entry | undefined): void {
    if (existing !== undefined) {
      this.#count(key, existing, -1);
      this.#changes.push((to) => to.remove(key, existing));
    }
    this.#latest.set(key, entry);
    if (entry === undefined) return;
    this.#count(key, entry, 1);
    this.nextSegment = Math.max(this.nextSegment, entry.segment + 1);
    this.#changes.push((to) => to.put(key, entry));
  }

  #count(key: string, entry: Entry, sign: 1 | -1): void {
    const before = this.#counts.get(entry.segment) ?? this.#segments.get(entry.segment)?.counts ?? NO_COUNTS;
    const bytes = entry.inline === undefined ? entry.length : 0;
    this.#counts.set(entry.segment, {
      liveBytes: Math.max(0, before.liveBytes + sign * bytes),
      liveCount: Math.max(0, before.liveCount + sign),
      indexBytes: Math.max(0, before.indexBytes + sign * indexBytesOf(key, entry)),
    });
  }

  /** A damaged entry counts as none: an upload repairs it. */
  #existing(key: string): Entry | undefined {
    try {
      return this.#index.get(key);
    } catch {
      return undefined;
    }
  }

  #entryOf({ length, time, digest, body, metadata }: PutOperation, region: Region): Entry {
    const inline = body.kind === 'inline' ? body.bytes : undefined;
    return { segment: region.segment.id, offset: region.offset, length, time, digest, inline, metadata };
  }
}
