import type { HotblobError } from '../../contract/errors.js';
import type { StoreStats } from '../../contract/store.js';
import type { RetentionRules } from '../retention/rules.js';
import { ExclusiveQueue } from './exclusive-queue.js';
import { Expiry } from './expiry.js';
import { type DirectoryGroup, DirectoryGroups } from './groups.js';
import type { LastUses } from './last-uses.js';
import type { Sidecars } from './metadata.js';
import { Removals } from './removals.js';
import { Renewal } from './renewal.js';
import { fullError, Reservation } from './reservation.js';
import { type ScanContext, scanDirectory } from './scan.js';
import { DirectoryUsage } from './usage.js';

/** Limits of a directory, and the parts of its store that an eviction needs. */
export interface EvictionContext {
  readonly root: string;
  /** Infinity if only the rules have limits. */
  readonly maxBytes: number;
  readonly rules: RetentionRules;
  readonly sidecars: Sidecars;
  readonly lastUses: LastUses;
  /** See {@link ScanContext.isUncounted}. */
  readonly isUncounted: ScanContext['isUncounted'];
}

/**
 * Keeps the disk usage of a directory, and of each of its groups, within a limit by unlinking the least recently used files. Open
 * descriptors and mappings of an unlinked file stay valid. Also unlinks files that expire.
 *
 * The usage and the candidates for eviction are in memory. A scan in the background determines them at the start. Further scans
 * renew them when candidates run out, or when other programs may have changed the directory. Uploads wait for a scan only if
 * there are no candidates. If the directory is above its limit, for example because of files of other programs, an upload evicts
 * only as much as it adds; the rest is evicted in the background.
 *
 * The usage includes directories, the files below `.hotblob` and the bytes of uploads in flight.
 */
export class DirectoryEviction {
  readonly #root: string;
  readonly #maxBytes: number;
  readonly #removals: Removals;
  readonly #lastUses: LastUses;
  readonly #groups: DirectoryGroups;
  readonly #usage = new DirectoryUsage();
  /** Bytes of the reservations of uploads in flight. */
  #reserved = 0;
  readonly #queue = new ExclusiveQueue();
  readonly #renewal: Renewal;
  readonly #expiry: Expiry | undefined;
  #isEvictingExcess = false;
  #hasUploads = false;
  #isClosed = false;

  constructor({ root, maxBytes, rules, sidecars, lastUses, isUncounted }: EvictionContext) {
    this.#root = root;
    this.#maxBytes = maxBytes;
    this.#lastUses = lastUses;
    this.#groups = new DirectoryGroups(rules);
    this.#renewal = new Renewal({
      maxBytes,
      maxAgeMs: rules.minAgeMs ?? Number.POSITIVE_INFINITY,
      usage: this.#usage,
      groups: this.#groups.all,
      scan: (onProgress) =>
        lastUses.duringScan((lastUse) =>
          scanDirectory(root, {
            groups: this.#groups,
            isUncounted,
            lastUse,
            onProgress,
            isCancelled: () => this.#isClosed,
          }),
        ),
      onRenewed: () => {
        if (this.#hasUploads) void this.#evictExcess();
        void this.#expiry?.run();
      },
    });
    this.#removals = new Removals({ root, sidecars, lastUses, usage: this.#usage, renewal: this.#renewal });
    if (rules.minAgeMs === undefined) return;
    this.#expiry = new Expiry(rules.minAgeMs, {
      groups: this.#groups.all,
      removals: this.#removals,
      renewal: this.#renewal,
      lastUses,
      runExclusively: (task) => this.#queue.run(task),
    });
  }

  /** Returns the limit in bytes for the artifacts of the rule to which a key belongs. */
  maxBytesOf(key: string): number {
    return this.#groups.of(key).limits.maxBytes;
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
    return this.#queue.run(() => this.#usage.during(operation));
  }

  /** Records that this store has deleted the artifact `key`, and freed `bytes` on the disk. */
  countDeletion(key: string, bytes: number): void {
    const group = this.#groups.of(key);
    group.candidates.recordDeletion(key);
    this.#count(group, -1, -bytes);
  }

  /**
   * Records that the usage grew by `bytes`, which are negative if this store has freed space, but not by an artifact.
   *
   * @param key artifact to which the bytes belong, if any
   */
  countBytes(bytes: number, key?: string): void {
    if (key === undefined) this.#usage.change(0, bytes);
    else this.#count(this.#groups.of(key), 0, bytes);
  }

  /** Returns statistics: the result of the last scan, plus the changes of this process since then. */
  stats(): StoreStats {
    const totals = this.#usage.totals;
    const current = totals && {
      artifacts: Math.max(0, totals.artifacts),
      bytes: Math.max(0, totals.bytes) + this.#reserved,
    };
    return {
      ...current,
      ...(this.#maxBytes !== Number.POSITIVE_INFINITY && { maxBytes: this.#maxBytes }),
      evicted: this.#removals.count,
      ...(this.#expiry !== undefined && { expired: this.#expiry.count }),
    };
  }

  /** Scans the directory in the background. Then removes files that have expired. Only uploads evict other files. */
  startScan(): void {
    this.#renewal.start();
  }

  /** See {@link Renewal.awaitUsage}. */
  awaitUsage(signal: AbortSignal | undefined): Promise<void> {
    return this.#renewal.awaitUsage(signal);
  }

  /** Returns a reservation of 0 bytes for an upload. */
  createReservation(key: string, signal: AbortSignal | undefined): Reservation {
    const group = this.#groups.of(key);
    return new Reservation({
      take: (bytes, ended) => this.#reserve(bytes, group, ended, signal),
      giveBack: (bytes) => this.#release(bytes, group),
      completed: group.completed,
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
    const requestedAt = performance.now();
    return this.#queue.run(async () => {
      signal?.throwIfAborted();
      const group = this.#groups.of(key);
      const missingBytes = Math.max(0, bytes - reservation.bytes);
      if (missingBytes > 0 && !(await this.#makeRoom(missingBytes, group, requestedAt))) throw this.#fullError(group);
      const placed = await this.#usage.during(async () => {
        const result = await place().finally(() => this.#release(missingBytes, group));
        reservation.release();
        const usedAt = this.#lastUses.record(key);
        this.#count(group, result.isNew ? 1 : 0, result.addedBytes);
        if (result.isNew) group.candidates.addUpload({ key, diskBytes: result.addedBytes, usedAt });
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
    await this.#expiry?.stop();
    await this.#queue.idle;
    await this.#renewal.current?.catch(() => {});
  }

  async #reserve(
    bytes: number,
    group: DirectoryGroup,
    ended: Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    if (this.#tryToReserve(bytes, group, 0, 0)) return;
    // One scan is enough: it finds all files, and uploads that end later become candidates.
    const requestedAt = performance.now();
    for (;;) {
      let completed: readonly Promise<void>[] = [];
      const tryOnce = async (): Promise<'reserved' | 'refused' | 'wait'> => {
        signal?.throwIfAborted();
        if (await this.#makeRoom(bytes, group, requestedAt)) return 'reserved';
        completed = this.#groups.completedFor(bytes, group);
        return completed.length === 0 ? 'refused' : 'wait';
      };
      // The next upload may need the space that a refused one gives back.
      const outcome = await this.#queue.run(tryOnce, (result) => (result === 'refused' ? ended : undefined));
      if (outcome === 'reserved') return;
      if (outcome === 'refused') throw this.#fullError(group);
      await Promise.race(completed);
    }
  }

  #release(bytes: number, group: DirectoryGroup): void {
    this.#reserved -= bytes;
    group.reserved -= bytes;
  }

  /** Reserves `bytes` if the store and the group are then above their limits by at most `excess` and `groupExcess`. */
  #tryToReserve(bytes: number, group: DirectoryGroup, excess: number, groupExcess: number): boolean {
    if (this.#usedBytes + bytes > this.#maxBytes + excess) return false;
    if (group.isFull(bytes, groupExcess)) return false;
    this.#reserved += bytes;
    group.reserved += bytes;
    return true;
  }

  /** Before the first scan has ended, only reservations are known. */
  get #usedBytes(): number {
    return (this.#usage.totals?.bytes ?? 0) + this.#reserved;
  }

  get #excess(): number {
    return Math.max(0, this.#usedBytes - this.#maxBytes);
  }

  /**
   * Reserves `bytes` for an upload into a group, and evicts files if necessary. If a limit was exceeded before, frees only as many
   * bytes as it reserves. Resolves to false if nothing more can be evicted.
   *
   * @param requestedAt start of the wait, by `performance.now()`. One scan answers all requests that were waiting when it began:
   *   otherwise, thousands of them would each wait for the scans of all others
   */
  async #makeRoom(bytes: number, group: DirectoryGroup, requestedAt: number): Promise<boolean> {
    const excess = this.#excess;
    const groupExcess = group.excess;
    let hasScanned = false;
    while (!this.#tryToReserve(bytes, group, excess, groupExcess)) {
      const isGroupFull = group.isFull(bytes, groupExcess);
      if (await (isGroupFull ? this.#removals.removeNext([group]) : this.#evictFor(group))) continue;
      if (hasScanned || this.#renewal.latestBegan >= requestedAt) return false;
      // A scan in progress may have passed the files already that were added since the last one.
      await this.#renewal.current;
      await this.#renewal.run();
      hasScanned = true;
    }
    if (excess > 0 || groupExcess > 0) void this.#evictExcess();
    return true;
  }

  /** Evicts a file because the store is full: of an unprotected group, or else of the group of the upload. */
  async #evictFor(group: DirectoryGroup): Promise<boolean> {
    return (await this.#removals.removeNext(this.#groups.unprotected)) || this.#removals.removeNext([group]);
  }

  /** Evicts files until all limits hold. */
  async #evictExcess(): Promise<void> {
    if (this.#isEvictingExcess) return;
    this.#isEvictingExcess = true;
    const evict = async (): Promise<boolean> => {
      const above = this.#groups.all.filter(({ excess }) => excess > 0);
      if (above.length === 0 && this.#excess === 0) return false;
      return this.#removals.removeNext(above.length > 0 ? above : this.#groups.unprotected);
    };
    let isEvicted = true;
    while (isEvicted && !this.#isClosed) {
      isEvicted = await this.#queue.run(evict);
      if (isEvicted) this.#renewal.startIfDue();
    }
    this.#isEvictingExcess = false;
  }

  #count(group: DirectoryGroup, artifacts: number, bytes: number): void {
    this.#usage.change(artifacts, bytes);
    group.usage.change(artifacts, bytes);
  }

  #fullError({ limits, reserved, usage }: DirectoryGroup): HotblobError {
    const isGroupFull = limits.maxBytes < this.#maxBytes && this.#usedBytes < this.#maxBytes;
    if (isGroupFull)
      return fullError(this.#root, limits.maxBytes, reserved, usage.totals?.bytes ?? 0, 'of a rule of retain');
    return fullError(this.#root, this.#maxBytes, this.#reserved, this.#usage.totals?.bytes ?? 0);
  }
}
