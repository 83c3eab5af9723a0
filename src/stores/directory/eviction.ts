import { lstat, unlink } from 'node:fs/promises';
import { HotblobError } from '../../contract/errors.js';
import type { StoreStats } from '../../contract/store.js';
import { releaseFile } from '../../page-cache/release-file.js';
import { prefixOf } from '../../util/prefix-of.js';
import { TwoGenerationMap } from '../../util/two-generation-map.js';
import type { Sidecars } from './metadata.js';
import { isMissing, removeEmptyParents } from './paths.js';
import { filesBelow, type StoredFile } from './walk.js';

/** Fraction of the limit down to which an eviction frees space, so that not every upload has to scan the directory. */
const LOW_WATERMARK = 0.9;
/**
 * Maximum number of files that are evicted per scan. It limits the list of candidates and the time to sort the list.
 */
const MAX_VICTIMS = 16_384;
/**
 * Number of keys in a generation of the map of last uses. With keys of 100 characters, both generations take about 15
 * MB.
 */
const GENERATION_SIZE = 32_768;

interface Totals {
  artifacts: number;
  bytes: number;
}

interface Scan {
  readonly totals: Totals;
  /** Candidates for eviction, least recently used first. */
  readonly oldest: readonly StoredFile[];
}

/**
 * Keeps the files of a directory within a size limit: unlinks the least recently used files. Open descriptors and
 * mappings of an unlinked file remain valid.
 *
 * The total size is that of the last scan of the directory, plus the uploads since. Other processes may add and delete
 * files; the next scan counts these changes. The last use of a file is the latest of its modification time, its access
 * time and its last use by this process. After a restart, only the times of the file are known. With the mount option
 * `relatime`, the access time can be a day old. Sidecar files do not count, and are removed together with their
 * artifacts.
 */
export class DirectoryEviction {
  readonly #root: string;
  readonly #maxBytes: number;
  readonly #sidecars: Sidecars;
  /**
   * Last use of a key by this process, in milliseconds since 1970. The map is bounded, because lookups of keys that do
   * not exist count too.
   */
  readonly #uses = new TwoGenerationMap<string, number>(GENERATION_SIZE);
  #latestUse = 0;
  /** Upper bound for the contents of the directory, as far as this process knows; undefined before the first scan. */
  #totals: Totals | undefined;
  /**
   * Deletions since the last scan began. They are not subtracted from `#totals`: the scan may or may not have counted
   * the files, and the limit must hold in both cases.
   */
  #deleted: Totals = { artifacts: 0, bytes: 0 };
  #evicted = 0;
  #queue: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  constructor(root: string, maxBytes: number, sidecars: Sidecars) {
    this.#root = root;
    this.#maxBytes = maxBytes;
    this.#sidecars = sidecars;
  }

  /** Records a use of `key`. */
  touch(key: string): void {
    // The times are strictly increasing, so that uses within one millisecond keep their order.
    this.#latestUse = Math.max(Date.now(), this.#latestUse + 0.001);
    this.#uses.set(key, this.#latestUse);
  }

  /** Returns the time of the last use of a file, in milliseconds since 1970. */
  lastUse(file: StoredFile): number {
    return Math.max(this.#uses.get(file.key) ?? 0, file.usedAt);
  }

  /** Records that a file of `bytes` bytes was deleted by a caller of the store. */
  countDeletion(bytes: number): void {
    this.#deleted.artifacts++;
    this.#deleted.bytes += bytes;
  }

  /** Returns statistics: the result of the last scan, plus the uploads and deletions of this process since then. */
  stats(): StoreStats {
    const totals = this.#totals;
    const remaining = totals && {
      artifacts: Math.max(0, totals.artifacts - this.#deleted.artifacts),
      bytes: Math.max(0, totals.bytes - this.#deleted.bytes),
    };
    return { ...remaining, maxBytes: this.#maxBytes, evicted: this.#evicted };
  }

  /** Scans the directory in the background. Does not evict files; only uploads do. */
  startScan(): void {
    this.#runExclusively(async () => {
      await this.#scan();
    }).catch(() => {}); // the first upload scans again, and reports the error
  }

  /**
   * Evicts files until `bytes` more bytes fit. Then calls `place`, which puts a file of that size under `key` and
   * resolves to the size of the replaced file, if any. Calls run one at a time, so that the limit holds and the totals
   * are correct after each call.
   *
   * @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` if the remaining files cannot be deleted
   * @throws the error of the system call or of `place`, or the reason of `signal`
   */
  add<T extends { readonly replacedBytes: number | undefined }>(
    key: string,
    bytes: number,
    signal: AbortSignal | undefined,
    place: () => Promise<T>,
  ): Promise<T> {
    return this.#runExclusively(async () => {
      signal?.throwIfAborted();
      let totals = this.#totals;
      if (totals === undefined || totals.bytes + bytes > this.#maxBytes) {
        totals = await this.#evictFor(bytes);
      }
      const placed = await place();
      totals.bytes += bytes - (placed.replacedBytes ?? 0);
      if (placed.replacedBytes === undefined) totals.artifacts++;
      this.touch(key);
      return placed;
    });
  }

  /** Cancels a scan in flight and waits for calls of {@link add}. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#queue;
  }

  #runExclusively<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(task);
    this.#queue = result.catch(() => {});
    return result;
  }

  async #evictFor(bytes: number): Promise<Totals> {
    for (;;) {
      const { totals, oldest } = await this.#scan();
      if (totals.bytes + bytes <= this.#maxBytes) return totals;
      let evicted = 0;
      for (const file of oldest) {
        if (totals.bytes + bytes <= this.#maxBytes * LOW_WATERMARK) break;
        if (!(await this.#evict(file.key))) continue;
        evicted++;
        totals.artifacts--;
        totals.bytes -= file.bytes;
      }
      this.#evicted += evicted;
      if (totals.bytes + bytes <= this.#maxBytes) return totals;
      if (evicted === 0) {
        const message =
          `cannot evict: files that this process may not delete take ${totals.bytes} of ${this.#maxBytes} bytes in ` +
          `'${this.#root}'; correct their permissions or raise maxBytes`;
        throw new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message);
      }
    }
  }

  /** Unlinks a file. Resolves to whether the file no longer exists. */
  async #evict(key: string): Promise<boolean> {
    const path = prefixOf(this.#root) + key;
    try {
      const body = await lstat(path, { bigint: true });
      await unlink(path);
      await releaseFile(path);
      await this.#sidecars.remove(key, body);
    } catch (error) {
      return isMissing(error);
    }
    await removeEmptyParents(this.#root, path);
    return true;
  }

  /** Determines the total size of the directory and its least recently used files. */
  async #scan(): Promise<Scan> {
    this.#deleted = { artifacts: 0, bytes: 0 };
    const totals = { artifacts: 0, bytes: 0 };
    const oldest: StoredFile[] = [];
    const dropRecent = (): void => {
      oldest.sort((a, b) => a.usedAt - b.usedAt);
      oldest.splice(MAX_VICTIMS);
    };
    for await (const files of filesBelow(this.#root, () => this.#isClosed)) {
      for (const file of files) {
        totals.artifacts++;
        totals.bytes += file.bytes;
        oldest.push({ ...file, usedAt: this.lastUse(file) });
      }
      if (oldest.length >= 2 * MAX_VICTIMS) dropRecent();
    }
    dropRecent();
    this.#totals = totals;
    return { totals, oldest };
  }
}
