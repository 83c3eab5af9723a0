import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { KeyLocks } from '../../util/key-locks.js';
import { syncDirectory, writeDurably } from './durable-files.js';
import type { Scope } from './scope.js';

/** What an upload in parts is to become. The strings are parts of a key. */
export interface ModuleTarget {
  readonly scope: Scope;
  readonly category: string;
  readonly hash: string;
  readonly name: string;
}

/** A part that has come wholly. */
export interface Part {
  readonly number: number;
  readonly path: string;
  readonly bytes: number;
}

/** An upload as it is on the disk. */
export interface ModuleUpload {
  readonly target: ModuleTarget;
  /** In the order of their numbers. */
  readonly parts: readonly Part[];
}

/** The largest part, in bytes. */
export const MAX_PART_BYTES = 10 * 1024 * 1024;
const MAX_UPLOAD_BYTES = 2048 * 1024 * 1024;
/** Of an upload. Clients send parts of 10 MiB, so that the largest has 205. */
const MAX_PARTS = 1000;
const TARGET_NAME = 'upload.json';
const PART_NAME = /^part-(\d+)$/;
/** An upload, or one that was being made or removed when the process ended. What else is there is somebody else's. */
const OWN_NAME = /^[0-9a-f]{32}(?:\.new|\.old)?$/;

/**
 * Uploads in parts, each a directory: `upload.json` says what it is to become, `part-<number>` are its parts, written to
 * the disk before they are acknowledged. Nothing is kept in memory, so that an upload outlives the process, and several
 * processes may take parts of one. Its last change is that of its directory; `ttlMs` later it is unknown, and the next
 * upload that begins removes it.
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
   * Begins an upload. Resolves to its id: 32 hexadecimal digits that nobody can guess.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` for one too many; else the error of the system
   */
  begin(target: ModuleTarget): Promise<string> {
    return this.#locks.run('', async () => {
      await mkdir(this.#root, { recursive: true });
      if ((await this.#sweep()) >= this.#maxUploads) {
        throw new HotblobError('ERR_HOTBLOB_OVERLOADED', `${this.#maxUploads} uploads in parts are under way`);
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
   * Keeps a part, in the place of one with the same number. Resolves to whether the upload is known.
   *
   * @throws HotblobError `ERR_HOTBLOB_UNPROCESSABLE` where the upload grows beyond 2 GiB or 1,000 parts; what `body` fails
   * with; else the error of the system
   */
  async keep(id: string, number: number, body: Readable): Promise<boolean> {
    const directory = this.#pathOf(id);
    const temporary = join(directory, `${randomUUID()}.tmp`);
    try {
      const bytes = await writeDurably(temporary, body);
      await this.lock(id, async () => {
        const others = (await partsOf(directory)).filter((part) => part.number !== number);
        assertFits([...others, { number, path: temporary, bytes }]);
        await rename(temporary, join(directory, `part-${number}`));
        await syncDirectory(directory);
      });
      return true;
    } catch (error) {
      await unlink(temporary).catch(() => {}); // it may never have been made, or have gone with the upload
      if (errnoCode(error) === 'ENOENT') return false;
      throw error;
    } finally {
      body.destroy();
    }
  }

  /** What is there of an upload; undefined for one that is not known, or no longer. */
  async find(id: string): Promise<ModuleUpload | undefined> {
    const directory = this.#pathOf(id);
    try {
      if (await this.#isAbandoned(directory)) return undefined;
      // It was made by this class, and renamed when it was whole.
      const target: ModuleTarget = JSON.parse(await readFile(join(directory, TARGET_NAME), 'utf8'));
      return { target, parts: await partsOf(directory) };
    } catch (error) {
      if (errnoCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Runs `task` while this process does nothing else that changes the upload. */
  lock<T>(id: string, task: () => Promise<T>): Promise<T> {
    return this.#locks.run(id, task);
  }

  /** Removes an upload, as far as that is possible: what is left is removed when it is old. */
  async remove(id: string): Promise<void> {
    const removed = this.#pathOf(`${id}.old`);
    // At one stroke, so that nobody sees some of its parts alone.
    await rename(this.#pathOf(id), removed).catch(() => {}); // another process has been faster
    await discard(removed);
  }

  /** Removes what has been abandoned. Resolves to how many uploads are left. */
  async #sweep(): Promise<number> {
    let left = 0;
    for (const name of await readdir(this.#root)) {
      if (!OWN_NAME.test(name)) continue;
      const directory = this.#pathOf(name);
      // One that has gone meanwhile counts; the next sweep will not see it.
      const isAbandoned = await this.#isAbandoned(directory).catch(() => false);
      if (isAbandoned) await discard(directory);
      else left++;
    }
    return left;
  }

  async #isAbandoned(directory: string): Promise<boolean> {
    return (await stat(directory)).mtimeMs + this.#ttlMs < Date.now();
  }

  #pathOf(name: string): string {
    return join(this.#root, name);
  }
}

/** @throws HotblobError `ERR_HOTBLOB_UNPROCESSABLE` */
export function assertFits(parts: readonly Part[]): void {
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  if (bytes <= MAX_UPLOAD_BYTES && parts.length <= MAX_PARTS) return;
  const message = `an upload has at most ${MAX_UPLOAD_BYTES} bytes in ${MAX_PARTS} parts`;
  throw new HotblobError('ERR_HOTBLOB_UNPROCESSABLE', message);
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
