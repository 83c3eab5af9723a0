import type { Readable } from 'node:stream';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Artifact } from '../../contract/artifact.js';
import {
  assertKey,
  type GetOptions,
  type PutOptions,
  type PutResult,
  type Store,
  type StoreEntry,
  type StoreStats,
} from '../../contract/store.js';
import { assertOptions, BYTES, countFrom, FLAG, invalidOption, oneOf } from '../../contract/validation.js';
import { discard } from '../body.js';
import type { Entry } from './entry.js';
import { closed } from './errors.js';
import { createLayout, discardUnsynced, findLayout, type Layout } from './layout.js';
import { loadLmdb } from './lmdb.js';
import { ArtifactReader, assertEncodable } from './reader.js';
import { SegmentIndex } from './segment-index.js';
import { SegmentWriter } from './writer.js';
import { WriterLock } from './writer-lock.js';

/** What {@link segmentStore} takes. */
export interface SegmentStoreOptions {
  /**
   * Everything together, in bytes: segments, with what is dead in them, and an estimate of what the index takes. The
   * coldest segment goes when an upload needs room, but for what was used of late. Default: no limit.
   */
  readonly maxBytes?: number | undefined;
  /**
   * Where a segment ends and the next begins, in bytes; larger bodies have a segment of their own. Default: 256 MiB, or an
   * eighth of `maxBytes` where that is less.
   */
  readonly segmentBytes?: number | undefined;
  /**
   * `'fsync'`: an upload is acknowledged when it is on the disk. `'none'`: as soon as the system has it. Then it survives the
   * end of the process, but when the system goes down before the store was closed, the next opening starts empty.
   * Default: `'fsync'`.
   */
  readonly durability?: 'fsync' | 'none' | undefined;
  /**
   * Whether each body is compared with its checksum before it is handed out; one that is hurt is an
   * `ERR_HOTBLOB_CORRUPT`. That reads it once more, and `get` answers by a promise. Default: false.
   */
  readonly verifyReads?: boolean | undefined;
  /** Whether to read what another process writes: several may. Default: false. */
  readonly readOnly?: boolean | undefined;
}

/** A store in segment files, as several processes may open it to read. */
export interface SegmentStoreReader extends Store {
  /** The directory, absolute and with symlinks resolved. */
  readonly root: string;
  /** Synchronous, unless every read is verified. */
  get(key: string, options?: GetOptions): Artifact | undefined | Promise<Artifact | undefined>;
  /**
   * What the index has, without what uploads have said about it and without what is damaged in it. Nobody looks at bodies.
   * Last used is when it was put: a read is written down nowhere.
   */
  list(): AsyncIterable<StoreEntry>;
  /** Whoever only reads knows how many artifacts there are; whoever writes knows the rest. */
  stats(): StoreStats;
  close(): Promise<void>;
}

/** A store in segment files, as one process writes to it. */
export interface SegmentStore extends SegmentStoreReader {
  put(key: string, body: Readable, options: PutOptions): Promise<PutResult>;
  delete(key: string): Promise<boolean>;
}

const DEFAULT_SEGMENT_BYTES = 256 * 1024 * 1024;
/** So that evicting one of them does not empty the store. */
const MIN_SEGMENTS = 8;
/** The offset of a body in its segment has six bytes, and an inline one the upper half. */
const MAX_SEGMENT_BYTES = 2 ** 40;

/** Listing holds the event loop for so long at a time, in milliseconds, and then lets it turn. */
const LISTING_MS = 3;

const CHECKS = {
  maxBytes: BYTES,
  segmentBytes: countFrom(1),
  durability: oneOf('fsync', 'none'),
  verifyReads: FLAG,
  readOnly: FLAG,
};

/**
 * A store that appends bodies to a few large files and keeps where they are in an index, so that many small artifacts cost
 * no file each. It needs the optional dependency `lmdb`.
 *
 * An upload is acknowledged when its bytes and then its entry are on the disk. Whenever the process is killed, what was
 * acknowledged is there afterwards and is whole, and the rest is not there. Segments are only ever appended to and
 * unlinked, so that they may be mapped. `dir` is created where it is absent.
 *
 * One process may write to a directory, and any number read it with `readOnly`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an option that is unknown or wrong, and for a directory that holds
 * something else or cannot be used; `ERR_HOTBLOB_LOCKED` while another process writes to `dir`, `ERR_HOTBLOB_CORRUPT` for
 * an index that is damaged, `ERR_HOTBLOB_NO_LMDB` without `lmdb`
 */
export function segmentStore(
  dir: string,
  options: SegmentStoreOptions & { readonly readOnly: true },
): Promise<SegmentStoreReader>;
export function segmentStore(
  dir: string,
  options?: SegmentStoreOptions & { readonly readOnly?: false | undefined },
): Promise<SegmentStore>;
export async function segmentStore(dir: string, options: SegmentStoreOptions = {}): Promise<SegmentStoreReader> {
  if (typeof dir !== 'string' || dir === '') throw invalidOption('dir', 'the path of a directory', dir);
  assertOptions(options, CHECKS);
  // Read before the first wait: the caller may change its object.
  const { maxBytes, durability, verifyReads = false, readOnly } = options;
  const segmentBytes = options.segmentBytes ?? Math.min(DEFAULT_SEGMENT_BYTES, (maxBytes ?? Infinity) / MIN_SEGMENTS);
  if (segmentBytes > MAX_SEGMENT_BYTES) {
    throw invalidOption('segmentBytes', `at most ${MAX_SEGMENT_BYTES} bytes`, segmentBytes);
  }
  loadLmdb();
  if (readOnly) {
    const layout = await findLayout(dir);
    const index = await SegmentIndex.open(layout.index, { readOnly: true, durable: true });
    return new Reader(layout, index, verifyReads);
  }
  const layout = await createLayout(dir);
  const lock = await WriterLock.acquire(layout.root);
  const undo: (() => Promise<void>)[] = [() => lock.release()];
  try {
    await discardUnsynced(layout);
    const syncs = durability !== 'none';
    const index = await SegmentIndex.open(layout.index, { readOnly: false, durable: syncs });
    undo.unshift(() => index.close());
    const writer = await SegmentWriter.open(layout, index, { maxBytes, segmentBytes: Math.ceil(segmentBytes), syncs });
    return new Writer(layout, index, verifyReads, writer, lock);
  } catch (error) {
    for (const step of undo) await step();
    throw error;
  }
}

class Reader implements SegmentStoreReader {
  readonly root: string;
  protected readonly index: SegmentIndex;
  readonly #artifacts: ArtifactReader;
  readonly #verifies: boolean;
  #closing: Promise<void> | undefined;

  constructor(layout: Layout, index: SegmentIndex, verifies: boolean) {
    this.root = layout.root;
    this.index = index;
    this.#artifacts = new ArtifactReader(index, layout.segments);
    this.#verifies = verifies;
  }

  get(key: string, options?: GetOptions): Artifact | undefined | Promise<Artifact | undefined> {
    this.#assertOpen();
    assertKey(key);
    assertEncodable(key);
    const entry = this.index.get(key);
    if (entry === undefined) return undefined;
    this.touch(key, entry);
    return this.#verifies
      ? this.#artifacts.verified(key, entry, options?.signal)
      : this.#artifacts.artifact(key, entry);
  }

  async *list(): AsyncGenerator<StoreEntry> {
    this.#assertOpen();
    for (const part of this.index.entries(LISTING_MS)) {
      for (const { key, entry } of part) {
        if (entry === undefined) continue;
        yield { key, artifact: this.#artifacts.bodyOf(entry), size: entry.length, usedAt: entry.time };
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

  protected touch(_key: string, _entry: Entry): void {}

  protected release(): Promise<void> {
    return this.index.close();
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) throw closed();
  }
}

class Writer extends Reader implements SegmentStore {
  readonly #writer: SegmentWriter;
  readonly #lock: WriterLock;

  constructor(layout: Layout, index: SegmentIndex, verifies: boolean, writer: SegmentWriter, lock: WriterLock) {
    super(layout, index, verifies);
    this.#writer = writer;
    this.#lock = lock;
  }

  async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
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

  protected override touch(key: string, entry: Entry): void {
    this.#writer.touch(key, entry);
  }

  protected override async release(): Promise<void> {
    await this.#writer.close();
    await super.release();
    await this.#lock.release();
  }
}
