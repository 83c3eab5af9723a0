import { randomBytes, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, unlink } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { createDirectory } from '../../util/create-directory.js';
import { KeyLocks } from '../../util/key-locks.js';
import { type Permissions, permissionsFor } from '../../util/permissions.js';
import { syncDirectory, writeDurably } from './durable-files.js';
import { type ArrivingPart, MIN_PART_BYTES, PartsUsage } from './parts-usage.js';
import type { Project } from './project.js';

/** Artifact that an upload in parts creates. Each string is a segment of its key. */
export interface ModuleTarget {
  readonly project: Project;
  readonly category: string;
  readonly hash: string;
  readonly name: string;
}

/** Upload in parts, as its first request started it. */
export interface StartedUpload extends ModuleTarget {
  /** View of the request (`ProtocolArtifacts.view`). Requests with another view must not add parts to the upload. */
  readonly view: string;
  /** Scope that the artifact will be stored in. */
  readonly scope: string;
}

/** Part of an upload that was received completely. */
export interface Part {
  readonly number: number;
  readonly path: string;
  readonly bytes: number;
}

/** Limits of all unfinished uploads together, and who may access their files. */
export interface ModuleUploadOptions {
  /** Time after the last change of an upload at which it expires. */
  readonly ttlMs: number;
  /** Maximum number of uploads. A namespace gets a quarter of them in each scope, but at least 8. */
  readonly maxUploads: number;
  /** Maximum size of all parts. A namespace gets half of it in each scope. */
  readonly maxPartsBytes: number;
  /** Called with each change of the space of the parts by this process, in bytes. */
  readonly onPartsBytes?: ((change: number) => void) | undefined;
  /** Whether the group may read and write the files. */
  readonly groupAccess?: boolean | undefined;
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
 * `<id>.new`, and a directory that was being removed remains as `<id>.old`. Entries with other names are never removed.
 */
const UPLOAD_NAME = /^[0-9a-f]{32}(?:\.new|\.old)?$/;

/**
 * Uploads in parts. Each upload has a directory: `upload.json` describes the artifact, and `part-<number>` is a part. A
 * part is flushed to disk before it is acknowledged. Uploads survive a restart, and several processes can receive parts of
 * one upload. An upload expires `ttlMs` after the last change of its directory. Expired uploads are removed when the next
 * upload starts. Only then does a process also count the parts that other processes have received.
 */
export class ModuleUploads {
  readonly #root: string;
  readonly #ttlMs: number;
  readonly #permissions: Permissions;
  readonly #usage: PartsUsage;
  /** Whether the usage includes the uploads that existed when the process started. */
  #isSwept = false;
  readonly #locks = new KeyLocks();

  constructor(root: string, options: ModuleUploadOptions) {
    this.#root = resolve(root);
    this.#ttlMs = options.ttlMs;
    this.#permissions = permissionsFor(options.groupAccess);
    this.#usage = new PartsUsage(options);
  }

  /**
   * Starts an upload. Resolves to its id: 32 random hexadecimal digits.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED` if there are `maxUploads` uploads, or the namespace has its share of them
   * @throws Error of a system call that failed
   */
  start(target: StartedUpload): Promise<string> {
    return this.#locks.run('', async () => {
      await createDirectory(this.#root, this.#permissions.directory);
      await this.#sweep();
      this.#usage.assertMayStart(ownerOf(target));
      const id = randomBytes(16).toString('hex');
      const temporary = this.#pathOf(`${id}.new`);
      try {
        await mkdir(temporary, { mode: this.#permissions.directory });
        await writeDurably(join(temporary, TARGET_NAME), this.#permissions.file, JSON.stringify(target));
        await syncDirectory(temporary);
        await rename(temporary, this.#pathOf(id));
        await syncDirectory(this.#root);
      } catch (error) {
        await discard(temporary);
        throw error;
      }
      this.#usage.set(id, { owner: ownerOf(target), bytes: 0, mtimeMs: undefined });
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
  async addPart(id: string, upload: StartedUpload, number: number, body: Readable): Promise<boolean> {
    const directory = this.#pathOf(id);
    const temporary = join(directory, `${randomUUID()}.tmp`);
    const owner = ownerOf(upload);
    const arriving = this.#usage.beginPart(owner);
    try {
      if (!this.#isSwept) await this.#locks.run('', async () => this.#isSwept || this.#sweep());
      arriving.add(0);
      const bytes = await writeDurably(temporary, this.#permissions.file, counted(body, arriving));
      await this.lock(id, async () => {
        const others = (await partsOf(directory)).filter((part) => part.number !== number);
        const parts = [...others, { number, path: temporary, bytes }];
        assertUploadLimits(parts);
        await rename(temporary, join(directory, `part-${number}`));
        await syncDirectory(directory);
        this.#usage.update(id, { owner, bytes: spaceOf(parts), mtimeMs: undefined });
      });
      return true;
    } catch (error) {
      await unlink(temporary).catch(() => {}); // it may not exist, or the upload was removed
      if (errnoCode(error) === 'ENOENT') return false;
      throw error;
    } finally {
      arriving.release();
      body.destroy();
    }
  }

  /** Resolves to what an upload was started with, or to `undefined` if the upload does not exist or has expired. */
  async find(id: string): Promise<StartedUpload | undefined> {
    const directory = this.#pathOf(id);
    try {
      if (this.#hasExpired(await mtimeOf(directory))) return undefined;
      // The file is not validated: this class wrote it, and renamed the directory only when the file was complete.
      return JSON.parse(await readFile(join(directory, TARGET_NAME), 'utf8'));
    } catch (error) {
      if (errnoCode(error) === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Resolves to the received parts in ascending order of their numbers; to none if the upload does not exist. */
  parts(id: string): Promise<Part[]> {
    return partsOf(this.#pathOf(id)).catch((error: unknown) => {
      if (errnoCode(error) === 'ENOENT') return [];
      throw error;
    });
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
    this.#usage.remove(id);
  }

  /** Removes expired uploads, and counts the others. Reads only the directories that have changed. */
  async #sweep(): Promise<void> {
    const names = new Set((await readdir(this.#root)).filter((name) => UPLOAD_NAME.test(name)));
    for (const name of this.#usage.names()) if (!names.has(name)) this.#usage.delete(name);
    for (const name of names) {
      const directory = this.#pathOf(name);
      try {
        const mtimeMs = await mtimeOf(directory);
        if (this.#hasExpired(mtimeMs)) {
          await discard(directory);
          this.#usage.remove(name);
        } else if (!this.#usage.isCurrent(name, mtimeMs)) {
          const bytes = spaceOf(await this.parts(name));
          this.#usage.set(name, { owner: await this.#ownerOf(name), bytes, mtimeMs });
        }
      } catch (error) {
        // Another request or process has removed the upload since. After any other error, it may still be in progress.
        if (errnoCode(error) === 'ENOENT') this.#usage.delete(name);
      }
    }
    this.#isSwept = true;
  }

  /** Resolves to `undefined` if the description of the upload is being written or removed, or cannot be read. */
  async #ownerOf(name: string): Promise<string | undefined> {
    if (name.includes('.')) return undefined;
    const target = await this.find(name).catch(() => undefined);
    return target && ownerOf(target);
  }

  #hasExpired(mtimeMs: number): boolean {
    return mtimeMs + this.#ttlMs < Date.now();
  }

  #pathOf(name: string): string {
    return join(this.#root, name);
  }
}

/** Returns who has a share of the limits: a namespace in a scope, so that one scope does not use the share of another. */
function ownerOf({ project, scope }: StartedUpload): string {
  return scope === 'default' ? project : `${project} (scope ${scope})`;
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

/** Returns the chunks of `body`, and counts their bytes. */
async function* counted(body: Readable, part: ArrivingPart): AsyncGenerator<Uint8Array> {
  const chunks: AsyncIterable<Uint8Array> = body;
  for await (const chunk of chunks) {
    part.add(chunk.byteLength);
    yield chunk;
  }
}

function spaceOf(parts: readonly Part[]): number {
  return parts.reduce((sum, { bytes }) => sum + Math.max(MIN_PART_BYTES, bytes), 0);
}

async function mtimeOf(path: string): Promise<number> {
  return (await stat(path)).mtimeMs;
}

function discard(directory: string): Promise<void> {
  return rm(directory, { recursive: true, force: true, maxRetries: 3 }).catch(() => {});
}
