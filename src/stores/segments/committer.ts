import { Draft } from './draft.js';
import type { Operation, Outcome } from './operations.js';
import type { Segment } from './segment.js';
import type { SegmentIndex } from './segment-index.js';
import type { Region, SegmentSet } from './segment-set.js';

interface Waiting {
  readonly operation: Operation;
  region: Region | undefined;
  resolve(outcome: Outcome): void;
  reject(reason: unknown): void;
}

/** Bytes written with one sync and one commit, at most: whoever comes later does not wait for all of them. */
const BATCH_BYTES = 16 * 1024 * 1024;
const BATCH_OPERATIONS = 512;
/** Fewer than these are not worth two groups. */
const SPLIT_OPERATIONS = 16;

/**
 * Makes operations durable, many at a time: writes the bodies, syncs their segments, commits the index, in this order, and
 * only then says so. While one group is being committed the next is written.
 */
export class Committer {
  readonly #index: SegmentIndex;
  readonly #segments: SegmentSet;
  readonly #syncs: boolean;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  /** The group that is being written. */
  #written: Promise<void> | undefined;
  #committing: Promise<void> = Promise.resolve();
  /** How many are in that commit. */
  #committingCount = 0;
  /** The lowest id that the index would give to a new segment. */
  #nextSegment: number;

  constructor(index: SegmentIndex, segments: SegmentSet, syncs: boolean) {
    this.#index = index;
    this.#segments = segments;
    this.#syncs = syncs;
    this.#nextSegment = index.nextSegment();
  }

  /** Carries out one operation. @throws what the system says; then nothing has changed */
  run(operation: Operation): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      const region = operation.kind === 'put' && operation.body.kind === 'region' ? operation.body.region : undefined;
      this.#waiting.push({ operation, region, resolve, reject });
      this.#writing ??= this.#writeAll();
    });
  }

  /** Resolves when the group that is under way is done; undefined when nothing is. */
  progress(): Promise<void> | undefined {
    if (this.#committingCount > 0) return this.#committing;
    return this.#writing === undefined ? undefined : this.#written;
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#writing !== undefined) await this.#writing;
    await this.#committing;
  }

  async #writeAll(): Promise<void> {
    // Those who come in the same turn go together.
    await undefined;
    while (this.#waiting.length > 0) {
      const writing = this.#write(this.#take());
      this.#written = writing.then(() => {});
      const group = await writing;
      const before = this.#committing;
      // One group is committed while the next one is written, and no more: what comes meanwhile gathers.
      await before;
      this.#committingCount = group.length;
      this.#committing = this.#commit(group);
    }
    this.#writing = undefined;
  }

  #take(): Waiting[] {
    // Clients that all wait for one group would come back at the same time, and the disk would wait for them in turn.
    const half = Math.ceil((this.#waiting.length + this.#committingCount) / 2);
    const most = Math.min(BATCH_OPERATIONS, Math.max(SPLIT_OPERATIONS, half));
    let bytes = 0;
    let count = 0;
    for (const { operation } of this.#waiting) {
      bytes += operation.kind === 'put' && operation.body.kind === 'memory' ? operation.length : 0;
      if (count === most || (count > 0 && bytes > BATCH_BYTES)) break;
      count++;
    }
    return this.#waiting.splice(0, count);
  }

  /** Writes and syncs. Returns those whose bodies are on the disk; the others have been rejected. */
  async #write(group: readonly Waiting[]): Promise<Waiting[]> {
    const bySegment = new Map<Segment, Waiting[]>();
    for (const waiting of group) {
      const { operation } = waiting;
      if (operation.kind !== 'put') continue;
      if (operation.body.kind === 'inline') {
        waiting.region = this.#segments.reserveInline();
        continue;
      }
      if (operation.body.kind === 'memory') {
        waiting.region = this.#segments.reserve(operation.length);
        operation.onReserved?.();
      }
      if (waiting.region === undefined) continue;
      const others = bySegment.get(waiting.region.segment);
      if (others === undefined) bySegment.set(waiting.region.segment, [waiting]);
      else others.push(waiting);
    }
    const failed = new Set<Waiting>();
    const fail = (waiting: Waiting, reason: unknown): void => {
      failed.add(waiting);
      if (waiting.region !== undefined) this.#segments.giveUp(waiting.region);
      waiting.reject(reason);
    };
    const writes = [...bySegment].map(async ([segment, members]) => {
      await writeBodies(segment, members, fail);
      if (!this.#syncs) return;
      try {
        await segment.sync();
      } catch (reason) {
        this.#segments.seal(segment);
        for (const waiting of members) if (!failed.has(waiting)) fail(waiting, reason);
      }
    });
    await Promise.all(writes);
    return group.filter((waiting) => !failed.has(waiting));
  }

  async #commit(group: readonly Waiting[]): Promise<void> {
    const draft = new Draft(this.#index, this.#segments);
    const outcomes = new Map<Waiting, Outcome>();
    try {
      for (const waiting of group) outcomes.set(waiting, draft.add(waiting.operation, waiting.region));
      await draft.commit(this.#nextSegment);
    } catch (reason) {
      this.#committingCount = 0;
      // Nobody knows whether the index has them after all: their places stay taken.
      for (const waiting of group) {
        if (waiting.region !== undefined) this.#segments.settle(waiting.region);
        waiting.reject(reason);
      }
      return;
    }
    this.#nextSegment = Math.max(this.#nextSegment, draft.nextSegment);
    this.#committingCount = 0;
    for (const waiting of group) this.#resolve(waiting, outcomes.get(waiting));
  }

  #resolve(waiting: Waiting, outcome: Outcome | undefined): void {
    if (waiting.region !== undefined) this.#segments.settle(waiting.region);
    const { operation } = waiting;
    if (operation.kind === 'put' && operation.signal?.aborted && outcome?.isDone === false) {
      waiting.reject(operation.signal.reason);
    } else if (outcome !== undefined) {
      waiting.resolve(outcome);
    }
  }
}

/** Writes the bodies of one segment, all with one call where that works. */
async function writeBodies(
  segment: Segment,
  members: readonly Waiting[],
  fail: (waiting: Waiting, reason: unknown) => void,
): Promise<void> {
  const bodies = members.flatMap((waiting) => {
    const { operation, region } = waiting;
    if (region === undefined || operation.kind !== 'put' || operation.body.kind !== 'memory') return [];
    return [{ waiting, chunks: operation.body.chunks, offset: region.offset }];
  });
  const first = bodies[0];
  if (first === undefined) return;
  try {
    // They were reserved one after the other without a wait, so that there is no gap between them.
    await segment.write(
      bodies.flatMap(({ chunks }) => chunks),
      first.offset,
    );
  } catch (error) {
    if (bodies.length === 1) return fail(first.waiting, error);
    // On a disk that is nearly full the small ones may still fit.
    for (const { waiting, chunks, offset } of bodies) {
      await segment.write(chunks, offset).catch((reason: unknown) => fail(waiting, reason));
    }
  }
}
