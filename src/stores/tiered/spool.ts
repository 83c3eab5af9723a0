import { randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { PRIVATE } from '../../util/permissions.js';
import { writeAll } from '../disk-full.js';

/** Maximum size of an artifact that is kept in memory. Most build artifacts are smaller. */
const MAX_MEMORY_BYTES = 256 * 1024;
const INITIAL_BYTES = 16 * 1024;

/** Space of a file in addition to its bytes: its inode, and the rest of its last block. */
export const FILE_BYTES = 5 * 1024;

/** Limits the memory, or the disk space, of all spools together. */
export class SpoolBudget {
  readonly maxBytes: number;
  #freeBytes: number;

  constructor(bytes: number) {
    this.maxBytes = bytes;
    this.#freeBytes = bytes;
  }

  /** Reserves space. Returns false if there is not enough. */
  reserve(bytes: number): boolean {
    if (bytes > this.#freeBytes) return false;
    this.#freeBytes -= bytes;
    return true;
  }

  release(bytes: number): void {
    this.#freeBytes += bytes;
  }
}

/**
 * Buffer for an artifact in flight. It has one writer and any number of readers, each at its own pace. A small artifact
 * is kept in memory. A larger artifact is written to a file, which is unlinked at once so that it disappears when the
 * process ends.
 *
 * A spool is reference-counted: the writer has the first reference, and the last {@link release} frees the memory or
 * the file.
 */
export class Spool {
  readonly #directory: string;
  readonly #memory: SpoolBudget;
  readonly #disk: SpoolBudget;
  readonly #onUnread: () => void;
  /** Bytes reserved on the disk. */
  #diskBytes = 0;
  #buffer: Buffer = Buffer.alloc(0);
  #file: FileHandle | undefined;
  #length = 0;
  #outcome: 'complete' | { readonly error: unknown } | undefined;
  #isUnwritable = false;
  #references = 1;
  /** Callbacks that resume reads which wait for more bytes. */
  #waiting: (() => void)[] = [];

  /** @param onUnread called when the last reader has released the spool and the artifact is not complete */
  constructor(directory: string, memory: SpoolBudget, disk: SpoolBudget, onUnread: () => void) {
    this.#directory = directory;
    this.#memory = memory;
    this.#disk = disk;
    this.#onUnread = onUnread;
  }

  /** Number of bytes written so far. */
  get length(): number {
    return this.#length;
  }

  /** Whether bytes could not be kept: the disk is full or has failed, or the limits are reached. */
  get isUnwritable(): boolean {
    return this.#isUnwritable;
  }

  /** Whether new readers may retain the spool. */
  get isOpen(): boolean {
    return this.#references > 0;
  }

  retain(): void {
    this.#references++;
  }

  release(): void {
    this.#references--;
    if (this.#references === 1 && this.#outcome === undefined) this.#onUnread();
    if (this.#references > 0) return;
    this.#disk.release(this.#diskBytes);
    this.#memory.release(this.#buffer.byteLength);
    this.#buffer = Buffer.alloc(0);
    // FileHandle.close() waits for pending reads. A failure affects no reader, because all readers have released the
    // spool.
    this.#file?.close().catch(() => {});
  }

  /**
   * Appends a chunk. Only one call may be pending. After an error, the spool is {@link isUnwritable}.
   *
   * @throws the error of the file system
   */
  async append(chunk: Uint8Array): Promise<void> {
    try {
      await this.#write(chunk);
    } catch (error) {
      this.#isUnwritable = true;
      throw error;
    }
    this.#length += chunk.byteLength;
    this.#wakeReaders();
  }

  async #write(chunk: Uint8Array): Promise<void> {
    if (this.#file === undefined && !this.#ensureRoom(chunk.byteLength)) await this.#moveToFile();
    if (this.#file !== undefined) this.#reserveDisk(chunk.byteLength);
    if (this.#file === undefined) {
      this.#buffer.set(chunk, this.#length);
    } else {
      await writeAll(this.#file, chunk, this.#length);
    }
  }

  /** Marks the artifact as complete. */
  complete(): void {
    this.#outcome = 'complete';
    this.#wakeReaders();
  }

  /** Marks the artifact as incomplete. A reader fails with `error` after it has read all bytes that were written. */
  fail(error: unknown): void {
    this.#outcome = { error };
    this.#wakeReaders();
  }

  /**
   * Reads at most `maxBytes` bytes at `position`. Waits until at least one byte is available. Resolves to undefined at
   * the end. The caller must have a reference and must not modify the result.
   *
   * @throws the error given to {@link fail}, or the error of the file system
   */
  async read(position: number, maxBytes: number): Promise<Buffer | undefined> {
    while (position >= this.#length) {
      if (this.#outcome === 'complete') return undefined;
      if (this.#outcome !== undefined) throw this.#outcome.error;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    const bytes = Math.min(maxBytes, this.#length - position);
    if (this.#file === undefined) return this.#buffer.subarray(position, position + bytes);
    const { bytesRead, buffer } = await this.#file.read(Buffer.allocUnsafe(bytes), 0, bytes, position);
    return buffer.subarray(0, bytesRead);
  }

  #wakeReaders(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  /** Enlarges the buffer so that `bytes` more bytes fit. Returns false if the artifact must be moved to a file. */
  #ensureRoom(bytes: number): boolean {
    const needed = this.#length + bytes;
    const capacity = this.#buffer.byteLength;
    if (needed <= capacity) return true;
    if (needed > MAX_MEMORY_BYTES) return false;
    const newCapacity = Math.max(INITIAL_BYTES, 2 ** Math.ceil(Math.log2(needed)));
    if (!this.#memory.reserve(newCapacity - capacity)) return false;
    // The old buffer is never written to again, because readers may still use slices of it.
    const larger = Buffer.allocUnsafeSlow(newCapacity);
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
    return true;
  }

  #reserveDisk(bytes: number): void {
    if (!this.#disk.reserve(bytes)) {
      const message = `maxSpoolBytes: artifacts that are arriving take all of ${this.#disk.maxBytes} bytes in '${this.#directory}'`;
      throw new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message);
    }
    this.#diskBytes += bytes;
  }

  async #moveToFile(): Promise<void> {
    this.#reserveDisk(FILE_BYTES + this.#length);
    const file = await openUnlinked(this.#directory);
    try {
      await writeAll(file, this.#buffer.subarray(0, this.#length), 0);
    } catch (error) {
      await file.close();
      throw error;
    }
    // There must be no await between these lines, because readers use either the file or the buffer.
    this.#file = file;
    this.#memory.release(this.#buffer.byteLength);
    this.#buffer = Buffer.alloc(0);
  }
}

/** Creates a file that has no name, and therefore disappears when it is closed. */
async function openUnlinked(directory: string): Promise<FileHandle> {
  const path = join(directory, `hotblob-${randomUUID()}`);
  const file = await open(path, 'wx+', PRIVATE.file);
  try {
    await unlink(path);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Checks that files can be created in a directory for spools.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION`
 */
export async function assertWritable(directory: string): Promise<void> {
  try {
    const file = await openUnlinked(directory);
    await file.close();
  } catch (cause) {
    const message = `spoolDir: expected a writable directory, received '${directory}' (${errnoCode(cause)})`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message, { cause });
  }
}
