import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import { HotblobError } from '../../contract/errors.js';
import { TwoGenerationMap } from '../../util/two-generation-map.js';
import { corruptError } from './errors.js';
import { findDamage } from './index-check.js';
import { type IndexDatabases, openDatabases, type SegmentIndexOptions } from './index-databases.js';
import {
  decodeEntry,
  decodeLocation,
  encodeEntry,
  encodeLocation,
  INLINE_BASE,
  type IndexEntry,
  isAt,
  type Location,
} from './index-entry.js';
import { reasonOf } from './lmdb.js';
import { ReadSnapshot } from './read-snapshot.js';
import type { SegmentCounts } from './segment.js';
import { SegmentTable } from './segment-table.js';
import { UseTable } from './use-table.js';

/** Changes that are made by one commit. Either all of them take effect, or none. */
export interface IndexTransaction {
  put(key: string, entry: IndexEntry): void;
  remove(key: string, location: Location): void;
  removeLocation(location: Location): void;
  setCounts(segment: number, counts: SegmentCounts): void;
  removeSegment(segment: number): void;
  /** Stores the group of a segment. See `SegmentGroup.fingerprint`. */
  setGroup(segment: number, fingerprint: string): void;
  /** Stores the last use of a key, in minutes since 1970. */
  setLastUse(key: string, minute: number): void;
  removeLastUse(key: string): void;
  setNextSegment(id: number): void;
}

/**
 * Disk space that a commit may need for its pages, in bytes. If less is free, a failed commit is reported as a full
 * disk.
 */
const COMMIT_BYTES = 1024 * 1024;
/** Number of entries in a generation of the cache. An entry takes 1 KiB, so both generations take at most 16 MiB. */
const CACHED_ENTRIES = 8192;
/** Maximum size of the inline body and the metadata of an entry that is cached. */
const MAX_CACHED_BYTES = 512;
/** Number of rows that are read at a time. */
const BATCH_ROWS = 1000;
/**
 * Number of index pages that are checked when a store is opened: 64 MiB, which hold about 200,000 artifacts and take
 * 0.1 s. In a larger index, a part of the lowest level is not checked.
 */
const CHECKED_PAGES = 16_384;

/**
 * Index of a segment store: entries by key, keys by location, and counts by segment, in one LMDB file. Reads see the last
 * commit. Only one commit may run at a time.
 */
export class SegmentIndex {
  readonly path: string;
  readonly uses = new UseTable(() => this.#databases);
  readonly #segments: SegmentTable;
  readonly #options: SegmentIndexOptions;
  #databases: IndexDatabases;
  /** Keys that the commit in flight changes. */
  readonly #changedKeys: string[] = [];
  /** Entries that were read and that this process has not changed since. Undefined for a reader: another process changes them. */
  readonly #cache: TwoGenerationMap<string, IndexEntry> | undefined;
  /** Undefined for a writer. */
  readonly #snapshot: ReadSnapshot | undefined;

  /**
   * Opens the index. A writer creates it if it does not exist.
   *
   * @param checkedPages number of pages to check for corruption first
   * @throws HotblobError `ERR_HOTBLOB_CORRUPT` if the file is not a valid index
   * @throws the error of the system call
   */
  static async open(path: string, options: SegmentIndexOptions, checkedPages = CHECKED_PAGES): Promise<SegmentIndex> {
    const damage = await findDamage(path, checkedPages, !options.readOnly);
    if (damage !== undefined) throw corruptError(path, `the index is corrupt (${damage})`);
    return new SegmentIndex(path, options);
  }

  private constructor(path: string, options: SegmentIndexOptions) {
    this.path = path;
    this.#options = options;
    this.#databases = openDatabases(path, options);
    this.#segments = new SegmentTable(path, () => this.#databases.segments);
    this.#cache = options.readOnly ? undefined : new TwoGenerationMap(CACHED_ENTRIES);
    this.#snapshot = options.readOnly ? new ReadSnapshot(this.#databases.root) : undefined;
  }

  /** @throws HotblobError `ERR_HOTBLOB_CORRUPT` if the entry is corrupt */
  get(key: string): IndexEntry | undefined {
    const cached = this.#cache?.get(key);
    if (cached !== undefined) return cached;
    this.#snapshot?.use();
    const bytes = this.#databases.entries.getBinaryFast(key);
    if (bytes === undefined) return undefined;
    const entry = decodeEntry(key, bytes, bytes.length);
    if (entry === undefined) throw corruptError(this.path, `the index entry of '${key}' is corrupt`);
    const { inline, metadata } = entry;
    if ((inline?.byteLength ?? 0) + (metadata?.byteLength ?? 0) <= MAX_CACHED_BYTES) this.#cache?.set(key, entry);
    return entry;
  }

  /**
   * Commits the changes that `change` makes. If the promise rejects, nothing has changed, unless the disk failed during
   * the commit.
   */
  async commit(change: (transaction: IndexTransaction) => void): Promise<void> {
    try {
      // The changes are made in a batch, because its writes return no promises of their own. A rejected promise without
      // a handler would end the process.
      await this.#databases.root.batch(() => change(this.#transaction));
    } catch (error) {
      const reason = await reasonOf(error);
      try {
        await this.#reopenIfBroken();
      } finally {
        // It is not known what the failed commit has changed. Lookups may have filled the cache meanwhile.
        this.#cache?.clear();
        this.#changedKeys.length = 0;
      }
      throw await this.#commitError(reason);
    }
    // A read transaction that began before the commit would put the previous entries into the cache again.
    this.#databases.root.resetReadTxn();
    for (const key of this.#changedKeys.splice(0)) this.#cache?.delete(key);
  }

  /** Returns the counts of every segment, by segment id. */
  segments(): Map<number, SegmentCounts> {
    this.#snapshot?.use();
    return this.#segments.counts();
  }

  /** Returns the stored groups of segments, by segment id. */
  groups(): Map<number, string> {
    return this.#segments.groups();
  }

  /** Returns a segment id that is higher than that of any committed entry. */
  nextSegment(): number {
    return this.#segments.nextId();
  }

  /**
   * Returns `end`, the position at which the last body of a segment file ends, and `inline`, the offset of the
   * segment's last inline body. Each is 0 if there is no such body. `end` is `Infinity` if the entry of the last body
   * is corrupt.
   */
  lastOffsets(segment: number): { readonly end: number; readonly inline: number } {
    const findLast = (upper: number, lower: number): { location: Location; key: string } | undefined => {
      // In lmdb, a reverse range starts at its upper bound.
      const start = encodeLocation({ segment, offset: upper });
      const end = encodeLocation({ segment, offset: lower });
      for (const row of this.#databases.locations.getRange({ start, end, reverse: true, limit: 1 })) {
        return { location: decodeLocation(row.key), key: row.value.toString() };
      }
      return undefined;
    };
    const last = findLast(INLINE_BASE, 0);
    return {
      end: last === undefined ? 0 : last.location.offset + this.#lengthAt(last.key, last.location),
      inline: findLast(2 ** 48 - 1, INLINE_BASE)?.location.offset ?? 0,
    };
  }

  #lengthAt(key: string, location: Location): number {
    try {
      const entry = this.get(key);
      return entry !== undefined && isAt(entry, location) ? entry.length : Number.POSITIVE_INFINITY;
    } catch {
      return Number.POSITIVE_INFINITY;
    }
  }

  /** Yields the keys of a segment in batches, ordered by location. */
  *keysOf(segment: number): Generator<{ readonly key: string; readonly location: Location }[]> {
    const end = encodeLocation({ segment: segment + 1, offset: 0 });
    let start = encodeLocation({ segment, offset: 0 });
    for (;;) {
      const batch: { key: string; location: Location }[] = [];
      for (const { key, value } of this.#databases.locations.getRange({ start, end, limit: BATCH_ROWS })) {
        batch.push({ key: value.toString(), location: decodeLocation(key) });
      }
      const last = batch.at(-1);
      if (last === undefined) return;
      yield batch;
      start = encodeLocation({ segment, offset: last.location.offset + 1 });
    }
  }

  /**
   * Yields all keys and their entries in batches. A corrupt entry is yielded as `undefined`. Each batch shows the last
   * commit at the time at which the batch is read.
   *
   * @param maxMs time in milliseconds after which a batch ends
   */
  *entries(
    maxMs = Number.POSITIVE_INFINITY,
  ): Generator<{ readonly key: string; readonly entry: IndexEntry | undefined }[]> {
    let lastKey: string | undefined;
    for (;;) {
      const batch: { key: string; entry: IndexEntry | undefined }[] = [];
      const range = lastKey === undefined ? {} : { start: lastKey, exclusiveStart: true };
      const deadline = performance.now() + maxMs;
      this.#snapshot?.use();
      for (const { key, value } of this.#databases.entries.getRange({ ...range, limit: BATCH_ROWS })) {
        batch.push({ key, entry: decodeEntry(key, value, value.length) });
        if (performance.now() >= deadline) break;
      }
      if (batch.length === 0) return;
      lastKey = batch.at(-1)?.key;
      yield batch;
    }
  }

  /** Syncs all commits to the disk. */
  sync(): Promise<void> {
    const root: { sync?(done: (error?: unknown) => void): void } = this.#databases.root as object;
    return new Promise((resolve, reject) => {
      root.sync?.((error) => (error ? reject(error) : resolve()));
    });
  }

  async close(): Promise<void> {
    await this.#databases.root.close();
  }

  // Each function reads #databases at each call, because the databases are replaced when the index is reopened.
  readonly #transaction: IndexTransaction = {
    put: (key, entry) => {
      this.#changedKeys.push(key);
      this.#databases.entries.put(key, encodeEntry(key, entry));
      this.#databases.locations.put(encodeLocation(entry), Buffer.from(key));
    },
    remove: (key, location) => {
      this.#changedKeys.push(key);
      this.#databases.entries.remove(key);
      this.#databases.locations.remove(encodeLocation(location));
    },
    removeLocation: (location) => {
      this.#databases.locations.remove(encodeLocation(location));
    },
    setCounts: (segment, counts) => this.#segments.setCounts(segment, counts),
    removeSegment: (segment) => this.#segments.remove(segment),
    setGroup: (segment, fingerprint) => this.#segments.setGroup(segment, fingerprint),
    setLastUse: (key, minute) => this.uses.set(key, minute),
    removeLastUse: (key) => this.uses.remove(key),
    setNextSegment: (id) => this.#segments.setNextId(id),
  };

  /**
   * Reopens the index if reads fail. LMDB refuses all access after the write of a page with the database root has
   * failed.
   */
  async #reopenIfBroken(): Promise<void> {
    try {
      // A read transaction that started before the failure would not see it.
      this.#databases.root.resetReadTxn();
      this.#segments.nextId();
      return;
    } catch {
      await this.#databases.root.close();
    }
    this.#databases = openDatabases(this.path, this.#options);
  }

  async #commitError(reason: unknown): Promise<unknown> {
    // LMDB reports a short write as EIO. Only the free space tells whether the disk is full.
    const { bavail, bsize } = await statfs(dirname(this.path));
    if (bavail * bsize < COMMIT_BYTES) {
      const message = `no space left on the file system for the index: ${this.path}`;
      return new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message, { cause: reason });
    }
    const text = reason instanceof Error ? reason.message : String(reason);
    return new Error(`cannot write the index (${text}): ${this.path}`, { cause: reason });
  }
}
