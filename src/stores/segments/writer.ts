import type { Readable } from 'node:stream';
import type { PutOptions, PutResult, StoreStats } from '../../contract/store.js';
import type { Purge } from '../purges.js';
import { etagOf } from './artifact-reader.js';
import { FAULT_DESCRIPTIONS } from './body-check.js';
import { CommitSpace } from './commit-space.js';
import { Committer } from './committer.js';
import { Compaction } from './compaction.js';
import { closedError, corruptError, isStorageFull, toStorageError } from './errors.js';
import type { IndexEntry, Location } from './index-entry.js';
import type { Layout } from './layout.js';
import type { Outcome, PutOperation } from './operations.js';
import { purgeIndex } from './purge.js';
import { Quota } from './quota.js';
import { Receiver } from './receiver.js';
import { recoverSegments } from './recovery.js';
import type { SegmentIndex } from './segment-index.js';
import type { SegmentSet } from './segment-set.js';
import { markUnsynced, unmarkUnsynced } from './unsynced.js';
import { Usage } from './usage.js';

export interface WriterSettings {
  readonly maxBytes: number | undefined;
  readonly segmentBytes: number;
  /** Whether an upload is on the disk when it is acknowledged. */
  readonly fsync: boolean;
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
  readonly #usage: Usage;
  readonly #inFlight = new Set<Promise<unknown>>();
  #closed = false;

  /** Opens the segments of a store. The caller must hold the writer lock. */
  static async open(layout: Layout, index: SegmentIndex, settings: WriterSettings): Promise<SegmentWriter> {
    const space = await CommitSpace.open(layout, settings.maxBytes ?? Number.POSITIVE_INFINITY);
    const segments = await recoverSegments(layout, index, settings.segmentBytes, space);
    if (!settings.fsync) await markUnsynced(layout);
    return new SegmentWriter(layout, index, settings, segments, space);
  }

  private constructor(
    layout: Layout,
    index: SegmentIndex,
    settings: WriterSettings,
    segments: SegmentSet,
    space: CommitSpace,
  ) {
    this.#layout = layout;
    this.#index = index;
    this.#settings = settings;
    this.#segments = segments;
    const { maxBytes = Number.POSITIVE_INFINITY, segmentBytes } = settings;
    // An artifact no longer counts as recently read when as many bytes as the store can hold (two half-lives) have been
    // used since.
    this.#usage = new Usage(maxBytes / 2);
    this.#committer = new Committer(index, segments, space, settings.fsync);
    this.#compaction = new Compaction(
      index,
      segments,
      this.#committer,
      this.#usage,
      space,
      settings.maxBytes !== undefined,
    );
    this.#quota = new Quota(maxBytes - space.reserveBytes, segmentBytes / 2, segments, {
      evict: () => this.#compaction.evictColdest(() => this.#quota.free),
      progress: () => this.#committer.progress(),
    });
    this.#receiver = new Receiver(segments, this.#quota, (bytes) => this.#compaction.reclaim(bytes));
    this.#sweep();
  }

  /** Records a read for the eviction order. */
  recordRead(key: string, { segment, length }: IndexEntry): void {
    if (this.#settings.maxBytes !== undefined) this.#usage.recordRead(key, segment, length);
  }

  /** Stores an upload. See `put` of `SegmentStore`. */
  put(key: string, body: Readable, options: Partial<PutOptions>): Promise<PutResult> {
    return this.#run(async () => {
      const { signal, ifAbsent } = options;
      signal?.throwIfAborted();
      return this.#receiver.receive(key, body, options, this.#quota.capacity, async (upload) => {
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
        lastUse: (_key, { time }) => time,
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
    return { artifacts, bytes, maxBytes: this.#settings.maxBytes, evicted: this.#compaction.evicted };
  }

  /** Refuses further operations. Resolves when all operations in flight have settled and all bytes are on the disk. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#inFlight);
    await this.#compaction.close();
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
    if (this.#settings.maxBytes === undefined) return;
    const entry = this.#index.get(key);
    if (entry !== undefined) this.#usage.recordWrite(key, entry.segment, entry.length);
  }

  #sweep(): void {
    this.#compaction.sweep(() => this.#quota.free);
  }
}
