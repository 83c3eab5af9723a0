import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { KeyLocks } from '../../util/key-locks.js';
import { syncDirectory, writeDurably } from './durable-files.js';
import type { Scope } from './scope.js';

/** Artifact that an upload in parts becomes. The strings are segments of its key. */
export interface ModuleTarget {
  readonly scope: Scope;
  readonly category: string;
  readonly hash: string;
  readonly name: string;
}

/** Part that was received completely. */
export interface Part {
  readonly number: number;
  readonly path: string;
  readonly bytes: number;
}

/** Upload as it is on disk. */
export interface ModuleUpload {
  readonly target: ModuleTarget;
  /** Parts in ascending order of their numbers. */
  readonly parts: readonly Part[];
}

/** Maximum size of a part. */
export const MAX_PART_BYTES = 10 * 1024 * 1024;
const MAX_UPLOAD_BYTES = 2048 * 1024 * 1024;
/** Maximum number of parts of an upload. Clients send parts of 10 MiB, so the largest upload has 205. */
const MAX_PARTS = 1000;
const TARGET_NAME = 'upload.json';
const PART_NAME = /^part-(\d+)$/;
/**
 * Name of the directory of an upload. A crash during its creation leaves `.new` behind, and during its removal `.old`. Entries
 * with other names are left alone.
 */
const UPLOAD_NAME = /^[0-9a-f]{32}(?:\.new|\.old)?$/;

/**
 * Uploads in parts. Each upload is a directory: `upload.json` describes the artifact, and `part-<number>` are the
 * parts, flushed to disk before they are acknowledged. No state is in memory, so uploads survive a restart, and several
 * processes can receive parts of one upload. An upload expires `ttlMs` after the last change of its directory. The next
 * upload that starts removes it.
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
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if there are `maxUploads` uploads; otherwise the error of the system
   *   call
   */
  start(target: ModuleTarget): Promise<string> {
    return this.#locks.run('', async () => {
      await mkdir(this.#root, { recursive: true });
      if ((await this.#sweep()) >= this.#maxUploads) {
        throw new HotblobError(
          'ERR_HOTBLOB_OVERLOADED',
          `maxUploads: all ${this.#maxUploads} uploads in parts are in use`,
        );
      }
      const id = randomBytes(16).toString('hex');
      const temporary = this.#pathOf(`${id}.new`);
      try {
        await mkdir(temporary);
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
   * Stores a part and replaces one with the same number. Resolves to `false` if the upload does not exist.
   *
   * @throws HotblobError `ERR_HOTBLOB_UNPROCESSABLE` if the upload would exceed 2 GiB or 1,000 parts; otherwise the
   *   error of `body` or of the system call
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
      // No validation: this class wrote the file and renamed its directory when it was complete.
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

  /** Removes an upload. Never rejects: files that cannot be removed are removed when they have expired. */
  async remove(id: string): Promise<void> {
    const removed = this.#pathOf(`${id}.old`);
    // The rename is atomic, so no process sees an upload with some of its parts.
    await rename(this.#pathOf(id), removed).catch(() => {}); // another process has removed it
    await discard(removed);
  }

  /** Removes expired uploads. Resolves to the number of remaining uploads. */
  async #sweep(): Promise<number> {
    let remaining = 0;
    for (const name of await readdir(this.#root)) {
      if (!UPLOAD_NAME.test(name)) continue;
      const directory = this.#pathOf(name);
      // An upload that another process removes meanwhile is counted, but not by the next sweep.
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

/** @throws HotblobError `ERR_HOTBLOB_UNPROCESSABLE` for more than 2 GiB or 1,000 parts */
export function assertUploadLimits(parts: readonly Part[]): void {
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  if (bytes <= MAX_UPLOAD_BYTES && parts.length <= MAX_PARTS) return;
  throw new HotblobError(
    'ERR_HOTBLOB_UNPROCESSABLE',
    `upload: expected at most ${MAX_UPLOAD_BYTES} bytes in ${MAX_PARTS} parts, received ${bytes} in ${parts.length}`,
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
