import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { errnoCode, HotblobError } from '../contract/errors.js';
import { OPEN_FLAGS } from '../util/open-flags.js';

/** Far more than anybody writes; what is larger is another file. */
const MAX_BYTES = 1024 * 1024;
/** So often a read is tried that meets a writer. */
const ATTEMPTS = 3;
/** The coarsest clock of a file system (FAT): a change so close behind another may leave the inode as it was. */
const CLOCK_MS = 2000;

/** What a file held at one moment. */
export interface FileContent {
  readonly text: string;
  /** The bits of its permissions. */
  readonly mode: number;
}

/** What is remembered of it: not the text, which holds secrets. */
interface FileState {
  readonly stats: BigIntStats;
  readonly digest: string;
  /** Whether a later change would certainly show in the inode. */
  readonly isSettled: boolean;
}

/** A small text file that is written or replaced while this process runs. */
export class ChangingFile {
  readonly #path: string;
  #state: FileState | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * What the file holds; undefined where that is what the last call has found. Costs one stat then, or a read as well while
   * the last change is so young that another could hide behind it. Not to be called again before it has ended.
   *
   * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for what cannot be read, is no regular file, or has more than 1 MiB
   */
  async readIfChanged(): Promise<FileContent | undefined> {
    const before = this.#state;
    this.#state = undefined;
    try {
      if (before?.isSettled && isSame(before.stats, await stat(this.#path, { bigint: true }))) {
        this.#state = before;
        return undefined;
      }
      return await this.#read(before);
    } catch (error) {
      if (error instanceof HotblobError) throw error;
      throw this.#unreadable(errnoCode(error) ?? 'it cannot be read', error);
    }
  }

  async #read(before: FileState | undefined): Promise<FileContent | undefined> {
    const startedAt = Date.now();
    const handle = await open(this.#path, OPEN_FLAGS);
    try {
      const { stats, bytes } = await this.#readAtOnce(handle);
      const digest = createHash('sha256').update(bytes).digest('hex');
      this.#state = { stats, digest, isSettled: startedAt - Number(stats.ctimeMs) > CLOCK_MS };
      if (before !== undefined && isSame(before.stats, stats) && before.digest === digest) return undefined;
      return { text: bytes.toString('utf8'), mode: Number(stats.mode) & 0o777 };
    } finally {
      await handle.close();
    }
  }

  /** All of it from one moment, as far as one can tell from outside. */
  async #readAtOnce(handle: FileHandle): Promise<{ stats: BigIntStats; bytes: Buffer }> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const stats = await handle.stat({ bigint: true });
      if (!stats.isFile()) throw this.#unreadable('it is not a regular file');
      if (stats.size > MAX_BYTES) throw this.#unreadable(`it has more than ${MAX_BYTES} bytes`);
      const size = Number(stats.size);
      // One more than there should be, so that a file that has grown shows.
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(size + 1), 0, size + 1, 0);
      if (bytesRead !== size || !isSame(stats, await handle.stat({ bigint: true }))) continue;
      return { stats, bytes: buffer.subarray(0, size) };
    }
    throw this.#unreadable('it is being written');
  }

  #unreadable(reason: string, cause?: unknown): HotblobError {
    const message = `${this.#path}: expected a file that can be read: ${reason}`;
    return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message, { cause });
  }
}

/** The time of the inode's change is among it because nobody can set that one, as tools do with the modification's. */
function isSame(a: BigIntStats, b: BigIntStats): boolean {
  return a.ino === b.ino && a.dev === b.dev && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}
