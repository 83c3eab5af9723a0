import { randomUUID } from 'node:crypto';
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { join } from 'node:path';

/** What one artifact may have in memory: most artifacts of builds are smaller. */
const MEMORY_BYTES = 256 * 1024;
const FIRST_BYTES = 16 * 1024;

/** Bounds the memory of all spools together. */
export class SpoolMemory {
  #free: number;

  constructor(bytes: number) {
    this.#free = bytes;
  }

  take(bytes: number): boolean {
    if (bytes > this.#free) return false;
    this.#free -= bytes;
    return true;
  }

  give(bytes: number): void {
    this.#free += bytes;
  }
}

/**
 * An artifact while it comes in: one writes, many read, each at its own pace. A small one is in memory, a larger one in a
 * file that has no name, so that nothing of it is left whatever happens.
 */
export class Spool {
  readonly #directory: string;
  readonly #memory: SpoolMemory;
  #buffer: Buffer = Buffer.alloc(0);
  #file: FileHandle | undefined;
  #length = 0;
  #end: 'complete' | { readonly error: unknown } | undefined;
  /** The writer, and the readers. */
  #users = 1;
  #waiting: (() => void)[] = [];

  /** It begins with its writer as its user. */
  constructor(directory: string, memory: SpoolMemory) {
    this.#directory = directory;
    this.#memory = memory;
  }

  get length(): number {
    return this.#length;
  }

  /** Whether what it holds may be read: until the last user has left. */
  get isOpen(): boolean {
    return this.#users > 0;
  }

  enter(): void {
    this.#users++;
  }

  /** The last one closes it. */
  leave(): void {
    if (--this.#users > 0) return;
    this.#memory.give(this.#buffer.byteLength);
    this.#buffer = Buffer.alloc(0);
    // It waits for reads that are under way. What it could say concerns nobody any more.
    this.#file?.close().catch(() => {});
  }

  /** Adds to the end. Only one call at a time. Rejects with what the file system says. */
  async append(chunk: Uint8Array): Promise<void> {
    if (this.#file === undefined && !this.#hasRoom(chunk.byteLength)) await this.#spill();
    if (this.#file === undefined) {
      this.#buffer.set(chunk, this.#length);
    } else {
      await writeAll(this.#file, chunk, this.#length);
    }
    this.#length += chunk.byteLength;
    this.#wake();
  }

  /** No more will come. */
  complete(): void {
    this.#end = 'complete';
    this.#wake();
  }

  /** No more will come, and what is there is not all: readers fail when they get there. */
  fail(error: unknown): void {
    this.#end = { error };
    this.#wake();
  }

  /**
   * Some of the bytes from `position` on, `max` at most: as soon as there are any. Undefined at the end. They must not be
   * written to. Rejects with what {@link fail} was told. Only for those who have entered.
   */
  async read(position: number, max: number): Promise<Buffer | undefined> {
    while (position >= this.#length) {
      if (this.#end === 'complete') return undefined;
      if (this.#end !== undefined) throw this.#end.error;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    const bytes = Math.min(max, this.#length - position);
    if (this.#file === undefined) return this.#buffer.subarray(position, position + bytes);
    const { bytesRead, buffer } = await this.#file.read(Buffer.allocUnsafe(bytes), 0, bytes, position);
    return buffer.subarray(0, bytesRead);
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  /** Whether memory holds `bytes` more, after it has been asked for them. */
  #hasRoom(bytes: number): boolean {
    const needed = this.#length + bytes;
    const has = this.#buffer.byteLength;
    if (needed <= has) return true;
    if (needed > MEMORY_BYTES) return false;
    const wanted = Math.max(FIRST_BYTES, 2 ** Math.ceil(Math.log2(needed)));
    if (!this.#memory.take(wanted - has)) return false;
    // What readers have of the old one stays as it is.
    const larger = Buffer.allocUnsafeSlow(wanted);
    larger.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = larger;
    return true;
  }

  async #spill(): Promise<void> {
    const path = join(this.#directory, `hotblob-${randomUUID()}`);
    const file = await open(path, 'wx+', 0o600);
    try {
      await unlink(path);
      await writeAll(file, this.#buffer.subarray(0, this.#length), 0);
    } catch (error) {
      await file.close();
      throw error;
    }
    // In one step, because readers look at both.
    this.#file = file;
    this.#memory.give(this.#buffer.byteLength);
    this.#buffer = Buffer.alloc(0);
  }
}

async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.byteLength; ) {
    written += (await file.write(bytes, written, bytes.byteLength - written, position + written)).bytesWritten;
  }
}
