import { lstat, unlink } from 'node:fs/promises';
import type { HotblobError } from '../../contract/errors.js';
import type { StoreStats } from '../../contract/store.js';
import { releaseFile } from '../../page-cache/release-file.js';
import { pause } from '../../util/loop-slices.js';
import { isMissing } from '../../util/missing-file.js';
import { prefixOf } from '../../util/prefix-of.js';
import { TwoGenerationMap } from '../../util/two-generation-map.js';
import { type Candidate, EvictionCandidates } from './candidates.js';
import { DIRECTORY_BYTES, diskBytesOf } from './disk-usage.js';
import type { Sidecars } from './metadata.js';
import { removeEmptyParents } from './paths.js';
import { Renewal } from './renewal.js';
import { fullError, Reservation } from './reservation.js';
import { type ScanContext, scanDirectory } from './scan.js';
import { DirectoryUsage } from './usage.js';
import { lastUseOf, type StoredFile } from './walk.js';

/**
 * Number of keys in a generation of the map of last uses. With keys of 100 characters, both generations take about 15
 * MB.
 */
const GENERATION_SIZE = 32_768;

/**
 * Keeps the disk usage of a directory within a limit by unlinking the least recently used files. Open descriptors and
 * mappings of an unlinked file stay valid.
 *
 * The usage and the candidates for eviction are in memory. A scan in the background determines them at the start. Further scans
 * renew them when candidates run out, or when other programs may have changed the directory. Uploads wait for a scan only if
 * there are no candidates. If the directory is above its limit, for example because of files of other programs, an upload evicts
 * only as much as it adds; the rest is evicted in the background.
 *
 * The usage includes directories, the files below `.hotblob` and the bytes of uploads in flight. The last use of a file is the
 * latest of its modification time, its access time and its last use by this process. After a restart only the file times are left;
 * with the mount option `relatime` the access time can be a day old.
 */
export class DirectoryEviction {
  readonly #root: string;
  readonly #maxBytes: number;
  readonly #sidecars: Sidecars;
  readonly #candidates = new EvictionCandidates();
  readonly #usage = new DirectoryUsage();
  /**
   * Last use of a key by this process, in milliseconds since 1970. The map is bounded, because lookups of keys that do
   * not exist count too.
   */
  readonly #uses = new TwoGenerationMap<string, number>(GENERATION_SIZE);
  #latestUse = 0;
  /** Bytes of the reservations of uploads in flight. */
  #reserved = 0;
  /** Ends of uploads that have been received completely. Their artifacts can be evicted then. */
  readonly #completed = new Set<Promise<void>>();
  #evicted = 0;
  #queue: Promise<unknown> = Promise.resolve();
  readonly #renewal: Renewal;
  #isEvictingExcess = false;
  #hasUploads = false;
  #isClosed = false;

  /** @param isUncounted see {@link ScanContext.isUncounted} */
  constructor(root: string, maxBytes: number, sidecars: Sidecars, isUncounted: ScanContext['isUncounted']) {
    this.#root = root;
    this.#maxBytes = maxBytes;
    this.#sidecars = sidecars;
    this.#renewal = new Renewal({
      maxBytes,
      usage: this.#usage,
      candidates: this.#candidates,
      scan: (onProgress) =>
        scanDirectory(root, {
          isUncounted,
          lastUse: (file) => this.lastUse(file),
          onProgress,
          isCancelled: () => this.#isClosed,
        }),
      onRenewed: () => {
        if (this.#hasUploads) void this.#evictExcess();
      },
    });
  }

  /** Records a use of `key`. */
  touch(key: string): void {
    // The times are strictly increasing, so that uses within one millisecond keep their order.
    this.#latestUse = Math.max(Date.now(), this.#latestUse + 0.001);
    this.#uses.set(key, this.#latestUse);
  }

  /** Returns the time of the last use of a file, in milliseconds since 1970. */
  lastUse({ key, usedAt }: Pick<StoredFile, 'key' | 'usedAt'>): number {
    return Math.max(this.#uses.get(key) ?? 0, usedAt);
  }

  /**
   * Runs an operation that changes the directory and counts the change with {@link countDeletion} or {@link countBytes}. See
   * {@link DirectoryUsage.during}.
   */
  during<T>(operation: () => Promise<T>): Promise<T> {
    return this.#usage.during(operation);
  }

  /** Like {@link during}, but the operation runs neither during an eviction nor while an upload is placed. */
  exclusively<T>(operation: () => Promise<T>): Promise<T> {
    return this.#runExclusively(() => this.#usage.during(operation));
  }

  /** Records that this store has deleted the artifact `key`, and freed `bytes` on the disk. */
  countDeletion(key: string, bytes: number): void {
    this.#candidates.recordDeletion(key);
    this.#usage.change(-1, -bytes);
  }

  /** Records that the usage grew by `bytes`, which are negative if this store has freed space, but not by an artifact. */
  countBytes(bytes: number): void {
    this.#usage.change(0, bytes);
  }

  /** Returns statistics: the result of the last scan, plus the changes of this process since then. */
  stats(): StoreStats {
    const totals = this.#usage.totals;
    const current = totals && {
      artifacts: Math.max(0, totals.artifacts),
      bytes: Math.max(0, totals.bytes) + this.#reserved,
    };
    return { ...current, maxBytes: this.#maxBytes, evicted: this.#evicted };
  }

  /** Scans the directory in the background. Does not evict files; only uploads do. */
  startScan(): void {
    this.#renewal.start();
  }

  /** See {@link Renewal.awaitUsage}. */
  awaitUsage(signal: AbortSignal | undefined): Promise<void> {
    return this.#renewal.awaitUsage(signal);
  }

  /** Returns a reservation of 0 bytes for an upload. */
  createReservation(signal: AbortSignal | undefined): Reservation {
    return new Reservation({
      take: (bytes) => this.#reserve(bytes, signal),
      giveBack: (bytes) => this.#release(bytes),
      completed: this.#completed,
    });
  }

  /**
   * Calls `place`, which puts an upload under `key`, and counts it as a part of the directory. `place` resolves to the bytes on
   * the disk by which the usage grew. Calls run one at a time, and never during an eviction.
   *
   * @param reservation space of the upload, which this releases
   * @param bytes bytes that the upload takes at most on the disk
   * @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` if there is no space and nothing more can be evicted
   * @throws the error of the system or of `place`, or the reason of `signal`
   */
  add<T extends { readonly addedBytes: number; readonly isNew: boolean }>(
    key: string,
    reservation: Reservation,
    bytes: number,
    signal: AbortSignal | undefined,
    place: () => Promise<T>,
  ): Promise<T> {
    return this.#runExclusively(async () => {
      signal?.throwIfAborted();
      const missingBytes = Math.max(0, bytes - reservation.bytes);
      if (missingBytes > 0 && !(await this.#makeRoom(missingBytes))) throw this.#fullError();
      const placed = await this.#usage.during(async () => {
        const result = await place().finally(() => this.#release(missingBytes));
        reservation.release();
        this.touch(key);
        this.#usage.change(result.isNew ? 1 : 0, result.addedBytes);
        if (result.isNew) this.#candidates.addUpload({ key, diskBytes: result.addedBytes, usedAt: this.#latestUse });
        return result;
      });
      this.#hasUploads = true;
      this.#renewal.startIfDue();
      return placed;
    });
  }

  /** Cancels a scan in progress and waits for calls of {@link add}. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#queue;
    await this.#renewal.current?.catch(() => {});
  }

  #runExclusively<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(task);
    this.#queue = result.catch(() => {});
    return result;
  }

  async #reserve(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#tryToReserve(bytes, 0)) return;
    for (;;) {
      const isReserved = await this.#runExclusively(async () => {
        signal?.throwIfAborted();
        return this.#makeRoom(bytes);
      });
      if (isReserved) return;
      if (this.#completed.size === 0) throw this.#fullError();
      await Promise.race(this.#completed);
    }
  }

  #release(bytes: number): void {
    this.#reserved -= bytes;
  }

  /** Reserves `bytes` if at most `excess` bytes above the limit are in use then. */
  #tryToReserve(bytes: number, excess: number): boolean {
    if (this.#usedBytes + bytes > this.#maxBytes + excess) return false;
    this.#reserved += bytes;
    return true;
  }

  /** Before the first scan has ended, only reservations are known. */
  get #usedBytes(): number {
    return (this.#usage.totals?.bytes ?? 0) + this.#reserved;
  }

  /**
   * Reserves `bytes`, and evicts files if necessary. If the limit was exceeded before, frees only as many bytes as it reserves.
   * Resolves to false if nothing more can be evicted.
   */
  async #makeRoom(bytes: number): Promise<boolean> {
    const excess = Math.max(0, this.#usedBytes - this.#maxBytes);
    let hasScanned = false;
    while (!this.#tryToReserve(bytes, excess)) {
      if (await this.#evictNext()) continue;
      if (hasScanned) return false;
      // A scan in progress may have passed the files already that were added since the last one.
      await this.#renewal.current;
      await this.#renewal.run();
      hasScanned = true;
    }
    if (excess > 0) void this.#evictExcess();
    return true;
  }

  /** Evicts files until the limit holds. */
  async #evictExcess(): Promise<void> {
    if (this.#isEvictingExcess) return;
    this.#isEvictingExcess = true;
    let isEvicted = true;
    while (isEvicted && this.#usedBytes > this.#maxBytes && !this.#isClosed) {
      isEvicted = await this.#runExclusively(() => this.#evictNext());
      if (isEvicted) this.#renewal.startIfDue();
    }
    this.#isEvictingExcess = false;
  }

  /** Frees the space of the least recently used file. Resolves to false if there is no file that this process may delete. */
  async #evictNext(): Promise<boolean> {
    for (let file = this.#candidates.take(); file !== undefined; file = this.#candidates.take()) {
      await pause();
      const usedAt = this.lastUse(file);
      if (usedAt > file.usedAt) this.#candidates.defer(file, usedAt);
      else if (await this.#usage.during(() => this.#evict(file))) return true;
    }
    return false;
  }

  /** Unlinks a file unless it has been used since it became a candidate. Resolves to whether this frees space. */
  async #evict(file: Candidate): Promise<boolean> {
    const { key } = file;
    const path = prefixOf(this.#root) + key;
    try {
      const body = await lstat(path, { bigint: true });
      // A time in the future says nothing new. If it counted as the current time, the file would be deferred for ever.
      const usedAt = lastUseOf(body, 0);
      if (usedAt > file.usedAt) {
        this.#candidates.defer(file, usedAt);
        return false;
      }
      await unlink(path);
      this.#candidates.recordDeletion(key);
      await releaseFile(path);
      const sidecarBytes = await this.#sidecars.remove(key, body);
      const directories = await removeEmptyParents(this.#root, path);
      const bytes = diskBytesOf(body) + sidecarBytes + directories * DIRECTORY_BYTES;
      this.#usage.change(-1, -bytes);
      this.#evicted++;
      this.#renewal.countEviction(bytes);
      return true;
    } catch (error) {
      if (!isMissing(error) || !this.#candidates.isLost(key)) return false;
      this.#usage.change(-1, -file.diskBytes);
      this.#renewal.markStale();
      return true;
    }
  }

  #fullError(): HotblobError {
    return fullError(this.#root, this.#maxBytes, this.#reserved, this.#usage.totals?.bytes ?? 0);
  }
}
