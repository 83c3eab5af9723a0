import { Heap } from '../../util/heap.js';
import { pause } from '../../util/loop-slices.js';

/**
 * Maximum number of files in a list of candidates. With keys of 100 characters, they take about 7 MB, and twice as much during a
 * scan.
 */
const MAX_CANDIDATES = 32_768;

/** File that can be evicted. */
export interface Candidate {
  /** Path relative to the root. */
  readonly key: string;
  /** Bytes that the file took on the disk when it was found. */
  readonly diskBytes: number;
  /** Last use of the file that is known, in milliseconds since 1970. */
  readonly usedAt: number;
}

/** Least recently used files of a scan in progress. */
export class OldestFiles {
  readonly #capacity: number;
  readonly #newestFirst = new Heap<Candidate>((a, b) => a.usedAt > b.usedAt);
  /** Whether the scan has found more files. */
  isTruncated = false;

  constructor(capacity = MAX_CANDIDATES) {
    this.#capacity = capacity;
  }

  add(file: Candidate): void {
    this.#newestFirst.push(file);
    if (this.#newestFirst.size <= this.#capacity) return;
    this.#newestFirst.pop();
    this.isTruncated = true;
  }

  [Symbol.iterator](): IterableIterator<Candidate> {
    return this.#newestFirst[Symbol.iterator]();
  }
}

/**
 * Files of a directory in the order of their last use. The list has all files, or the least recently used ones if there are more
 * than fit. A truncated list gets no new uploads, because all files that it lacks were used before them.
 *
 * A use of a file does not change the list. If the next candidate was used, the caller puts it back with {@link defer}.
 */
export class EvictionCandidates {
  readonly #capacity: number;
  #leastRecentFirst = leastRecentFirst();
  /** List from which the last file was taken. A scan may have replaced it since. */
  #takenFrom = this.#leastRecentFirst;
  #isTruncated = false;
  /** Number of files that the list had at the end of the scan and that have not been taken since. */
  #untaken = 0;
  /** Keys of files that this store has deleted although they may be in the list. */
  #deleted = new Set<string>();
  /** The same for the list that is being replaced. */
  #deletedBefore: ReadonlySet<string> = new Set();
  /** Uploads of new keys since the scan in progress has begun. */
  #uploaded: Map<string, Candidate> | undefined;

  constructor(capacity = MAX_CANDIDATES) {
    this.#capacity = capacity;
  }

  /** Whether a scan should renew the list before it is used up. */
  get isLow(): boolean {
    return (this.#isTruncated && this.#untaken < this.#capacity / 2) || this.#deleted.size > this.#capacity;
  }

  /** Removes and returns the least recently used file, or undefined if the list is empty. */
  take(): Candidate | undefined {
    this.#untaken--;
    this.#takenFrom = this.#leastRecentFirst;
    return this.#leastRecentFirst.pop();
  }

  /** Puts back the file that was taken last, because it has been used since it was added to the list. */
  defer(file: Candidate, usedAt: number): void {
    if (this.#takenFrom !== this.#leastRecentFirst) return; // the new list has the file as well
    this.#leastRecentFirst.push({ ...file, usedAt });
  }

  /** Adds an upload under a key that had no file. */
  addUpload(file: Candidate): void {
    if (this.#uploaded !== undefined && this.#uploaded.size < this.#capacity) this.#uploaded.set(file.key, file);
    // A file that was deleted and uploaded again is still in the list.
    if (this.#deleted.delete(file.key)) return;
    this.#isTruncated ||= this.#leastRecentFirst.size >= this.#capacity;
    if (!this.#isTruncated) this.#leastRecentFirst.push(file);
  }

  /** Records that this store has deleted a file. The list may have it, or the scan in progress may have found it. */
  recordDeletion(key: string): void {
    this.#deleted.add(key);
    this.#uploaded?.delete(key);
  }

  /** Records that the file which was taken last is deleted. A scan may have found it since it was taken. */
  recordEviction(key: string): void {
    if (this.#uploaded !== undefined || this.#takenFrom !== this.#leastRecentFirst) this.recordDeletion(key);
  }

  /** Records that a file which was taken does not exist. Returns whether this store has deleted it. */
  recordMissing(key: string): boolean {
    // The new list may have the file as well.
    if (this.#uploaded !== undefined) return this.#deleted.has(key) || this.#deletedBefore.has(key);
    return this.#deleted.delete(key);
  }

  beginScan(): void {
    this.#uploaded = new Map();
  }

  /** Replaces the list by the files that a scan has found, and the uploads since it began. */
  async endScan(found: OldestFiles): Promise<void> {
    const deleted = this.#deleted;
    this.#deletedBefore = deleted;
    this.#deleted = new Set();
    const renewed = leastRecentFirst();
    const keys = new Set<string>();
    for (const file of found) {
      if (!deleted.has(file.key) && !this.#uploaded?.has(file.key)) {
        renewed.push(file);
        keys.add(file.key);
      }
      await pause();
    }
    const uploaded = this.#uploaded?.values() ?? [];
    this.#uploaded = undefined;
    this.#deletedBefore = new Set();
    this.#leastRecentFirst = renewed;
    this.#isTruncated = found.isTruncated;
    // A file that was evicted and uploaded again in the loop above is in the new list already.
    for (const file of uploaded) if (!keys.has(file.key)) this.addUpload(file);
    this.#untaken = renewed.size;
  }
}

function leastRecentFirst(): Heap<Candidate> {
  return new Heap((a, b) => a.usedAt < b.usedAt);
}
