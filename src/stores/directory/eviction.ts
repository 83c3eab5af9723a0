import { lstat, unlink } from 'node:fs/promises';
import { HotblobError } from '../../contract/errors.js';
import type { StoreStats } from '../../contract/store.js';
import { releaseFile } from '../../page-cache/release-file.js';
import { isMissing } from '../../util/missing-file.js';
import { prefixOf } from '../../util/prefix-of.js';
import { TwoGenerationMap } from '../../util/two-generation-map.js';
import { DIRECTORY_BYTES, OWN_DIRECTORIES_BYTES } from './disk-usage.js';
import type { Sidecars } from './metadata.js';
import { RESERVED_NAME, removeEmptyParents, UPLOADS_NAME } from './paths.js';
import { Reservation } from './reservation.js';
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
 * Keeps the disk usage of a directory within a limit by unlinking the least recently used files. Open descriptors and
 * mappings of an unlinked file stay valid.
 *
 * The usage is known from a scan of the directory plus the uploads since. It includes directories, the files below `.hotblob` and
 * the bytes of uploads in flight. Other processes may add and delete files; the next scan counts these changes. The last use of a file is the latest of its modification time, its access time and
 * its last use by this process. After a restart only the file times are left; with the mount option `relatime` the access
 * time can be a day old.
 */
export class DirectoryEviction {
  readonly #root: string;
  readonly #maxBytes: number;
  readonly #sidecars: Sidecars;
  readonly #isOwnUpload: (key: string) => boolean;
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
  /** Bytes of the reservations of uploads in flight. */
  #reserved = 0;
  /** Ends of uploads that have been received completely. Their artifacts can be evicted then. */
  readonly #completed = new Set<Promise<void>>();
  #evicted = 0;
  #queue: Promise<unknown> = Promise.resolve();
  #isClosed = false;

  /** @param isOwnUpload whether a path below `.hotblob` is a temporary file of this store, for which it has a reservation */
  constructor(root: string, maxBytes: number, sidecars: Sidecars, isOwnUpload: (path: string) => boolean) {
    this.#root = root;
    this.#maxBytes = maxBytes;
    this.#sidecars = sidecars;
    this.#isOwnUpload = isOwnUpload;
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

  /** Records that this store has deleted artifacts or sidecar files, and freed `bytes` on the disk. */
  countDeletion(artifacts: number, bytes: number): void {
    this.#deleted.artifacts += artifacts;
    this.#deleted.bytes += bytes;
  }

  /** Returns statistics: the result of the last scan, plus the uploads and deletions of this process since then. */
  stats(): StoreStats {
    const totals = this.#totals;
    const remaining = totals && {
      artifacts: Math.max(0, totals.artifacts - this.#deleted.artifacts),
      bytes: Math.max(0, totals.bytes - this.#deleted.bytes) + this.#reserved,
    };
    return { ...remaining, maxBytes: this.#maxBytes, evicted: this.#evicted };
  }

  /** Scans the directory in the background. Does not evict files; only uploads do. */
  startScan(): void {
    this.#runExclusively(async () => {
      await this.#scan();
    }).catch(() => {}); // the first upload scans again, and reports the error
  }

  /** Returns a reservation of 0 bytes for an upload. */
  createReservation(signal: AbortSignal | undefined): Reservation {
    return new Reservation({
      take: async (bytes) => {
        await this.#reserve(bytes, signal);
        return this.#totals !== undefined;
      },
      giveBack: (bytes) => this.#release(bytes),
      completed: this.#completed,
    });
  }

  /**
   * Calls `place`, which puts an upload under `key`, and counts it as a part of the directory. `place` resolves to the bytes on
   * the disk by which the usage grew. Calls run one at a time, so that the totals are right between two calls.
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
      if (!reservation.isChecked || missingBytes > 0) {
        if (this.#totals === undefined) await this.#scan();
        if (!(await this.#makeRoom(missingBytes))) throw this.#fullError();
      }
      const placed = await place().finally(() => this.#release(missingBytes));
      reservation.release();
      const totals = this.#totals;
      if (totals !== undefined) {
        totals.bytes += placed.addedBytes;
        if (placed.isNew) totals.artifacts++;
      }
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

  async #reserve(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#tryToReserve(bytes)) return;
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

  #tryToReserve(bytes: number): boolean {
    if (this.#excess(bytes, this.#maxBytes) > 0) return false;
    this.#reserved += bytes;
    return true;
  }

  /** Returns the bytes to free before `bytes` more fit into `limit`. Before the first scan, only reservations are known. */
  #excess(bytes: number, limit: number): number {
    return (this.#totals?.bytes ?? 0) + this.#reserved + bytes - limit;
  }

  /** Reserves `bytes`, and evicts files if necessary. Resolves to false if nothing more can be evicted. */
  async #makeRoom(bytes: number): Promise<boolean> {
    while (!this.#tryToReserve(bytes)) {
      const { totals, oldest } = await this.#scan();
      if (this.#tryToReserve(bytes)) return true;
      let evicted = 0;
      for (const file of oldest) {
        if (this.#excess(bytes, this.#maxBytes * LOW_WATERMARK) <= 0) break;
        const freedBytes = await this.#evict(file);
        if (freedBytes === undefined) continue;
        evicted++;
        totals.artifacts--;
        totals.bytes -= freedBytes;
      }
      this.#evicted += evicted;
      if (evicted === 0) return false;
    }
    return true;
  }

  #fullError(): HotblobError {
    const message =
      `maxBytes: no space for an upload: of ${this.#maxBytes} bytes, uploads in flight take ${this.#reserved}, and files that ` +
      `this process may not delete ${this.#totals?.bytes ?? 0} in '${this.#root}'; retry when fewer uploads are in flight, ` +
      'correct the permissions of the files, or raise maxBytes';
    return new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message);
  }

  /** Unlinks a file. Resolves to the bytes that this freed, or undefined if the file cannot be deleted. */
  async #evict({ key, diskBytes }: StoredFile): Promise<number | undefined> {
    const path = prefixOf(this.#root) + key;
    let freedBytes = diskBytes;
    try {
      const body = await lstat(path, { bigint: true });
      await unlink(path);
      await releaseFile(path);
      freedBytes += await this.#sidecars.remove(key, body);
    } catch (error) {
      return isMissing(error) ? freedBytes : undefined;
    }
    return freedBytes + (await removeEmptyParents(this.#root, path)) * DIRECTORY_BYTES;
  }

  /** Determines the total size of the directory and its least recently used files. */
  async #scan(): Promise<Scan> {
    this.#deleted = { artifacts: 0, bytes: 0 };
    const totals = { artifacts: 0, bytes: OWN_DIRECTORIES_BYTES };
    const oldest: StoredFile[] = [];
    const isCancelled = (): boolean => this.#isClosed;
    const countDirectory = (): void => {
      totals.bytes += DIRECTORY_BYTES;
    };
    const countOwnDirectory = (path: string): void => {
      if (path !== UPLOADS_NAME) countDirectory();
    };
    const dropRecent = (): void => {
      oldest.sort((a, b) => a.usedAt - b.usedAt);
      oldest.splice(MAX_VICTIMS);
    };
    for await (const files of filesBelow(this.#root, isCancelled, countDirectory)) {
      for (const file of files) {
        totals.artifacts++;
        totals.bytes += file.diskBytes;
        oldest.push({ ...file, usedAt: this.lastUse(file) });
      }
      if (oldest.length >= 2 * MAX_VICTIMS) dropRecent();
    }
    dropRecent();
    for await (const files of filesBelow(prefixOf(this.#root) + RESERVED_NAME, isCancelled, countOwnDirectory)) {
      for (const { key, diskBytes } of files) if (!this.#isOwnUpload(key)) totals.bytes += diskBytes;
    }
    this.#totals = totals;
    return { totals, oldest };
  }
}
