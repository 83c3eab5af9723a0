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

/** Limits of all unfinished uploads together. */
export interface ModuleUploadLimits {
  /** Time after the last change of an upload at which it expires. */
  readonly ttlMs: number;
  /** Maximum number of uploads. A namespace gets a quarter of them, but at least {@link MIN_SHARE}. */
  readonly maxUploads: number;
  /** Maximum size of all parts. A namespace gets half of it. */
  readonly maxPartsBytes: number;
}

/** Uploads of all namespaces or of one. */
interface Usage {
  readonly uploads: number;
  readonly bytes: number;
}

const MIN_SHARE = 8;
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
 * uploads are removed when the next upload or part arrives.
 */
export class ModuleUploads {
  readonly #root: string;
  readonly #limits: ModuleUploadLimits;
  readonly #locks = new KeyLocks();

  constructor(root: string, limits: ModuleUploadLimits) {
    this.#root = resolve(root);
    this.#limits = limits;
  }

  /**
   * Starts an upload. Resolves to its id: 32 random hexadecimal digits.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if there are `maxUploads` uploads, or the namespace has its share of them
   * @throws Error of a system call that failed
   */
  start(target: ModuleTarget): Promise<string> {
    return this.#locks.run('', async () => {
      await mkdir(this.#root, { recursive: true, mode: PRIVATE.directory });
      const { maxUploads } = this.#limits;
      const { all, own } = await this.#sweep(target.scope);
      if (all.uploads >= maxUploads || own.uploads >= Math.max(MIN_SHARE, maxUploads / 4)) {
        throw new HotblobError(
          'ERR_HOTBLOB_OVERLOADED',
          `maxUploads: expected at most ${maxUploads} unfinished uploads in parts, found ${all.uploads}, of which ${own.uploads} are of ${target.scope}`,
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
   * @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` if all parts together, or those of the namespace, are too large
   * @throws HotblobError `ERR_HOTBLOB_UNPROCESSABLE` if the upload would exceed 2 GiB or 1,000 parts
   * @throws Error of `body`, or of a system call that failed
   */
  async addPart(id: string, scope: Scope, number: number, body: Readable): Promise<boolean> {
    const directory = this.#pathOf(id);
    const temporary = join(directory, `${randomUUID()}.tmp`);
    try {
      await this.#assertRoom(scope);
      const bytes = await writeDurably(temporary, body);
      await this.#assertRoom(scope);
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

  async #assertRoom(scope: Scope): Promise<void> {
    const { maxPartsBytes } = this.#limits;
    const { all, own } = await this.#locks.run('', () => this.#sweep(scope));
    if (all.bytes <= maxPartsBytes && own.bytes <= maxPartsBytes / 2) return;
    throw new HotblobError(
      'ERR_HOTBLOB_STORAGE_FULL',
      `maxPartsBytes: expected at most ${maxPartsBytes} bytes of unfinished uploads, half of them of one namespace, found ${all.bytes}, of which ${own.bytes} are of ${scope}`,
    );
  }

  /** Removes expired uploads. Resolves to the remaining uploads of all namespaces, and of `scope`. */
  async #sweep(scope: Scope): Promise<{ readonly all: Usage; readonly own: Usage }> {
    const all = { uploads: 0, bytes: 0 };
    const own = { uploads: 0, bytes: 0 };
    for (const name of await readdir(this.#root)) {
      if (!UPLOAD_NAME.test(name)) continue;
      const directory = this.#pathOf(name);
      // The check fails if another process removes the upload at this moment. The upload is then counted once more.
      const isExpired = await this.#isExpired(directory).catch(() => false);
      if (isExpired) {
        await discard(directory);
        continue;
      }
      const bytes = await sizeOf(directory);
      const usages = (await this.find(name))?.target.scope === scope ? [all, own] : [all];
      for (const usage of usages) {
        usage.uploads++;
        usage.bytes += bytes;
      }
    }
    return { all, own };
  }

  async #isExpired(directory: string): Promise<boolean> {
    return (await stat(directory)).mtimeMs + this.#limits.ttlMs < Date.now();
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

/** Resolves to the size of the files in a directory, including parts that are being received. */
async function sizeOf(directory: string): Promise<number> {
  let bytes = 0;
  for (const name of await readdir(directory).catch(() => [])) {
    const stats = await stat(join(directory, name)).catch(() => undefined); // it may have been renamed or removed
    bytes += stats?.size ?? 0;
  }
  return bytes;
}

function discard(directory: string): Promise<void> {
  return rm(directory, { recursive: true, force: true, maxRetries: 3 }).catch(() => {});
}
