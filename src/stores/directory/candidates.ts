import { Heap } from '../../util/heap.js';
import { pause } from '../../util/loop-slices.js';

/**
 * Maximum number of files in a list of candidates. With keys of 100 characters, they take about 7 MB, and twice as much during a
 * scan.
 */
export const MAX_CANDIDATES = 32_768;

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
 * A use of a file does not change the list. If the next candidate was used, the caller puts it back with {@link defer}. The list
 * keeps deleted files until they are taken, because a scan may have found a file that was deleted during it.
 */
export class EvictionCandidates {
  readonly #capacity: number;
  #list = new CandidateList();
  /** List from which the last file was taken. A scan may have replaced it since. */
  #takenFrom = this.#list;
  #isTruncated = false;
  /** Number of files that the list had at the end of the scan and that have not been taken since. */
  #untaken = 0;
  /** Keys that this store has deleted since the scan of the list began, with the numbers of the deletions, the oldest first. */
  readonly #deletions = new Map<string, number>();
  #deletionCount = 0;
  /** Number of deletions when the last scan began. */
  #deletionsBeforeScan = 0;
  /** Uploads of new keys since the scan in progress has begun. */
  #uploaded: Map<string, Candidate> | undefined;

  constructor(capacity = MAX_CANDIDATES) {
    this.#capacity = capacity;
  }

  /** Returns an empty collection for the files of a scan. */
  collect(): OldestFiles {
    return new OldestFiles(this.#capacity);
  }

  /** Whether a scan should renew the list before it is used up. */
  get isLow(): boolean {
    return (this.#isTruncated && this.#untaken < this.#capacity / 2) || this.#deletions.size > this.#capacity;
  }

  /** Returns the least recently used file, or undefined if the list is empty. */
  peek(): Candidate | undefined {
    return this.#list.first;
  }

  /** Removes and returns the least recently used file, or undefined if the list is empty. */
  take(): Candidate | undefined {
    this.#untaken--;
    this.#takenFrom = this.#list;
    return this.#list.take();
  }

  /** Puts back the file that was taken last, because it has been used since it was added to the list. */
  defer(file: Candidate, usedAt: number): void {
    if (this.#takenFrom !== this.#list) return; // the new list has the file as well
    this.#list.add({ ...file, usedAt });
  }

  /** Adds an upload under a key that had no file. */
  addUpload(file: Candidate): void {
    if (this.#uploaded !== undefined && this.#uploaded.size < this.#capacity) this.#uploaded.set(file.key, file);
    // A file that was deleted and uploaded again is still in the list.
    if (this.#list.has(file.key)) return;
    this.#isTruncated ||= this.#list.size >= this.#capacity;
    if (!this.#isTruncated) this.#list.add(file);
  }

  /** Records that this store has deleted a file. */
  recordDeletion(key: string): void {
    this.#deletions.delete(key);
    this.#deletions.set(key, ++this.#deletionCount);
    this.#uploaded?.delete(key);
  }

  /**
   * Returns whether another program must have deleted the file that was taken last and does not exist. If a scan has replaced the
   * list since, the file is not part of the result of the scan.
   */
  isLost(key: string): boolean {
    return this.#takenFrom === this.#list && !this.#deletions.has(key);
  }

  beginScan(): void {
    this.#uploaded = new Map();
    this.#deletionsBeforeScan = this.#deletionCount;
  }

  /** Replaces the list by the files that a scan has found, and the uploads since it began. */
  async endScan(found: OldestFiles): Promise<void> {
    const renewed = new CandidateList();
    for (const file of found) {
      if (!this.#uploaded?.has(file.key)) renewed.add(file);
      await pause();
    }
    const uploaded = this.#uploaded?.values() ?? [];
    this.#uploaded = undefined;
    this.#list = renewed;
    this.#isTruncated = found.isTruncated;
    for (const file of uploaded) this.addUpload(file);
    this.#untaken = renewed.size;
    // The scan cannot have found a file that was deleted before it.
    const before = this.#deletionsBeforeScan;
    for (const [key, number] of this.#deletions) {
      if (number > before) break;
      this.#deletions.delete(key);
      await pause();
    }
  }
}

/** Candidates in the order of their last use, each key once. */
class CandidateList {
  readonly #leastRecentFirst = new Heap<Candidate>((a, b) => a.usedAt < b.usedAt);
  readonly #keys = new Set<string>();

  get size(): number {
    return this.#keys.size;
  }

  get first(): Candidate | undefined {
    return this.#leastRecentFirst.first;
  }

  has(key: string): boolean {
    return this.#keys.has(key);
  }

  add(file: Candidate): void {
    this.#keys.add(file.key);
    this.#leastRecentFirst.push(file);
  }

  take(): Candidate | undefined {
    const file = this.#leastRecentFirst.pop();
    if (file !== undefined) this.#keys.delete(file.key);
    return file;
  }
}
