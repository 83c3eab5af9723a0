import type { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Artifact } from '../../contract/artifact.js';
import {
  assertEncodable,
  assertKey,
  type GetOptions,
  type PutOptions,
  type PutResult,
  type Store,
  type StoreEntry,
  type StoreStats,
} from '../../contract/store.js';
import { assertOptions, BYTES, countFrom, FLAG, invalidOption, oneOf } from '../../contract/validation.js';
import { permissionsFor } from '../../util/permissions.js';
import { discard } from '../body.js';
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
import { SegmentIndex } from './segment-index.js';
import { assertSynced, discardUnsynced } from './unsynced.js';
import { SegmentWriter } from './writer.js';
import { WriterLock } from './writer-lock.js';

/** Options of {@link segmentStore}. */
export interface SegmentStoreOptions {
  /**
   * Limit for the disk usage in bytes: the segment files, including dead bytes, and an estimate for the index, of which 4 MiB, or
   * an eighth of the limit, are for unused pages. If an
   * upload needs space, the coldest segment is evicted; recently read artifacts in it are retained. Default: no limit.
   */
  readonly maxBytes?: number | undefined;
  /**
   * Size in bytes at which a segment is full. A body larger than a quarter of this size gets a segment of its own.
   * Default: 256 MiB, or an eighth of `maxBytes` if that is less.
   */
  readonly segmentBytes?: number | undefined;
  /**
   * Time at which an upload is acknowledged. `'fsync'`: when the upload is on the disk. `'none'`: when the kernel has
   * buffered it. With `'none'`, uploads survive a crash of the process; after a crash of the system, the store starts
   * empty. Default: `'fsync'`.
   */
  readonly durability?: 'fsync' | 'none' | undefined;
  /**
   * Whether `get` compares each body with its checksum first. If the body is corrupt, `get` rejects with
   * `ERR_HOTBLOB_CORRUPT`. Each body is then read twice, and `get` always returns a promise. Default: `false`.
   */
  readonly verifyReads?: boolean | undefined;
  /**
   * Whether to open the store for reading only. Any number of processes may do so, even while another process writes to
   * the store. Default: `false`.
   */
  readonly readOnly?: boolean | undefined;
  /**
   * Whether the group of the process may read and write what the store creates: files have mode 0660 and directories 0770, less
   * the umask. Needed if other users read the store, because readers write to the lock file of the index. Existing files and
   * directories are not changed. Default: false, mode 0600 and 0700.
   */
  readonly groupAccess?: boolean | undefined;
}

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
  /**
   * Yields the artifacts in the index, without the metadata of their uploads and without corrupt entries. Does not read
   * the bodies. `usedAt` is the time of the upload, because reads are not recorded on the disk.
   */
  list(): AsyncIterable<StoreEntry>;
  /** A read-only store reports only the number of artifacts. */
  stats(): StoreStats;
  close(): Promise<void>;
}

/** Segment store that is open for reading and writing. */
export interface SegmentStore extends SegmentStoreReader {
  put(key: string, body: Readable, options?: Partial<PutOptions>): Promise<PutResult>;
  delete(key: string): Promise<boolean>;
}

const DEFAULT_SEGMENT_BYTES = 256 * 1024 * 1024;
/**
 * Minimum number of segments that fit into `maxBytes`, so that the eviction of one segment does not empty the store.
 */
const MIN_SEGMENTS = 8;
/**
 * Maximum of `segmentBytes`. An offset has six bytes in the index, and the upper half of its range is used for inline
 * bodies.
 */
const MAX_SEGMENT_BYTES = 2 ** 40;

/** Time after which `list` yields to the event loop, in milliseconds. */
const LIST_BATCH_MS = 3;

const CHECKS = {
  maxBytes: BYTES,
  segmentBytes: countFrom(1),
  durability: oneOf('fsync', 'none'),
  verifyReads: FLAG,
  readOnly: FLAG,
  groupAccess: FLAG,
};

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
 *   something else; `ERR_HOTBLOB_LOCKED` if another process writes to `dir`; `ERR_HOTBLOB_CORRUPT` if the index or the
 *   writer lock is corrupt; `ERR_HOTBLOB_NO_LMDB` if the package `lmdb` is not available
 */
export function segmentStore(
  dir: string,
  options?: SegmentStoreOptions & { readonly readOnly?: false | undefined },
): Promise<SegmentStore>;
/** Opens a segment store that may be read-only. If `readOnly` is `true`, the store has no `put` and no `delete`. */
export function segmentStore(dir: string, options: SegmentStoreOptions): Promise<SegmentStoreReader>;
export async function segmentStore(dir: string, options: SegmentStoreOptions = {}): Promise<SegmentStoreReader> {
  if (typeof dir !== 'string' || dir === '') throw invalidOption('dir', 'the path of a directory', dir);
  assertOptions(options, CHECKS);
  // The options are read before the first await, because the caller may change the object afterwards.
  const { maxBytes, durability, verifyReads = false, readOnly } = options;
  const permissions = permissionsFor(options.groupAccess);
  const segmentBytes = options.segmentBytes ?? Math.min(DEFAULT_SEGMENT_BYTES, (maxBytes ?? Infinity) / MIN_SEGMENTS);
  if (segmentBytes > MAX_SEGMENT_BYTES) {
    throw invalidOption('segmentBytes', `at most ${MAX_SEGMENT_BYTES} bytes`, segmentBytes);
  }
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
  await releaseReserveIfFull(layout);
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
    const writer = await SegmentWriter.open(layout, index, { maxBytes, segmentBytes: Math.ceil(segmentBytes), fsync });
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
  readonly #verifyReads: boolean;
  #closing: Promise<void> | undefined;

  constructor(layout: Layout, index: SegmentIndex, verifyReads: boolean) {
    this.root = layout.root;
    this.index = index;
    this.#artifacts = new ArtifactReader(index, layout.segments);
    this.#verifyReads = verifyReads;
  }

  get(key: string, options?: Partial<GetOptions>): Artifact | undefined | Promise<Artifact | undefined> {
    this.#assertOpen();
    assertKey(key);
    assertEncodable(key);
    const entry = this.index.get(key);
    if (entry === undefined) return undefined;
    this.recordRead(key, entry);
    return this.#verifyReads
      ? this.#artifacts.toVerifiedArtifact(key, entry, options?.signal)
      : this.#artifacts.toArtifact(key, entry);
  }

  async *list(): AsyncGenerator<StoreEntry> {
    this.#assertOpen();
    for (const batch of this.index.entries(LIST_BATCH_MS)) {
      for (const { key, entry } of batch) {
        if (entry === undefined) continue;
        const artifact = this.#artifacts.toArtifactWithoutMetadata(entry);
        yield { key, artifact, size: entry.length, usedAt: entry.time };
      }
      await nextTurn();
      this.#assertOpen();
    }
  }

  stats(): StoreStats {
    if (this.#closing !== undefined) return {};
    let artifacts = 0;
    for (const { liveCount } of this.index.segments().values()) artifacts += liveCount;
    return { artifacts };
  }

  close(): Promise<void> {
    this.#closing ??= this.release();
    return this.#closing;
  }

  protected recordRead(_key: string, _entry: IndexEntry): void {}

  protected release(): Promise<void> {
    return this.index.close();
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw closedError();
  }
}

class WritableStore extends ReadableStore implements SegmentStore {
  readonly #writer: SegmentWriter;
  readonly #lock: WriterLock;

  constructor(layout: Layout, index: SegmentIndex, verifyReads: boolean, writer: SegmentWriter, lock: WriterLock) {
    super(layout, index, verifyReads);
    this.#writer = writer;
    this.#lock = lock;
  }

  async put(key: string, body: Readable, options: Partial<PutOptions> = {}): Promise<PutResult> {
    try {
      assertKey(key);
      assertEncodable(key);
      return await this.#writer.put(key, body, options);
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

  override stats(): StoreStats {
    return this.#writer.stats();
  }

  protected override recordRead(key: string, entry: IndexEntry): void {
    this.#writer.recordRead(key, entry);
  }

  protected override async release(): Promise<void> {
    await this.#writer.close();
    await super.release();
    await this.#lock.release();
  }
}
