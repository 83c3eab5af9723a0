import { createHash } from 'node:crypto';
import type { BigIntStats } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { errnoCode, HotblobError } from '../contract/errors.js';
import { OPEN_FLAGS } from '../util/open-flags.js';

/** Maximum size of the file, far above the size of a token file. A larger file is certainly not a token file. */
const MAX_BYTES = 1024 * 1024;
/** Number of attempts to read a file that changes while it is read. */
const MAX_ATTEMPTS = 3;
/**
 * Coarsest timestamp resolution of all file systems (FAT). After two changes within this time, the timestamps in the
 * inode can be the same.
 */
const TIMESTAMP_RESOLUTION_MS = 2000;

/** Content of a file at one moment. */
export interface FileContent {
  readonly text: string;
  /** Permission bits of the file. */
  readonly mode: number;
}

/** State of the file at the last read. It does not include the text, which contains secrets. */
interface FileState {
  readonly stats: BigIntStats;
  readonly digest: string;
  /** Whether every later change of the file is certain to change the inode. */
  readonly isSettled: boolean;
}

/** Small text file that can be written or replaced while this process runs. */
export class ChangingFile {
  readonly #path: string;
  #state: FileState | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  /**
   * Resolves to the content of the file, or to `undefined` if the file has not changed since the last call. An
   * unchanged file costs one stat. If its last change is so recent that the timestamps could hide another change, the
   * file is also read. Calls must not overlap.
   *
   * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if the file cannot be read, is not a regular file, or is larger
   *   than 1 MiB
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
      throw this.#unreadable(reasonOf(error), error);
    }
  }

  async #read(before: FileState | undefined): Promise<FileContent | undefined> {
    const startedAt = Date.now();
    const handle = await open(this.#path, OPEN_FLAGS);
    try {
      const { stats, bytes } = await this.#readConsistently(handle);
      const digest = createHash('sha256').update(bytes).digest('hex');
      this.#state = { stats, digest, isSettled: startedAt - Number(stats.ctimeMs) > TIMESTAMP_RESOLUTION_MS };
      if (before !== undefined && isSame(before.stats, stats) && before.digest === digest) return undefined;
      return { text: bytes.toString('utf8'), mode: Number(stats.mode) & 0o777 };
    } finally {
      await handle.close();
    }
  }

  /** Reads the whole file. Retries if its inode changes during the read, so that the content is from one moment. */
  async #readConsistently(handle: FileHandle): Promise<{ stats: BigIntStats; bytes: Buffer }> {
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      const stats = await handle.stat({ bigint: true });
      if (!stats.isFile()) throw this.#unreadable('not a regular file');
      if (stats.size > MAX_BYTES) throw this.#unreadable(`more than ${MAX_BYTES} bytes`);
      const size = Number(stats.size);
      // Reads one byte more than the size, to detect a file that has grown.
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(size + 1), 0, size + 1, 0);
      if (bytesRead !== size || !isSame(stats, await handle.stat({ bigint: true }))) continue;
      return { stats, bytes: buffer.subarray(0, size) };
    }
    throw this.#unreadable(`the file changed during each of ${MAX_ATTEMPTS} reads`);
  }

  #unreadable(reason: string, cause?: unknown): HotblobError {
    const message = `${this.#path}: cannot read the file: ${reason}`;
    return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message, { cause });
  }
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist',
  EACCES: 'this user has no permission to read it',
  ENOTDIR: 'a part of its path is not a directory',
};

function reasonOf(error: unknown): string {
  const code = errnoCode(error);
  if (code === undefined) return 'read error';
  const reason = REASONS[code];
  return reason === undefined ? code : `${code}, ${reason}`;
}

/**
 * Returns whether two stats show the same state of a file. Compares mtime and ctime, because tools can set mtime but
 * not ctime.
 */
function isSame(a: BigIntStats, b: BigIntStats): boolean {
  return a.ino === b.ino && a.dev === b.dev && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}
