import { randomBytes } from 'node:crypto';
import { stat, statfs, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { releaseDeletedFiles } from '../../page-cache/release-file.js';
import type { Layout } from './layout.js';
import type { Operation } from './operations.js';

/** Name of the file with the reserve, in the directory of the store. */
const RESERVE_NAME = 'reserve';
const MAX_RESERVE_BYTES = 1024 * 1024;
/** A smaller reserve would not suffice for the few commits after which LMDB reuses pages, so there is none. */
const MIN_RESERVE_BYTES = 192 * 1024;
/** Parts of the file system and of `maxBytes` that the reserve takes at most. */
const MAX_DISK_RATIO = 1 / 64;
const MAX_LIMIT_RATIO = 1 / 256;
/** Space that opening a store for writing, or closing it, takes: a few pages of the index and of the writer lock. */
export const MIN_FREE_BYTES = 128 * 1024;
/** Space for the pages that a commit replaces whatever its operations are: roots, segment table, list of free pages. */
const COMMIT_BYTES = 64 * 1024;
/**
 * Space for the pages that one operation replaces: LMDB copies each page that it changes. An operation changes the entry of a
 * key and up to two locations, and a page above them.
 */
const OPERATION_BYTES = 4 * 4096;
/** Space for the page with the last use of an artifact, and a page above it. */
const USE_BYTES = 2 * 4096;

/** Free space above which a body is not checked: until the next commit, only these bytes are at risk. */
const ESTIMATED_BYTES = 64 * 1024 * 1024;

/**
 * Returns the number of bytes that this process can still write to the file system of `path`: infinity if the file system has no
 * limit or does not report it (tmpfs with `size=0`, some network file systems).
 */
export async function freeBytesOf(path: string): Promise<number> {
  const { blocks, bavail, bsize } = await statfs(path);
  return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize;
}

/** Space that the commit of an operation may need in addition to the body of its segment, in bytes. */
function commitBytes(operation: Operation): number {
  if (operation.kind === 'record-uses') return OPERATION_BYTES + operation.uses.length * USE_BYTES;
  if (operation.kind !== 'put') return OPERATION_BYTES;
  const inline = operation.body.kind === 'inline' ? operation.body.bytes.byteLength : 0;
  return OPERATION_BYTES + inline + (operation.metadata?.byteLength ?? 0);
}

/** Whether an operation frees space: a deletion, or a copy by compaction. */
function freesSpace(operation: Operation): boolean {
  if (operation.kind === 'record-uses') return false;
  return operation.kind !== 'put' || operation.expectedLocation !== undefined;
}

/**
 * Checks that the file system has space, before each write of a body and before each commit. LMDB must never write to a full
 * file system: its code for a failed write (lmdb 3.5.6) overflows a buffer, and repeated failures end the process.
 *
 * Deletions also need space, because LMDB copies the pages that they change. A small file is therefore kept as a reserve. If
 * the file system is full, it is removed before a deletion, and is written again when there is space.
 */
export class CommitSpace {
  readonly #directory: string;
  readonly #mode: number;
  /** Size of the reserve in bytes; 0 if there is none. */
  readonly reserveBytes: number;
  /** Whether the reserve exists, or none is wanted. */
  #hasReserve = false;
  #isLow = false;
  /** Free space at the last check, less the bodies since then. */
  #estimatedFree = 0;

  /** Writes the reserve if there is space. */
  static async open({ root, permissions }: Layout, maxBytes: number): Promise<CommitSpace> {
    const { blocks, bsize } = await statfs(root);
    const bytes = Math.floor(Math.min(MAX_RESERVE_BYTES, blocks * bsize * MAX_DISK_RATIO, maxBytes * MAX_LIMIT_RATIO));
    const space = new CommitSpace(root, permissions.file, bytes < MIN_RESERVE_BYTES ? 0 : bytes);
    space.#hasReserve =
      (await sizeOfReserve(root)) === space.reserveBytes || (await space.#writeReserve(await space.free()));
    return space;
  }

  private constructor(directory: string, mode: number, reserveBytes: number) {
    this.#directory = directory;
    this.#mode = mode;
    this.reserveBytes = reserveBytes;
  }

  /** Whether the last commit found less space than the next ones may need, or the reserve is missing. */
  get isLow(): boolean {
    return this.#isLow;
  }

  free(): Promise<number> {
    return freeBytesOf(this.#directory);
  }

  /** Returns how many bytes are missing for an upload of `bytes` and its commit: 0 or less if there is space. */
  async missingFor(bytes: number): Promise<number> {
    return bytes + this.#keptBytes + 2 * OPERATION_BYTES - (await this.free());
  }

  /**
   * Checks that a segment file can grow by `bytes`. Uploads leave some space free, so that artifacts can still be deleted.
   *
   * @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` if the file system is full
   */
  async assertBody(bytes: number): Promise<void> {
    this.#estimatedFree -= bytes;
    if (bytes === 0 || this.#estimatedFree > ESTIMATED_BYTES) return;
    const hasSpace = async (): Promise<boolean> => {
      this.#estimatedFree = (await this.free()) - bytes;
      return this.#estimatedFree >= this.#keptBytes;
    };
    if (await hasSpace()) return;
    await releaseDeletedFiles(); // their space is not free while they are open
    if (!(await hasSpace())) throw this.fullError('an upload');
  }

  /**
   * Returns how many of the operations, from the first one, can be committed now. Returns 0 if there is no space for the first
   * one: for an operation that frees space only if another program has used the reserve too.
   */
  async admit(operations: readonly Operation[]): Promise<number> {
    const [first] = operations;
    if (first === undefined) return 0;
    let free = await this.free();
    this.#estimatedFree = free;
    const needed = operations.reduce((sum, operation) => sum + commitBytes(operation), COMMIT_BYTES);
    if (!this.#hasReserve) this.#hasReserve = await this.#writeReserve(free - needed);
    this.#isLow = !this.#hasReserve || free < needed + 2 * MIN_FREE_BYTES;
    if (freesSpace(first) && free < COMMIT_BYTES + commitBytes(first)) {
      // Also a reserve of another size, from a process with another limit or one that was killed while it wrote the file.
      await removeReserve(this.#directory);
      this.#hasReserve = false;
      free = await this.free();
    }
    const missingReserve = this.#hasReserve ? 0 : this.reserveBytes;
    let remaining = free - COMMIT_BYTES;
    let count = 0;
    for (const operation of operations) {
      remaining -= commitBytes(operation);
      if (remaining < (freesSpace(operation) ? 0 : missingReserve)) break;
      count++;
    }
    return count;
  }

  /** Returns the error for an operation that is not admitted. */
  fullError(purpose: string): HotblobError {
    const message = `no space left on the file system for ${purpose}: ${this.#directory}`;
    return new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message);
  }

  /** Space that uploads leave free, in bytes. */
  get #keptBytes(): number {
    return MIN_FREE_BYTES + (this.#hasReserve ? 0 : this.reserveBytes);
  }

  /** Writes the reserve if at least twice its size is free. Resolves to whether it exists. */
  async #writeReserve(free: number): Promise<boolean> {
    if (this.reserveBytes === 0) return true; // none is wanted
    if (free < 2 * this.reserveBytes + MIN_FREE_BYTES) return false;
    try {
      // Random bytes, because a file system with compression stores zeros without using space.
      await writeFile(join(this.#directory, RESERVE_NAME), randomBytes(this.reserveBytes), { mode: this.#mode });
      return true;
    } catch {
      await removeReserve(this.#directory); // another program has used the space
      return false;
    }
  }
}

/**
 * If the file system is almost full, removes the reserve, so that the store can be opened for writing and artifacts can be
 * deleted.
 *
 * @param assertUnused throws if another process writes to the store, which needs its reserve
 */
export async function releaseReserveIfFull({ root }: Layout, assertUnused: () => Promise<void>): Promise<void> {
  if ((await freeBytesOf(root)) >= MIN_FREE_BYTES) return;
  await assertUnused();
  await removeReserve(root);
}

/** Returns the size of the reserve in the directory of a store, or 0 if it does not exist. */
export function sizeOfReserve(directory: string): Promise<number> {
  return stat(join(directory, RESERVE_NAME)).then(
    ({ size }) => size,
    () => 0,
  );
}

async function removeReserve(directory: string): Promise<void> {
  await unlink(join(directory, RESERVE_NAME)).catch((error: unknown) => {
    if (errnoCode(error) !== 'ENOENT') throw error;
  });
}
