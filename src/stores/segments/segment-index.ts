import { statfs } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Database, RootDatabase } from 'lmdb';
import { HotblobError } from '../../contract/errors.js';
import {
  decodeEntry,
  decodePlace,
  type Entry,
  encodeEntry,
  encodePlace,
  INLINE_BASE,
  isAt,
  type Place,
} from './entry.js';
import { corrupt } from './errors.js';
import { damageOf } from './index-check.js';
import { loadLmdb } from './lmdb.js';
import type { SegmentCounts } from './segment.js';

/** What one commit does, all of it or nothing. Entries are not read back before it is done. */
export interface IndexChange {
  put(key: string, entry: Entry): void;
  remove(key: string, place: Place): void;
  removePlace(place: Place): void;
  setCounts(segment: number, counts: SegmentCounts): void;
  removeSegment(segment: number): void;
  setNextSegment(id: number): void;
}

export interface SegmentIndexOptions {
  readonly readOnly: boolean;
  /** Whether a commit is on the disk when it is done. */
  readonly durable: boolean;
}

/** Bytes that a commit may need for its pages; with less on the file system, a failed one failed for want of room. */
const ROOM_BYTES = 1024 * 1024;
const SLICE = 1000;
/** 64 MiB, the index of some 200,000 artifacts: 0.1 s. Of a larger one all but the lowest level. */
const CHECKED_PAGES = 16_384;
const NEXT_SEGMENT = Buffer.from('next-segment');
const COUNTS_BYTES = 16;

/**
 * Where the bodies are: a database of its own for the entries by key, for their keys by place, and for what each segment
 * holds. Reads see the last commit; one commit at a time.
 */
export class SegmentIndex {
  readonly path: string;
  readonly #options: SegmentIndexOptions;
  #root: RootDatabase<Buffer, Uint8Array>;
  #keys: Database<Buffer, string>;
  #places: Database<Buffer, Uint8Array>;
  #segments: Database<Buffer, Uint8Array>;

  /**
   * Opens the index, which a writer makes where it is absent.
   *
   * @param checkedPages how much of it is looked at before it is trusted
   * @throws HotblobError `ERR_HOTBLOB_CORRUPT` where the file is not a sound index; else what the system says
   */
  static async open(path: string, options: SegmentIndexOptions, checkedPages = CHECKED_PAGES): Promise<SegmentIndex> {
    const damage = await damageOf(path, checkedPages, !options.readOnly);
    if (damage !== undefined) throw corrupt(path, `the index is damaged (${damage})`);
    return new SegmentIndex(path, options);
  }

  private constructor(path: string, options: SegmentIndexOptions) {
    this.path = path;
    this.#options = options;
    ({
      root: this.#root,
      keys: this.#keys,
      places: this.#places,
      segments: this.#segments,
    } = openDatabases(path, options));
  }

  /** @throws HotblobError `ERR_HOTBLOB_CORRUPT` for an entry that is damaged */
  get(key: string): Entry | undefined {
    const bytes = this.#keys.getBinaryFast(key);
    if (bytes === undefined) return undefined;
    const entry = decodeEntry(key, bytes, bytes.length);
    if (entry === undefined) throw corrupt(this.path, `the entry of '${key}' in the index is damaged`);
    return entry;
  }

  /** Changes the index. When it rejects nothing has changed, or after a crash of the disk nobody can tell. */
  async commit(change: (to: IndexChange) => void): Promise<void> {
    try {
      // Inside a batch no operation has a promise of its own; one that nobody waits for could end the process.
      await this.#root.batch(() => change(this.#change));
    } catch (error) {
      const reason = await reasonOf(error);
      await this.#reopenIfBroken();
      throw await this.#describe(reason);
    }
  }

  /** What was counted for each segment. */
  segments(): Map<number, SegmentCounts> {
    const found = new Map<number, SegmentCounts>();
    for (const { key, value } of this.#segments.getRange()) {
      if (key.byteLength !== 4) continue;
      if (value.byteLength !== COUNTS_BYTES) throw corrupt(this.path, 'the list of segments in the index is damaged');
      found.set(Buffer.from(key).readUInt32BE(0), {
        liveBytes: value.readUIntLE(0, 6),
        liveCount: value.readUInt32LE(6),
        indexBytes: value.readUIntLE(10, 6),
      });
    }
    return found;
  }

  /** An id that no segment has ever had, as far as an entry told anybody. */
  nextSegment(): number {
    return this.#segments.get(NEXT_SEGMENT)?.readUInt32LE(0) ?? 1;
  }

  /**
   * Where the last body in the file of a segment ends, in bytes (Infinity where its entry is damaged), and the offset of
   * its last inline body; 0 for none.
   */
  lastOffsets(segment: number): { readonly end: number; readonly inline: number } {
    const last = (from: number, to: number): { place: Place; key: string } | undefined => {
      const range = { start: encodePlace({ segment, offset: from }), end: encodePlace({ segment, offset: to }) };
      for (const { key, value } of this.#places.getRange({ ...range, reverse: true, limit: 1 })) {
        return { place: decodePlace(key), key: value.toString() };
      }
      return undefined;
    };
    const inFile = last(INLINE_BASE, 0);
    return {
      end: inFile === undefined ? 0 : inFile.place.offset + this.#lengthAt(inFile.key, inFile.place),
      inline: last(2 ** 48 - 1, INLINE_BASE)?.place.offset ?? 0,
    };
  }

  #lengthAt(key: string, place: Place): number {
    try {
      const entry = this.get(key);
      return entry !== undefined && isAt(entry, place) ? entry.length : Number.POSITIVE_INFINITY;
    } catch {
      return Number.POSITIVE_INFINITY;
    }
  }

  /** The keys of a segment in order of their places, some at a time. */
  *keysOf(segment: number): Generator<{ readonly key: string; readonly place: Place }[]> {
    const end = encodePlace({ segment: segment + 1, offset: 0 });
    let start = encodePlace({ segment, offset: 0 });
    for (;;) {
      const found: { key: string; place: Place }[] = [];
      for (const { key, value } of this.#places.getRange({ start, end, limit: SLICE })) {
        found.push({ key: value.toString(), place: decodePlace(key) });
      }
      const last = found.at(-1);
      if (last === undefined) return;
      yield found;
      start = encodePlace({ segment, offset: last.place.offset + 1 });
    }
  }

  /** Every key and its entry, undefined where damaged; as many at a time as are found in `maxMs`, as the index is then. */
  *entries(maxMs = Number.POSITIVE_INFINITY): Generator<{ readonly key: string; readonly entry: Entry | undefined }[]> {
    let after: string | undefined;
    for (;;) {
      const found: { key: string; entry: Entry | undefined }[] = [];
      const range = after === undefined ? {} : { start: after, exclusiveStart: true };
      const deadline = performance.now() + maxMs;
      for (const { key, value } of this.#keys.getRange({ ...range, limit: SLICE })) {
        found.push({ key, entry: decodeEntry(key, value, value.length) });
        if (performance.now() >= deadline) break;
      }
      if (found.length === 0) return;
      after = found.at(-1)?.key;
      yield found;
    }
  }

  /** Writes what is committed to the disk. */
  sync(): Promise<void> {
    const root: { sync?(done: (error?: unknown) => void): void } = this.#root as object;
    return new Promise((resolve, reject) => {
      root.sync?.((error) => (error ? reject(error) : resolve()));
    });
  }

  async close(): Promise<void> {
    await this.#root.close();
  }

  readonly #change: IndexChange = {
    put: (key, entry) => {
      this.#keys.put(key, encodeEntry(key, entry));
      this.#places.put(encodePlace(entry), Buffer.from(key));
    },
    remove: (key, place) => {
      this.#keys.remove(key);
      this.#places.remove(encodePlace(place));
    },
    removePlace: (place) => {
      this.#places.remove(encodePlace(place));
    },
    setCounts: (segment, { liveBytes, liveCount, indexBytes }) => {
      const value = Buffer.alloc(COUNTS_BYTES);
      value.writeUIntLE(liveBytes, 0, 6);
      value.writeUInt32LE(liveCount, 6);
      value.writeUIntLE(indexBytes, 10, 6);
      this.#segments.put(segmentKey(segment), value);
    },
    removeSegment: (segment) => {
      this.#segments.remove(segmentKey(segment));
    },
    setNextSegment: (id) => {
      const value = Buffer.alloc(4);
      value.writeUInt32LE(id, 0);
      this.#segments.put(NEXT_SEGMENT, value);
    },
  };

  /** After a page with the root of the database could not be written, lmdb answers nothing until it is opened anew. */
  async #reopenIfBroken(): Promise<void> {
    try {
      // A read transaction from before would notice nothing.
      this.#root.resetReadTxn();
      this.#segments.get(NEXT_SEGMENT);
      return;
    } catch {
      await this.#root.close();
    }
    const { root, keys, places, segments } = openDatabases(this.path, this.#options);
    this.#root = root;
    this.#keys = keys;
    this.#places = places;
    this.#segments = segments;
  }

  async #describe(reason: unknown): Promise<unknown> {
    // lmdb takes a write that was cut short for an EIO.
    const { bavail, bsize } = await statfs(dirname(this.path));
    if (bavail * bsize < ROOM_BYTES) {
      const message = 'the file system has no room left for the index';
      return new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message, { cause: reason });
    }
    const text = reason instanceof Error ? reason.message : String(reason);
    return new Error(`the index could not be written (${text}): ${this.path}`, { cause: reason });
  }
}

/** lmdb rejects with an error that promises the real one. Not waiting for that would leave a rejection unhandled. */
async function reasonOf(error: unknown): Promise<unknown> {
  try {
    if (error instanceof Error && 'commitError' in error) await error.commitError;
    return error;
  } catch (reason) {
    return reason;
  }
}

function segmentKey(id: number): Buffer {
  const key = Buffer.allocUnsafe(4);
  key.writeUInt32BE(id, 0);
  return key;
}

function openDatabases(path: string, { readOnly, durable }: SegmentIndexOptions) {
  const { open } = loadLmdb();
  try {
    const root = open<Buffer, Uint8Array>({
      path,
      noSubdir: true,
      readOnly,
      maxDbs: 3,
      // A commit is done when it is on the disk. Overlapping, it would be seen before, and be lost with the power.
      overlappingSync: false,
      noSync: !durable && !readOnly,
      eventTurnBatching: false,
      encoding: 'binary',
      keyEncoding: 'binary',
    });
    const part = <K extends string | Uint8Array>(name: string, keyEncoding: 'ordered-binary' | 'binary') => {
      // undefined, whatever the types say, where a reader finds an index that nobody has written to
      const database: Database<Buffer, K> | undefined = root.openDB<Buffer, K>(name, {
        encoding: 'binary',
        keyEncoding,
      });
      if (database === undefined) throw new Error(`it has no part '${name}'`);
      return database;
    };
    return {
      root,
      keys: part<string>('keys', 'ordered-binary'),
      places: part<Uint8Array>('places', 'binary'),
      segments: part<Uint8Array>('segments', 'binary'),
    };
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    if (/ENOENT|No such file|EACCES|Permission|ENOSPC|space/i.test(reason)) throw cause;
    throw corrupt(path, `the index cannot be opened (${reason})`, cause);
  }
}
