import type { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Artifact } from '../../contract/artifact.js';
import { errnoCode } from '../../contract/errors.js';
import type { PurgeFilter, PurgeOptions, PurgeResult } from '../../contract/purge.js';
import {
  assertEncodable,
  assertKey,
  type GetOptions,
  isKey,
  type ListOptions,
  type PutOptions,
  type PutResult,
  type Store,
  type StoreEntry,
  type StoreStats,
} from '../../contract/store.js';
import { invalidOption } from '../../contract/validation.js';
import { permissionsFor } from '../../util/permissions.js';
import { discard } from '../body.js';
import { CORRUPT_ARTIFACTS, CorruptArtifacts } from '../corrupt-artifacts.js';
import { Purges } from '../purges.js';
import { RECORD_READ, type ReadRecorder } from '../record-read.js';
import { ArtifactReader } from './artifact-reader.js';
import { releaseReserveIfFull } from './commit-space.js';
import { closedError } from './errors.js';
import type { IndexEntry } from './index-entry.js';
import {
  assertFormat,
  checkLayout,
  createLayout,
  findLayout,
  type Layout,
  prepareIndex,
  toDirectoryError,
} from './layout.js';
import { loadLmdb } from './lmdb.js';
import { assertSegmentOptions, type SegmentStoreOptions, segmentBytesOf } from './options.js';
import { SegmentIndex } from './segment-index.js';
import { assertSynced, discardUnsynced } from './unsynced.js';
import { SegmentWriter } from './writer.js';
import { WriterLock } from './writer-lock.js';

export type { SegmentStoreOptions } from './options.js';

/** Segment store that may be read-only. */
export interface SegmentStoreReader extends Store {
  /** Directory of the store, absolute and with symlinks resolved. */
  readonly root: string;
  /** Returns the artifact synchronously. If `verifyReads` is set, returns a promise of it. */
  get(key: string, options?: Partial<GetOptions>): Artifact | undefined | Promise<Artifact | undefined>;
  /** Absent if the store is read-only. */
  put?(key: string, body: Readable, options?: Partial<PutOptions>): Promise<PutResult>;
  /** Absent if the store is read-only. */
  delete?(key: string): Promise<boolean>;
  /** Absent if the store is read-only. */
  purge?(filter: PurgeFilter, options?: PurgeOptions): Promise<PurgeResult>;
  /**
   * Yields the artifacts in the index, without corrupt entries, and with the metadata of their uploads if `options` say so. Does not
   * read the bodies. `usedAt` is the time of the upload or of the last read. Other processes may report reads up to an hour too early.
   */
  list(options?: ListOptions): AsyncIterable<StoreEntry>;
  /** A read-only store reports only the number of artifacts. */
  stats(): StoreStats;
  close(): Promise<void>;
}

/** Segment store that is open for reading and writing. */
export interface SegmentStore extends SegmentStoreReader {
  put(key: string, body: Readable, options?: Partial<PutOptions>): Promise<PutResult>;
  delete(key: string): Promise<boolean>;
  /**
   * Deletes the artifacts that match `filter`. The space of a segment is free when at most half of its bytes belong to artifacts, and
   * compaction has copied these.
   */
  purge(filter: PurgeFilter, options?: PurgeOptions): Promise<PurgeResult>;
}

/** Time after which `list` yields to the event loop, in milliseconds. */
const LIST_BATCH_MS = 2;

/** Option of {@link segmentStore} for a process that only deletes artifacts. See {@link WriterSettings.isPurgeOnly}. */
export const PURGE_ONLY: unique symbol = Symbol('purgeOnly');

/**
 * Opens a store that appends artifacts to a few large segment files and keeps their locations in an index. Unlike in a
 * directory store, a small artifact needs no file of its own. Requires the optional dependency `lmdb`.
 *
 * An upload is acknowledged when its bytes and its index entry are on the disk. If the process is killed, acknowledged
 * uploads are stored and intact; any other upload is stored completely or not at all. The bytes of an artifact never
 * change, so its file may be mapped. `dir` is created if it does not exist.
 *
 * Only one process may write to a directory. Any number of processes may read it with `readOnly`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid option, or if `dir` cannot be used or contains
 *   something else; `ERR_HOTBLOB_LOCKED` if another process, or this one, writes to `dir`; `ERR_HOTBLOB_CORRUPT` if the
 *   index or the writer lock is corrupt; `ERR_HOTBLOB_NO_LMDB` if the package `lmdb` is not available
 */
export function segmentStore(
  dir: string,
  options?: SegmentStoreOptions & { readonly readOnly?: false | undefined },
): Promise<SegmentStore>;
/** Opens a segment store that may be read-only. If `readOnly` is `true`, the store has no `put` and no `delete`. */
export function segmentStore(dir: string, options: SegmentStoreOptions): Promise<SegmentStoreReader>;
export async function segmentStore(dir: string, options: SegmentStoreOptions = {}): Promise<SegmentStoreReader> {
  if (typeof dir !== 'string' || dir === '') throw invalidOption('dir', 'the path of a directory', dir);
  const rules = assertSegmentOptions(options);
  // The options are read before the first await, because the caller may change the object afterwards.
  const { maxBytes, durability, verifyReads = false, readOnly } = options;
  const permissions = permissionsFor(options.groupAccess);
  const segmentBytes = segmentBytesOf(options);
  loadLmdb();
  if (readOnly) {
    const layout = await findLayout(dir);
    await assertFormat(layout.root);
    await assertSynced(layout);
    const index = await SegmentIndex.open(layout.index, { readOnly: true, durable: true, permissions });
    return new ReadableStore(layout, index, verifyReads);
  }
  const layout = await createLayout(dir, permissions);
  await assertFormat(layout.root);
  await checkLayout(layout.root);
  await releaseReserveIfFull(layout, () => WriterLock.assertFree(layout.root));
  const lock = await WriterLock.acquire(layout.root, permissions).catch((error: unknown) => {
    throw toDirectoryError(dir, error);
  });
  const cleanups: (() => Promise<void>)[] = [() => lock.release()];
  try {
    await discardUnsynced(layout);
    await prepareIndex(dir, layout);
    const fsync = durability !== 'none';
    const index = await SegmentIndex.open(layout.index, { readOnly: false, durable: fsync, permissions });
    cleanups.unshift(() => index.close());
    const writer = await SegmentWriter.open(layout, index, {
      maxBytes,
      rules,
      segmentBytes: Math.ceil(segmentBytes),
      fsync,
      isPurgeOnly: PURGE_ONLY in options,
    });
    return new WritableStore(layout, index, verifyReads, writer, lock);
  } catch (error) {
    for (const cleanup of cleanups) await cleanup();
    throw error;
  }
}

class ReadableStore implements SegmentStoreReader {
  readonly root: string;
  protected readonly index: SegmentIndex;
  readonly #artifacts: ArtifactReader;
  readonly #verifiesReads: boolean;
  readonly [CORRUPT_ARTIFACTS] = new CorruptArtifacts();
  #closing: Promise<void> | undefined;

  constructor(layout: Layout, index: SegmentIndex, verifyReads: boolean) {
    this.root = layout.root;
    this.index = index;
    this.#artifacts = new ArtifactReader(index, layout.segments);
    this.#verifiesReads = verifyReads;
  }

  get(key: string, options?: Partial<GetOptions>): Artifact | undefined | Promise<Artifact | undefined> {
    this.assertOpen();
    assertKey(key);
    assertEncodable(key);
    let entry: IndexEntry | undefined;
    try {
      entry = this.index.get(key);
      if (entry === undefined) return undefined;
      this.assertStored(key, entry);
      if (!this.#verifiesReads) {
        const artifact = this.#artifacts.toArtifact(key, entry);
        this.recordRead(key, entry);
        return artifact;
      }
    } catch (error) {
      void this.#discardCorrupt(key, entry, error);
      return undefined;
    }
    this.recordRead(key, entry);
    return this.#verify(key, entry, options?.signal);
  }

  /** Checks the body of an entry and returns the artifact. If it is corrupt, removes it and returns undefined. */
  async #verify(key: string, entry: IndexEntry, signal: AbortSignal | undefined): Promise<Artifact | undefined> {
    try {
      return await this.#artifacts.toVerifiedArtifact(key, entry, signal);
    } catch (error) {
      await this.#discardCorrupt(key, entry, error);
      return undefined;
    }
  }

  /** @throws `error`, if it does not report a corrupt artifact */
  #discardCorrupt(key: string, entry: IndexEntry | undefined, error: unknown): Promise<void> {
    if (errnoCode(error) !== 'ERR_HOTBLOB_CORRUPT') throw error;
    this[CORRUPT_ARTIFACTS].add(key, error);
    return this.discard(key, entry);
  }

  async *list({ metadata = false, key: only }: ListOptions = {}): AsyncGenerator<StoreEntry> {
    this.assertOpen();
    const one = only !== undefined && [[{ key: only, entry: isKey(only) ? this.index.get(only) : undefined }]];
    for (const batch of one || this.index.entries(LIST_BATCH_MS)) {
      // The store may be closed while the caller holds an entry, so the batch is complete before the first one is yielded.
      const entries = batch.flatMap(({ key, entry }) => {
        if (entry === undefined) return [];
        const artifact = this.#artifacts.toListedArtifact(entry, metadata);
        return [{ key, artifact, size: entry.length, usedAt: this.lastUse(key, entry) }];
      });
      yield* entries;
      await nextTurn();
      this.assertOpen();
    }
  }

  stats(): StoreStats {
    if (this.#closing !== undefined) return {};
    let artifacts = 0;
    for (const { liveCount } of this.index.segments().values()) artifacts += liveCount;
    return { artifacts, corrupt: this[CORRUPT_ARTIFACTS].count };
  }

  close(): Promise<void> {
    this.#closing ??= this.release();
    return this.#closing;
  }

  protected recordRead(_key: string, _entry: IndexEntry): void {}

  /** Returns the time of the last use, in milliseconds since 1970. */
  protected lastUse(key: string, { time }: IndexEntry): number {
    return Math.max(time, (this.index.uses.get(key) ?? 0) * 60_000);
  }

  /** @throws HotblobError `ERR_HOTBLOB_CORRUPT` if it is known that the body of an entry is not in its segment */
  protected assertStored(_key: string, _entry: IndexEntry): void {}

  /** Removes a corrupt artifact. Never rejects. */
  protected async discard(_key: string, _entry: IndexEntry | undefined): Promise<void> {}

  protected release(): Promise<void> {
    return this.index.close();
  }

  protected assertOpen(): void {
    if (this.#closing !== undefined) throw closedError();
  }
}

class WritableStore extends ReadableStore implements SegmentStore, ReadRecorder {
  readonly #writer: SegmentWriter;
  readonly #lock: WriterLock;
  readonly #purges = new Purges({ list: () => this.list(), purge: (purge) => this.#writer.purge(purge) });

  constructor(layout: Layout, index: SegmentIndex, verifyReads: boolean, writer: SegmentWriter, lock: WriterLock) {
    super(layout, index, verifyReads);
    this.#writer = writer;
    this.#lock = lock;
  }

  async put(key: string, body: Readable, options: Partial<PutOptions> = {}): Promise<PutResult> {
    try {
      assertKey(key);
      assertEncodable(key);
      // A corrupt artifact is removed first, so that it counts as absent.
      if (options.ifAbsent) await this.get(key, options);
      const result = await this.#writer.put(key, body, options);
      this[CORRUPT_ARTIFACTS].forget(key);
      return result;
    } catch (error) {
      discard(body);
      throw error;
    }
  }

  async delete(key: string): Promise<boolean> {
    assertKey(key);
    assertEncodable(key);
    return this.#writer.delete(key);
  }

  async purge(filter: PurgeFilter, options?: PurgeOptions): Promise<PurgeResult> {
    this.assertOpen();
    return this.#purges.run(filter, options);
  }

  override stats(): StoreStats {
    return { ...this.#writer.stats(), corrupt: this[CORRUPT_ARTIFACTS].count };
  }

  [RECORD_READ](key: string): void {
    const entry = this.index.get(key);
    if (entry !== undefined) this.recordRead(key, entry);
  }

  protected override recordRead(key: string, entry: IndexEntry): void {
    this.#writer.recordRead(key, entry);
  }

  protected override lastUse(key: string, entry: IndexEntry): number {
    return this.#writer.lastUse(key, entry);
  }

  protected override assertStored(key: string, entry: IndexEntry): void {
    this.#writer.assertStored(key, entry);
  }

  protected override async discard(key: string, entry: IndexEntry | undefined): Promise<void> {
    if (entry === undefined) return; // the location is unknown: the next upload replaces the entry
    try {
      await this.#writer.delete(key, entry);
    } catch {
      // The disk fails or the store is being closed. The artifact is a miss at its next lookup, too.
    }
  }

  protected override async release(): Promise<void> {
    await this.#writer.close();
    await super.release();
    await this.#lock.release();
  }
}
