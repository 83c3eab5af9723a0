import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { KeyLocks } from '../../util/key-locks.js';
import { PRIVATE } from '../../util/permissions.js';
import { syncDirectory, writeDurably } from './durable-files.js';
import type { Scope } from './scope.js';

/** Artifact that an upload in parts creates. Each string is a segment of its key. */
export interface ModuleTarget {
  readonly scope: Scope;
  readonly category: string;
  readonly hash: string;
  readonly name: string;
}

/** Part of an upload that was received completely. */
export interface Part {
  readonly number: number;
  readonly path: string;
  readonly bytes: number;
}

/** Unfinished upload in parts, as read from disk. */
export interface ModuleUpload {
  readonly target: ModuleTarget;
  /** Parts in ascending order of their numbers. */
  readonly parts: readonly Part[];
}

/** Maximum size of a part. */
export const MAX_PART_BYTES = 10 * 1024 * 1024;
const MAX_UPLOAD_BYTES = 2048 * 1024 * 1024;
/** Maximum number of parts of an upload. Clients send parts of 10 MiB, so their largest upload has 205 parts. */
const MAX_PARTS = 1000;
const TARGET_NAME = 'upload.json';
const PART_NAME = /^part-(\d+)$/;
/**
 * Matches the name of an upload's directory. If the process crashes, a directory that was being created remains as
 * `<id>.new`, and one that was being removed as `<id>.old`. Entries with other names are never removed.
 */
const UPLOAD_NAME = /^[0-9a-f]{32}(?:\.new|\.old)?$/;

/**
 * Uploads in parts. Each upload has a directory: `upload.json` describes the artifact, and `part-<number>` is a part. A
 * part is flushed to disk before it is acknowledged. No state is in memory, so uploads survive a restart, and several
 * processes can receive parts of one upload. An upload expires `ttlMs` after the last change of its directory. Expired
 * uploads are removed when the next upload starts.
 */
export class ModuleUploads {
  readonly #root: string;
  readonly #ttlMs: number;
  readonly #maxUploads: number;
  readonly #locks = new KeyLocks();

  constructor(root: string, ttlMs: number, maxUploads: number) {
    this.#root = resolve(root);
    this.#ttlMs = ttlMs;
    this.#maxUploads = maxUploads;
  }

  /**
   * Starts an upload. Resolves to its id: 32 random hexadecimal digits.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if there are already `maxUploads` uploads
   * @throws Error of a system call that failed
   */
  start(target: ModuleTarget): Promise<string> {
    return this.#locks.run('', async () => {
      await mkdir(this.#root, { recursive: true, mode: PRIVATE.directory });
      if ((await this.#sweep()) >= this.#maxUploads) {
        throw new HotblobError(
          'ERR_HOTBLOB_OVERLOADED',
          `maxUploads: the limit of ${this.#maxUploads} unfinished uploads in parts is reached`,
        );
      }
      const id = randomBytes(16).toString('hex');
      const temporary = this.#pathOf(`${id}.new`);
      try {
        await mkdir(temporary, { mode: PRIVATE.directory });
        await writeDurably(join(temporary, TARGET_NAME), JSON.stringify(target));
        await syncDirectory(temporary);
        await rename(temporary, this.#pathOf(id));
        await syncDirectory(this.#root);
      } catch (error) {
        await discard(temporary);
        throw error;
      }
      return id;
    });
  }

  /**
   * Stores a part. Replaces an earlier part with the same number. Resolves to `false` if the upload does not exist.
   *
   * @throws HotblobError `ERR_HOTBLOB_UNPROCESSABLE` if the upload would exceed 2 GiB or 1,000 parts
   * @throws Error of `body`, or of a system call that failed
   */
  async addPart(id: string, number: number, body: Readable): Promise<boolean> {
    const directory = this.#pathOf(id);
    const temporary = join(directory, `${randomUUID()}.tmp`);
    try {
      const bytes = await writeDurably(temporary, body);
      await this.lock(id, async () => {
        const others = (await partsOf(directory)).filter((part) => part.number !== number);
        assertUploadLimits([...others, { number, path: temporary, bytes }]);
        await rename(temporary, join(directory, `part-${number}`));
        await syncDirectory(directory);
      });
      return true;
    } catch (error) {
      await unlink(temporary).catch(() => {}); // it may not exist, or the upload was removed
      if (errnoCode(error) === 'ENOENT') return false;
      throw error;
    } finally {
      body.destroy();
    }
  }

  /** Resolves to an upload and its parts, or to `undefined` if it does not exist or has expired. */
  async find(id: string): Promise<ModuleUpload | undefined> {
    const directory = this.#pathOf(id);
    try {
      if (await this.#isExpired(directory)) return undefined;
      // The file is not validated: this class wrote it, and renamed the directory only when the file was complete.
      const target: ModuleTarget = JSON.parse(await readFile(join(directory, TARGET_NAME), 'utf8'));
      return { target, parts: await partsOf(directory) };
    } catch (error) {
      if (errnoCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Runs `task` while no other task of this process changes the upload. */
  lock<T>(id: string, task: () => Promise<T>): Promise<T> {
    return this.#locks.run(id, task);
  }

  /** Removes an upload. Never rejects: files that cannot be removed now are removed after the upload has expired. */
  async remove(id: string): Promise<void> {
    const removed = this.#pathOf(`${id}.old`);
    // The rename is atomic, so no process finds an upload from which some parts are already removed.
    await rename(this.#pathOf(id), removed).catch(() => {}); // another process has removed it
    await discard(removed);
  }

  /** Removes expired uploads. Resolves to the number of remaining uploads. */
  async #sweep(): Promise<number> {
    let remaining = 0;
    for (const name of await readdir(this.#root)) {
      if (!UPLOAD_NAME.test(name)) continue;
      const directory = this.#pathOf(name);
      // The check fails if another process removes the upload at this moment. The upload is then counted once more.
      const isExpired = await this.#isExpired(directory).catch(() => false);
      if (isExpired) await discard(directory);
      else remaining++;
    }
    return remaining;
  }

  async #isExpired(directory: string): Promise<boolean> {
    return (await stat(directory)).mtimeMs + this.#ttlMs < Date.now();
  }

  #pathOf(name: string): string {
    return join(this.#root, name);
  }
}

/** @throws HotblobError `ERR_HOTBLOB_UNPROCESSABLE` for more than 2 GiB or more than 1,000 parts */
export function assertUploadLimits(parts: readonly Part[]): void {
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  if (bytes <= MAX_UPLOAD_BYTES && parts.length <= MAX_PARTS) return;
  throw new HotblobError(
    'ERR_HOTBLOB_UNPROCESSABLE',
    `upload: expected at most ${MAX_UPLOAD_BYTES} bytes and ${MAX_PARTS} parts, received ${bytes} bytes in ${parts.length} parts`,
  );
}

async function partsOf(directory: string): Promise<Part[]> {
  const parts: Part[] = [];
  for (const name of await readdir(directory)) {
    const number = PART_NAME.exec(name)?.[1];
    if (number === undefined) continue;
    const path = join(directory, name);
    parts.push({ number: Number(number), path, bytes: (await stat(path)).size });
  }
  return parts.sort((a, b) => a.number - b.number);
}

function discard(directory: string): Promise<void> {
  return rm(directory, { recursive: true, force: true, maxRetries: 3 }).catch(() => {});
}
