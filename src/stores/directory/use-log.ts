import { randomUUID } from 'node:crypto';
import { open, readFile, rename, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { createDirectory } from '../../util/create-directory.js';
import { type Fingerprint, FingerprintTable, fingerprintOf } from '../../util/fingerprint-table.js';
import { pause } from '../../util/loop-slices.js';
import type { Permissions } from '../../util/permissions.js';
import { writeAll } from '../disk-full.js';
import { RESERVED_NAME, UPLOADS_NAME } from './paths.js';

/** Name of the log, below the store's own directory. */
export const USE_LOG_NAME = 'last-uses';
/** A record is a fingerprint and a minute, each number in four bytes. */
const RECORD_BYTES = 12;
/** Number of records that are not worth a rewrite. */
const MIN_OBSOLETE = 4096;

/** Record of the log. The time is in minutes since 1970. */
export type UseRecord = readonly [Fingerprint, number];

/**
 * File with the last uses of artifacts, so that they survive a restart. The access times of the files do not suffice: most mounts
 * update them once a day or not at all, and an artifact that is sent from memory does not touch its file. They cannot be set
 * instead, because this changes the ctime, by which rewritten files are detected, and because Node can set the access time only
 * together with a rounded modification time.
 *
 * The log has the fingerprint of a key, not the key, and the last record of a fingerprint counts. A lost, torn or wrong record
 * only makes an artifact appear as used at another time, so the log is neither synced nor has it checksums.
 */
export class UseLog {
  readonly #directory: string;
  readonly #permissions: Permissions;
  #table = new FingerprintTable();
  /** Uses of the artifacts that a scan in progress has found. */
  #found: FingerprintTable | undefined;
  /** Number of records in the file. */
  #records = 0;
  #loading: Promise<void> | undefined;

  constructor(root: string, permissions: Permissions) {
    this.#directory = join(root, RESERVED_NAME);
    this.#permissions = permissions;
  }

  /** Returns the minute of the last use of a key that is known; undefined if none is. */
  get(key: string): number | undefined {
    return this.#table.size === 0 ? undefined : this.#table.get(fingerprintOf(key));
  }

  /** Records a use in memory. */
  set(fingerprint: Fingerprint, minute: number): void {
    this.#table.set(fingerprint, minute);
    this.#found?.set(fingerprint, minute);
  }

  /** Reads the file, once. Never rejects: without the file, the times of the artifacts' files count. */
  load(): Promise<void> {
    this.#loading ??= this.#load().catch(() => {});
    return this.#loading;
  }

  /** Begins to forget artifacts for which {@link keep} is not called until {@link endScan}. */
  beginScan(): void {
    this.#found = new FingerprintTable();
  }

  keep(key: string): void {
    if (this.#found === undefined || this.#table.size === 0) return;
    const fingerprint = fingerprintOf(key);
    const minute = this.#table.get(fingerprint);
    if (minute !== undefined) this.#found.set(fingerprint, minute);
  }

  /**
   * Ends a scan.
   *
   * @param isComplete whether it has found all artifacts
   */
  endScan(isComplete: boolean): void {
    if (isComplete && this.#found !== undefined) this.#table = this.#found;
    this.#found = undefined;
  }

  /**
   * Appends records to the file. Resolves to the bytes by which it grew, which are negative if it was rewritten.
   *
   * @throws the system's error
   */
  async append(records: readonly UseRecord[]): Promise<number> {
    if (this.#records + records.length > 2 * this.#table.size + MIN_OBSOLETE) return this.#rewrite();
    const handle = await this.#open(USE_LOG_NAME, 'a');
    try {
      const { size } = await handle.stat();
      const torn = size % RECORD_BYTES; // of a process that was killed, or a full disk
      if (torn !== 0) await handle.truncate(size - torn);
      await writeAll(handle, encode(records), size - torn);
      this.#records = (size - torn) / RECORD_BYTES + records.length;
      return records.length * RECORD_BYTES - torn;
    } finally {
      await handle.close();
    }
  }

  async #load(): Promise<void> {
    const bytes = await readFile(join(this.#directory, USE_LOG_NAME));
    this.#records = Math.floor(bytes.byteLength / RECORD_BYTES);
    for (let index = 0; index < this.#records; index++) {
      const offset = index * RECORD_BYTES;
      const fingerprint = { high: bytes.readUInt32LE(offset), low: bytes.readUInt32LE(offset + 4) };
      const minute = bytes.readUInt32LE(offset + 8);
      if (minute > (this.#table.get(fingerprint) ?? 0)) this.set(fingerprint, minute);
      await pause();
    }
  }

  /** Replaces the file by one with a record for each artifact. */
  async #rewrite(): Promise<number> {
    const records: UseRecord[] = [];
    for (const record of this.#table) {
      records.push(record);
      await pause();
    }
    const temporary = join(UPLOADS_NAME, randomUUID()); // if the process is killed, it is removed with stale uploads
    const path = join(this.#directory, temporary);
    try {
      const handle = await this.#open(temporary, 'w');
      await writeAll(handle, encode(records), 0).finally(() => handle.close());
      await rename(path, join(this.#directory, USE_LOG_NAME));
    } catch (error) {
      await unlink(path).catch(() => {});
      throw error;
    }
    const grown = records.length - this.#records;
    this.#records = records.length;
    return grown * RECORD_BYTES;
  }

  async #open(name: string, flags: string) {
    const path = join(this.#directory, name);
    await createDirectory(dirname(path), this.#permissions.directory);
    return open(path, flags, this.#permissions.file);
  }
}

function encode(records: readonly UseRecord[]): Buffer {
  const bytes = Buffer.alloc(records.length * RECORD_BYTES);
  records.forEach(([{ high, low }, minute], index) => {
    bytes.writeUInt32LE(high, index * RECORD_BYTES);
    bytes.writeUInt32LE(low, index * RECORD_BYTES + 4);
    bytes.writeUInt32LE(minute, index * RECORD_BYTES + 8);
  });
  return bytes;
}
