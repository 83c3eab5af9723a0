import { lstat } from 'node:fs/promises';
import { fingerprintOf } from '../../util/fingerprint-table.js';
import { pause } from '../../util/loop-slices.js';
import { PeriodicTask } from '../../util/periodic-task.js';
import type { Permissions } from '../../util/permissions.js';
import { prefixOf } from '../../util/prefix-of.js';
import { TwoGenerationMap } from '../../util/two-generation-map.js';
import { UseLog, type UseRecord } from './use-log.js';
import { lastUseOf, type StoredFile } from './walk.js';

/**
 * Number of keys in a generation of the map of last uses. With keys of 100 characters, both generations take about 15
 * MB.
 */
const GENERATION_SIZE = 32_768;
const MINUTE_MS = 60_000;
/** A last use is written again when it is so many minutes later than the one that is known from the disk. */
const STORED_PRECISION = 60;
/** Interval at which last uses are written to the disk. */
const WRITE_INTERVAL_MS = 60_000;
/** Number of records that are kept for another attempt if the log cannot be written. */
const MAX_UNWRITTEN = 65_536;

/** Key with the interval of its last use, so that uses within an interval need not be recorded. */
export interface UsedKey {
  readonly ownKey: string;
  usedIn: number | undefined;
}

/**
 * Last uses of the files of a directory. The last use of a file is the latest of its modification time, its access time, its last
 * use by this process, and its last use in the log of all processes.
 */
export class LastUses {
  readonly #root: string;
  readonly #log: UseLog;
  /**
   * Last use of a key by this process, in milliseconds since 1970. The map is bounded, because lookups of keys that do
   * not exist count too.
   */
  readonly #uses = new TwoGenerationMap<string, number>(GENERATION_SIZE);
  #latest = 0;
  /** Value of {@link #latest} when the last uses were written to the log. */
  #flushed = 0;
  #unwritten: UseRecord[] = [];
  /** Number of the current interval. */
  #interval = 0;
  #task: PeriodicTask | undefined;

  constructor(root: string, permissions: Permissions) {
    this.#root = root;
    this.#log = new UseLog(root, permissions);
  }

  /**
   * Begins to write last uses to the disk.
   *
   * @param onGrown called with the bytes by which the log grew, which may be negative
   */
  start(onGrown: (bytes: number) => void): void {
    this.#task = new PeriodicTask(WRITE_INTERVAL_MS, async () => {
      this.#interval++;
      onGrown(await this.#write());
    });
  }

  /** Writes the last uses a last time. Never rejects. */
  async close(): Promise<void> {
    if (this.#task === undefined) return; // the store is read-only
    await this.#task.stop();
    await this.#write().catch(() => {}); // a full or failing disk
  }

  /** Like {@link record}, but the order of uses within an interval is not known then. Takes only nanoseconds. */
  recordOnce(used: UsedKey): void {
    if (used.usedIn === this.#interval) return;
    used.usedIn = this.#interval;
    this.record(used.ownKey);
  }

  /** Records a use of `key`, and returns its time. */
  record(key: string): number {
    // The times are strictly increasing, so that uses within one millisecond keep their order.
    this.#latest = Math.max(Date.now(), this.#latest + 0.001);
    this.#uses.set(key, this.#latest);
    return this.#latest;
  }

  /** Returns the time of the last use of a file, in milliseconds since 1970. Call {@link load} before. */
  of({ key, usedAt }: Pick<StoredFile, 'key' | 'usedAt'>): number {
    const logged = (this.#log.get(key) ?? 0) * MINUTE_MS;
    // A time in the future was recorded before the clock was set back.
    return Math.max(this.#uses.get(key) ?? 0, usedAt, logged > Date.now() ? 0 : logged);
  }

  /** Reads the log, once. Never rejects. */
  load(): Promise<void> {
    return this.#log.load();
  }

  /**
   * Runs a scan. The log forgets the artifacts that the scan does not find.
   *
   * @param scan calls its argument for each file that it finds. Resolves to undefined if it was cancelled.
   */
  async duringScan<T>(scan: (lastUse: (file: StoredFile) => number) => Promise<T | undefined>): Promise<T | undefined> {
    await this.load();
    this.#log.beginScan();
    let result: T | undefined;
    try {
      result = await scan((file) => {
        this.#log.keep(file.key);
        if (!file.isFuture) return this.of(file);
        // The next scan must not count it as used just now again, or it would never expire.
        const usedAt = this.of({ key: file.key, usedAt: 0 });
        if (usedAt === 0) this.#log.set(fingerprintOf(file.key), Math.floor(Date.now() / MINUTE_MS));
        return usedAt || file.usedAt;
      });
      return result;
    } finally {
      this.#log.endScan(result !== undefined);
    }
  }

  /**
   * Writes the uses since the last call to the log, unless the log or the times of the file on the disk are less than an hour
   * older. Resolves to the bytes by which the log grew.
   *
   * @throws the system's error. The uses are written by the next call then.
   */
  async #write(): Promise<number> {
    await this.correctClock();
    if (this.#latest === this.#flushed && this.#unwritten.length === 0) return 0;
    await this.load();
    const since = this.#flushed;
    this.#flushed = this.#latest;
    const records = this.#unwritten;
    for (const [key, usedAt] of this.#uses) {
      if (usedAt > since) await this.#addRecord(key, Math.floor(usedAt / MINUTE_MS), records);
      await pause();
    }
    if (records.length === 0) return 0;
    try {
      const bytes = await this.#log.append(records);
      this.#unwritten = [];
      return bytes;
    } catch (error) {
      this.#unwritten = records.slice(-MAX_UNWRITTEN);
      throw error;
    }
  }

  /** If the clock was set back, makes later uses count as uses now. Otherwise, their artifacts would not expire. */
  async correctClock(): Promise<void> {
    const now = Date.now();
    if (this.#latest <= now + MINUTE_MS) return;
    this.#latest = now;
    this.#flushed = Math.min(this.#flushed, now);
    for (const [key, usedAt] of this.#uses) {
      if (usedAt > now) this.#uses.set(key, now);
      await pause();
    }
  }

  async #addRecord(key: string, minute: number, records: UseRecord[]): Promise<void> {
    const isRecent = (stored: number): boolean => minute - stored < STORED_PRECISION && stored <= minute;
    const logged = this.#log.get(key);
    if (logged !== undefined && isRecent(logged)) return;
    // Only artifacts that exist are recorded, because clients may look up any key.
    const stats = await lstat(prefixOf(this.#root) + key).catch(() => undefined);
    if (stats?.isFile() !== true) return;
    const fingerprint = fingerprintOf(key);
    const stored = Math.floor(lastUseOf(stats, 0) / MINUTE_MS);
    if (isRecent(stored)) {
      this.#log.set(fingerprint, stored);
    } else {
      this.#log.set(fingerprint, minute);
      records.push([fingerprint, minute]);
    }
  }
}
