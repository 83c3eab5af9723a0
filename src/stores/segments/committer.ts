import { existsError } from '../exists-error.js';
import { ChangeSet } from './change-set.js';
import type { CommitSpace } from './commit-space.js';
import type { Operation, Outcome } from './operations.js';
import type { Segment } from './segment.js';
import type { SegmentGroup, SegmentGroups } from './segment-groups.js';
import type { SegmentIndex } from './segment-index.js';
import type { Region, SegmentSet } from './segment-set.js';

interface QueuedOperation {
  readonly operation: Operation;
  region: Region | undefined;
  resolve(outcome: Outcome): void;
  reject(reason: unknown): void;
}

type Fail = (queued: QueuedOperation, reason: unknown) => void;

/** Maximum size of a group, in bytes and operations. A larger group would delay its first operations. */
const MAX_GROUP_BYTES = 16 * 1024 * 1024;
const MAX_GROUP_OPERATIONS = 512;
/** Number of operations from which they are divided into two groups. */
const MIN_SPLIT_OPERATIONS = 16;

/**
 * Applies operations durably, in groups (group commit). For each group, it writes the bodies, syncs their segments,
 * commits the index and resolves the operations, in this order. While a group is committed, the next group is written.
 */
export class Committer {
  readonly #index: SegmentIndex;
  readonly #segments: SegmentSet;
  readonly #space: CommitSpace;
  readonly #groups: SegmentGroups;
  readonly #fsync: boolean;
  #queue: QueuedOperation[] = [];
  #draining: Promise<void> | undefined;
  /** Settles when the bodies of the group that is being written are on the disk. */
  #writing: Promise<void> | undefined;
  #committing: Promise<void> = Promise.resolve();
  /** Number of operations in the commit in flight. */
  #committingCount = 0;
  /** Uploads in flight by group. Until it has settled, an upload keeps a segment of its group from being evicted. */
  readonly #uploads = new Map<SegmentGroup, number>();
  /** Next segment id as stored in the index. */
  #nextSegment: number;

  /** @param fsync whether to sync the segments before each commit */
  constructor(index: SegmentIndex, segments: SegmentSet, groups: SegmentGroups, space: CommitSpace, fsync: boolean) {
    this.#index = index;
    this.#segments = segments;
    this.#space = space;
    this.#groups = groups;
    this.#fsync = fsync;
    this.#nextSegment = index.nextSegment();
  }

  /**
   * Applies an operation durably. If the promise rejects, nothing has changed.
   *
   * @throws the error of the system call or of the index
   */
  apply(operation: Operation): Promise<Outcome> {
    const applied = new Promise<Outcome>((resolve, reject) => {
      const region = operation.kind === 'put' && operation.body.kind === 'region' ? operation.body.region : undefined;
      this.#queue.push({ operation, region, resolve, reject });
      this.#draining ??= this.#drainQueue();
    });
    return operation.kind === 'put' ? this.#countUpload(this.#groups.of(operation.key), applied) : applied;
  }

  /**
   * Resolves when the commit in flight has settled; without a commit, when the write in flight has settled. Returns
   * undefined if neither is in flight, or if no upload into the groups is.
   */
  progress(isIncluded: (group: SegmentGroup) => boolean): Promise<void> | undefined {
    if (![...this.#uploads.keys()].some(isIncluded)) return undefined;
    if (this.#committingCount > 0) return this.#committing;
    return this.#draining === undefined ? undefined : this.#writing;
  }

  /** Resolves when no operation is in flight. */
  async idle(): Promise<void> {
    while (this.#draining !== undefined) await this.#draining;
    await this.#committing;
  }

  async #countUpload<T>(group: SegmentGroup, upload: Promise<T>): Promise<T> {
    this.#uploads.set(group, (this.#uploads.get(group) ?? 0) + 1);
    try {
      return await upload;
    } finally {
      const count = (this.#uploads.get(group) ?? 0) - 1;
      if (count > 0) this.#uploads.set(group, count);
      else this.#uploads.delete(group);
    }
  }

  async #drainQueue(): Promise<void> {
    // Operations queued in the same turn form one group.
    await undefined;
    while (this.#queue.length > 0) {
      const writing = this.#writeGroup(this.#nextGroup());
      this.#writing = writing.then(() => {});
      const group = await writing;
      // At most one group is committed at a time. Operations that arrive in the meantime wait in the queue.
      await this.#committing;
      this.#committingCount = group.length;
      this.#committing = this.#commitGroup(group);
    }
    this.#draining = undefined;
  }

  #nextGroup(): QueuedOperation[] {
    // Divides the operations into two groups. If all clients waited for the same group, their next uploads would arrive
    // together, and the disk would be idle until then.
    const half = Math.ceil((this.#queue.length + this.#committingCount) / 2);
    const maxOperations = Math.min(MAX_GROUP_OPERATIONS, Math.max(MIN_SPLIT_OPERATIONS, half));
    let bytes = 0;
    let count = 0;
    for (const { operation } of this.#queue) {
      bytes += operation.kind === 'put' && operation.body.kind === 'memory' ? operation.length : 0;
      if (count === maxOperations || (count > 0 && bytes > MAX_GROUP_BYTES)) break;
      count++;
    }
    return this.#queue.splice(0, count);
  }

  /** Writes and syncs the bodies of a group. Rejects the operations that fail and returns the others. */
  async #writeGroup(group: readonly QueuedOperation[]): Promise<QueuedOperation[]> {
    const bySegment = this.#assignRegions(group);
    const failed = new Set<QueuedOperation>();
    const fail: Fail = (queued, reason) => {
      failed.add(queued);
      if (queued.region !== undefined) this.#segments.discard(queued.region);
      queued.reject(reason);
    };
    const writes = [...bySegment].map(async ([segment, members]) => {
      await this.#writeBodies(segment, members, fail);
      if (!this.#fsync) return;
      try {
        await segment.sync();
      } catch (reason) {
        this.#segments.seal(segment);
        for (const queued of members) if (!failed.has(queued)) fail(queued, reason);
      }
    });
    await Promise.all(writes);
    return group.filter((queued) => !failed.has(queued));
  }

  /** Reserves a region for each body that has none. Returns the operations that need a sync, by segment. */
  #assignRegions(group: readonly QueuedOperation[]): Map<Segment, QueuedOperation[]> {
    const bySegment = new Map<Segment, QueuedOperation[]>();
    for (const queued of group) {
      const { operation } = queued;
      if (operation.kind !== 'put') continue;
      if (operation.body.kind === 'inline') {
        queued.region = this.#segments.reserveInline(this.#groups.of(operation.key));
        continue;
      }
      if (operation.body.kind === 'memory') {
        queued.region = this.#segments.reserve(operation.length, this.#groups.of(operation.key));
        operation.onReserved?.();
      }
      if (queued.region === undefined) continue;
      const members = bySegment.get(queued.region.segment);
      if (members === undefined) bySegment.set(queued.region.segment, [queued]);
      else members.push(queued);
    }
    return bySegment;
  }

  /** Commits a group: at once, or if the disk is almost full, in parts for which there is space. Never rejects. */
  async #commitGroup(group: readonly QueuedOperation[]): Promise<void> {
    for (let rest = group; rest.length > 0; ) {
      // A failed check does not fail the commit, which reports the actual error.
      const admitted = await this.#space.admit(rest.map(({ operation }) => operation)).catch(() => rest.length);
      if (admitted === 0) this.#refuse(rest[0]);
      else await this.#commitPart(rest.slice(0, admitted));
      rest = rest.slice(Math.max(1, admitted));
    }
    this.#committingCount = 0;
  }

  /** Rejects an operation for whose changes to the index there is no space. Its region was never in the index. */
  #refuse(queued: QueuedOperation | undefined): void {
    if (queued?.region !== undefined) this.#segments.discard(queued.region);
    queued?.reject(this.#space.fullError('the index'));
  }

  async #commitPart(part: readonly QueuedOperation[]): Promise<void> {
    const changes = new ChangeSet(this.#index, this.#segments);
    const outcomes = new Map<QueuedOperation, Outcome>();
    try {
      for (const queued of part) outcomes.set(queued, changes.add(queued.operation, queued.region));
      await changes.commit(this.#nextSegment);
    } catch (reason) {
      this.#committingCount -= part.length;
      // The index may contain the entries in spite of the error, so their regions must not be reused.
      for (const queued of part) {
        if (queued.region !== undefined) this.#segments.settle(queued.region);
        queued.reject(reason);
      }
      return;
    }
    this.#nextSegment = Math.max(this.#nextSegment, changes.nextSegment);
    this.#committingCount -= part.length;
    for (const queued of part) this.#finish(queued, outcomes.get(queued));
  }

  #finish(queued: QueuedOperation, outcome: Outcome | undefined): void {
    const isRefused = outcome?.isApplied === false;
    // Without an entry, the space of the body can be reused.
    if (queued.region !== undefined && isRefused) this.#segments.discard(queued.region);
    else if (queued.region !== undefined) this.#segments.settle(queued.region);
    const { operation } = queued;
    if (operation.kind === 'put' && operation.signal?.aborted && isRefused) {
      queued.reject(operation.signal.reason);
    } else if (operation.kind === 'put' && operation.ifAbsent && isRefused) {
      queued.reject(existsError());
    } else if (outcome !== undefined) {
      queued.resolve(outcome);
    }
  }

  /** Writes the bodies of one segment, with a single call if that succeeds. */
  async #writeBodies(segment: Segment, members: readonly QueuedOperation[], fail: Fail): Promise<void> {
    const bodies = members.flatMap((queued) => {
      const { operation, region } = queued;
      if (region === undefined || operation.kind !== 'put' || operation.body.kind !== 'memory') return [];
      return [{ queued, chunks: operation.body.chunks, offset: region.offset }];
    });
    const first = bodies[0];
    if (first === undefined) return;
    try {
      // The regions are contiguous, because #assignRegions reserves all of them without an await in between.
      await this.#segments.write(
        segment,
        bodies.flatMap(({ chunks }) => chunks),
        first.offset,
      );
    } catch (error) {
      if (bodies.length === 1) return fail(first.queued, error);
      // On a nearly full disk, the small bodies may still fit.
      for (const { queued, chunks, offset } of bodies) {
        await this.#segments.write(segment, chunks, offset).catch((reason: unknown) => fail(queued, reason));
      }
    }
  }
}
