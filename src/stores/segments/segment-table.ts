import type { Database } from 'lmdb';
import { corruptError } from './errors.js';
import type { SegmentCounts } from './segment.js';

const NEXT_SEGMENT = Buffer.from('next-segment');
const COUNTS_KEY_BYTES = 4;
const COUNTS_BYTES = 16;
/** Length of the key of a group, which distinguishes it from the key of counts. */
const GROUP_KEY_BYTES = COUNTS_KEY_BYTES + 1;

/** Counts and groups of segments in the index, and the next segment id. */
export class SegmentTable {
  readonly #path: string;
  /** The database is replaced when the index is reopened. */
  readonly #database: () => Database<Buffer, Uint8Array>;

  /** @param path path of the index, for errors */
  constructor(path: string, database: () => Database<Buffer, Uint8Array>) {
    this.#path = path;
    this.#database = database;
  }

  /** Returns the counts of every segment, by segment id. */
  counts(): Map<number, SegmentCounts> {
    const counts = new Map<number, SegmentCounts>();
    for (const { key, value } of this.#database().getRange()) {
      if (key.byteLength !== COUNTS_KEY_BYTES) continue;
      if (value.byteLength !== COUNTS_BYTES)
        throw corruptError(this.#path, 'the segment table of the index is corrupt');
      counts.set(Buffer.from(key).readUInt32BE(0), {
        liveBytes: value.readUIntLE(0, 6),
        liveCount: value.readUInt32LE(6),
        indexBytes: value.readUIntLE(10, 6),
      });
    }
    return counts;
  }

  setCounts(id: number, { liveBytes, liveCount, indexBytes }: SegmentCounts): void {
    const value = Buffer.alloc(COUNTS_BYTES);
    value.writeUIntLE(liveBytes, 0, 6);
    value.writeUInt32LE(liveCount, 6);
    value.writeUIntLE(indexBytes, 10, 6);
    this.#database().put(countsKey(id), value);
  }

  /** Returns the fingerprints of the groups of segments, by segment id. */
  groups(): Map<number, string> {
    const groups = new Map<number, string>();
    for (const { key, value } of this.#database().getRange()) {
      if (key.byteLength === GROUP_KEY_BYTES) groups.set(Buffer.from(key).readUInt32BE(1), value.toString());
    }
    return groups;
  }

  setGroup(id: number, fingerprint: string): void {
    this.#database().put(groupKey(id), Buffer.from(fingerprint));
  }

  /** Removes the counts and the group of a segment. */
  remove(id: number): void {
    this.#database().remove(countsKey(id));
    this.#database().remove(groupKey(id));
  }

  nextId(): number {
    return this.#database().get(NEXT_SEGMENT)?.readUInt32LE(0) ?? 1;
  }

  setNextId(id: number): void {
    const value = Buffer.alloc(4);
    value.writeUInt32LE(id, 0);
    this.#database().put(NEXT_SEGMENT, value);
  }
}

function countsKey(id: number): Buffer {
  const key = Buffer.allocUnsafe(COUNTS_KEY_BYTES);
  key.writeUInt32BE(id, 0);
  return key;
}

function groupKey(id: number): Buffer {
  return Buffer.concat([Buffer.from('g'), countsKey(id)]);
}
