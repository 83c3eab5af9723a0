import type { Readable } from 'node:stream';
import type { PutOptions, PutResult, StoreStats } from '../../contract/store.js';
import type { Purge } from '../purges.js';
import type { RetentionRules } from '../retention/rules.js';
import { etagOf } from './artifact-reader.js';
import { FAULT_DESCRIPTIONS } from './body-check.js';
import { CommitSpace } from './commit-space.js';
import { Committer } from './committer.js';
import { Compaction } from './compaction.js';
import { closedError, corruptError, isStorageFull, toStorageError } from './errors.js';
import { Expiry } from './expiry.js';
import type { IndexEntry, Location } from './index-entry.js';
import { LastUses } from './last-uses.js';
import type { Layout } from './layout.js';
import type { DeleteOperation, Outcome, PutOperation } from './operations.js';
import { purgeIndex } from './purge.js';
import { Quota } from './quota.js';
import { Receiver } from './receiver.js';
import { recoverSegments } from './recovery.js';
import { restoreUsage } from './restored-usage.js';
import { type SegmentGroup, SegmentGroups } from './segment-groups.js';
import type { SegmentIndex } from './segment-index.js';
import type { SegmentSet } from './segment-set.js';
import { markUnsynced, unmarkUnsynced } from './unsynced.js';

export interface WriterSettings {
  readonly maxBytes: number | undefined;
  readonly rules: RetentionRules;
  readonly segmentBytes: number;
  /** Whether an upload is on the disk when it is acknowledged. */
  readonly fsync: boolean;
  /**
   * Whether the store is opened only to delete artifacts. Then no artifact is copied to another segment: the rules that decide which
   * one are those of the server, and a file would belong to the user of this process.
   */
  readonly isPurgeOnly: boolean;
}

/** Write side of a segment store: uploads, deletes, eviction and compaction. */
export class SegmentWriter {
  readonly #layout: Layout;
  readonly #index: SegmentIndex;
  readonly #settings: WriterSettings;
  readonly #segments: SegmentSet;
  readonly #committer: Committer;
  readonly #compaction: Compaction;
  readonly #quota: Quota;
  readonly #receiver: Receiver;
  readonly #groups: SegmentGroups;
  readonly #lastUses: LastUses;
  readonly #expiry: Expiry | undefined;
  readonly #restoring: Promise<void> | undefined;
  readonly #inFlight = new Set<Promise<unknown>>();
  #closed = false;

  /** Opens the segments of a store. The caller must hold the writer lock. */
  static async open(layout: Layout, index: SegmentIndex, settings: WriterSettings): Promise<SegmentWriter> {
    const { maxBytes = Number.POSITIVE_INFINITY, rules, segmentBytes } = settings;
    const space = await CommitSpace.open(layout, maxBytes);
    const groups = new SegmentGroups(rules, maxBytes, segmentBytes);
    const segments = await recoverSegments(layout, index, groups, space);
    if (!settings.fsync) await markUnsynced(layout);
    return new SegmentWriter(layout, index, settings, groups, segments, space);
  }

  private constructor(
    layout: Layout,
    index: SegmentIndex,
    settings: WriterSettings,
    groups: SegmentGroups,
    segments: SegmentSet,
    space: CommitSpace,
  ) {
    this.#layout = layout;
    this.#index = index;
    this.#settings = settings;
    this.#segments = segments;
    this.#groups = groups;
    const { maxBytes = Number.POSITIVE_INFINITY, segmentBytes, rules } = settings;
    const committer = new Committer(index, segments, groups, space, settings.fsync);
    const lastUses = new LastUses(index, committer, rules.minAgeMs);
    this.#committer = committer;
    this.#lastUses = lastUses;
    this.#compaction = new Compaction(index, segments, committer, groups, space, settings.isPurgeOnly);
    const freeBytes = (group: SegmentGroup): number => Math.min(this.#quota.free, this.#quota.freeOf(group));
    this.#quota = new Quota(maxBytes - space.reserveBytes, segmentBytes / 2, segments, () => lastUses.bytes, {
      evict: (isIncluded) => this.#compaction.evictColdest(isIncluded, freeBytes),
      progress: (isIncluded) => committer.progress(isIncluded),
    });
    this.#receiver = new Receiver(segments, this.#quota, (bytes) => this.#compaction.reclaim(bytes));
    if (groups.mayEvict) this.#restoring = restoreUsage(index, segments, () => this.#closed);
    if (rules.minAgeMs !== undefined) {
      const apply = (operation: DeleteOperation) => committer.apply(operation).finally(() => this.#sweep());
      this.#expiry = new Expiry(rules.minAgeMs, { index, segments, groups, lastUses, apply });
    }
    this.#sweep();
  }

  /** Records a read, for the eviction order and for `maxAgeMs`. */
  recordRead(key: string, entry: IndexEntry): void {
    this.#lastUses.record(key, entry);
    const { segment, length } = entry;
    if (this.#groups.mayEvict) this.#segments.get(segment)?.group.usage.recordRead(key, segment, length);
  }

  /** Returns the time of the last use of an artifact, in milliseconds since 1970. */
  lastUse(key: string, entry: IndexEntry): number {
    return this.#lastUses.of(key, entry);
  }

  /** Stores an upload. See `put` of `SegmentStore`. */
  put(key: string, body: Readable, options: Partial<PutOptions>): Promise<PutResult> {
    return this.#run(async () => {
      const { signal, ifAbsent } = options;
      signal?.throwIfAborted();
      const group = this.#groups.of(key);
      return this.#receiver.receive(key, group, body, options, this.#quota.capacityOf(group), async (upload) => {
        const operation = { kind: 'put', key, time: Date.now(), signal, ifAbsent, ...upload } as const;
        const { existed } = await this.#applyPut(operation);
        this.#recordWrite(key);
        return { created: !existed, etag: etagOf(upload.digest) };
      });
    });
  }

  /** Applies an upload. If the disk is full, frees space and tries once more, unless the body is in a region already. */
  async #applyPut(operation: PutOperation): Promise<Outcome> {
    try {
      return await this.#committer.apply(operation);
    } catch (error) {
      if (!isStorageFull(error) || operation.body.kind === 'region') throw error;
      if (!(await this.#compaction.reclaim(operation.length))) throw error;
      // The reservation has ended with the first attempt.
      return this.#committer.apply({ ...operation, onReserved: undefined });
    }
  }

  /**
   * Deletes an artifact. See `delete` of `SegmentStore`.
   *
   * @param expectedLocation location of the artifact to delete; any other one is kept
   */
  delete(key: string, expectedLocation?: Location): Promise<boolean> {
    return this.#run(async () => (await this.#committer.apply({ kind: 'delete', key, expectedLocation })).existed);
  }

  /** Deletes the artifacts that match, and waits until compaction has freed their space. */
  async purge(purge: Purge): Promise<void> {
    await this.#run(() =>
      purgeIndex(purge, {
        index: this.#index,
        lastUse: (key, entry) => this.#lastUses.of(key, entry),
        apply: (operation) => this.#committer.apply(operation).finally(() => this.#sweep()),
        assertOpen: () => {
          if (this.#closed) throw closedError();
        },
      }),
    );
    await this.#compaction.sweepAll(() => this.#quota.free);
  }

  /** @throws HotblobError `ERR_HOTBLOB_CORRUPT` if the body of an entry is beyond the end of its segment */
  assertStored(key: string, { segment: id, offset, length, inline }: IndexEntry): void {
    if (inline !== undefined || length === 0) return;
    const segment = this.#segments.get(id);
    if (segment === undefined || offset + length <= segment.end) return;
    throw corruptError(segment.path, `the body of '${key}' ${FAULT_DESCRIPTIONS.truncated}`);
  }

  /** Returns statistics. See `stats` of `SegmentStore`. */
  stats(): StoreStats {
    const { artifacts, bytes } = this.#segments;
    const expired = this.#expiry?.count;
    return {
      artifacts,
      bytes: bytes + this.#lastUses.bytes,
      maxBytes: this.#settings.maxBytes,
      evicted: this.#compaction.evicted + (expired ?? 0),
      ...(expired !== undefined && { expired }),
    };
  }

  /** Refuses further operations. Resolves when all operations in flight have settled and all bytes are on the disk. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#inFlight);
    await this.#expiry?.stop();
    await this.#restoring;
    await this.#compaction.close();
    await this.#lastUses.close();
    await this.#committer.idle();
    for (const segment of this.#segments.all) {
      if (!this.#settings.fsync && segment.isDirty) await segment.sync();
      await segment.closeHandle();
    }
    if (!this.#settings.fsync) {
      await this.#index.sync();
      await unmarkUnsynced(this.#layout);
    }
  }

  async #run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#closed) throw closedError();
    const running = task();
    this.#inFlight.add(running);
    try {
      return await running;
    } catch (error) {
      throw toStorageError(error);
    } finally {
      this.#inFlight.delete(running);
      this.#sweep();
    }
  }

  #recordWrite(key: string): void {
    if (!this.#groups.mayEvict) return;
    const entry = this.#index.get(key);
    const group = entry && this.#segments.get(entry.segment)?.group;
    if (entry !== undefined) group?.usage.recordWrite(key, entry.segment, entry.length);
  }

  #sweep(): void {
    this.#compaction.sweep(() => this.#quota.free);
  }
}
