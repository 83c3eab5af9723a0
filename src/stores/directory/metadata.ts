import { createHash } from 'node:crypto';
import { type BigIntStats, constants } from 'node:fs';
import { appendFile, lstat, open, opendir, readFile, rmdir, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { UploadMetadata } from '../../contract/artifact.js';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { decodeMetadata } from '../../contract/upload-metadata.js';
import { createDirectory } from '../../util/create-directory.js';
import { type Fingerprint, fingerprintIn } from '../../util/fingerprint-table.js';
import { isMissing } from '../../util/missing-file.js';
import type { Permissions } from '../../util/permissions.js';
import { prefixOf } from '../../util/prefix-of.js';
import { writeAll } from '../disk-full.js';
import { DIRECTORY_BYTES, diskBytesOf, maxDiskBytes } from './disk-usage.js';
import { RESERVED_NAME, removeEmptyParents, syncDirectories } from './paths.js';

/** Name of the directory for sidecar files, below the store's own directory. */
export const METADATA_NAME = 'metadata';
/**
 * Minimum age of a sidecar file that is swept. A younger sidecar file may belong to an upload whose body is not in
 * place yet.
 */
const STALE_AFTER_MS = 60 * 60 * 1000;
const MAX_WRITE_ATTEMPTS = 10;
const SIDECAR_PATH = new RegExp(`^${METADATA_NAME}/([0-9a-f]{2})/([0-9a-f]{2})/([0-9a-f]{60})-`);

/**
 * Fields of stat(2) that distinguish a body from other files that were at its path. A rename changes only the last one,
 * which no program can set.
 */
export type BodyIdentity = Pick<BigIntStats, 'ino' | 'size' | 'mtimeNs' | 'ctimeNs'>;

export function isSameBody(a: BodyIdentity, b: BodyIdentity): boolean {
  return a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;
}

/**
 * Sidecar files: one small file per artifact with the metadata of its upload, in a directory of two levels.
 *
 * The name of a sidecar file consists of the hash of the key and the identity of the body. It can therefore be written
 * before the body is in place, and the rename of the body replaces both at once. If a file is put there by other means,
 * such as `mv`, it never gets the metadata of the previous file.
 *
 * A program that sets times can put another body there with the same inode, size and modification time. If bodies are
 * not immutable, the ctime of the body is therefore added to its sidecar file after the rename, and must be the same when
 * the file is read.
 */
export class Sidecars {
  readonly #root: string;
  readonly #immutable: boolean;
  readonly #permissions: Permissions;
  readonly #directory: string;

  /**
   * @param root directory of the store
   * @param immutable whether bodies are never rewritten in place
   */
  constructor(root: string, immutable: boolean, permissions: Permissions) {
    this.#root = root;
    this.#immutable = immutable;
    this.#permissions = permissions;
    this.#directory = join(root, RESERVED_NAME, METADATA_NAME);
  }

  /** Resolves to whether a sidecar file was ever written in this directory. */
  exist(): Promise<boolean> {
    return stat(this.#directory).then(
      () => true,
      () => false,
    );
  }

  /**
   * Writes a sidecar file and syncs it to disk. Call it before the body is in place. Resolves to the bytes that it takes on the
   * disk, with the directories that were created for it.
   *
   * @throws the system's error
   */
  async write(key: string, body: BodyIdentity, metadata: Uint8Array): Promise<number> {
    const path = this.#pathOf(key, body);
    const directory = dirname(path);
    const text = textOf(key, metadata);
    for (let attempt = 1; ; attempt++) {
      try {
        const created = await createDirectory(directory, this.#permissions.directory);
        // Replaces a file of the same name. That file is stale: its body was deleted, and the file system has reused
        // the inode.
        const handle = await open(path, 'w', this.#permissions.file);
        let bytes: number;
        try {
          await writeAll(handle, text, 0);
          await handle.sync();
          bytes = diskBytesOf(await handle.stat());
        } finally {
          await handle.close();
        }
        const changed = created === undefined ? [directory] : upTo(dirname(created), directory);
        await syncDirectories(changed);
        return bytes + (changed.length - 1) * DIRECTORY_BYTES;
      } catch (error) {
        // A concurrent sweep may remove the empty directory between mkdir and open.
        if (errnoCode(error) !== 'ENOENT' || attempt === MAX_WRITE_ATTEMPTS) throw error;
      }
    }
  }

  /** Adds the ctime of a body to its sidecar file, unless another body is in place by now. Never rejects. */
  async seal(key: string, body: BodyIdentity): Promise<void> {
    if (this.#immutable) return;
    try {
      const placed = await identityAt(prefixOf(this.#root) + key);
      if (placed === undefined || !isSameBody({ ...placed, ctimeNs: body.ctimeNs }, body)) return;
      // Without O_CREAT: a sidecar file that was removed in the meantime must not appear again.
      const flag = constants.O_WRONLY | constants.O_APPEND;
      await appendFile(this.#pathOf(key, body), `\n${placed.ctimeNs}\n`, { flag });
    } catch {
      // Without a ctime, the metadata is valid for every body with the inode, size and modification time.
    }
  }

  /**
   * Reads the metadata of a body. Resolves to undefined if the body has no sidecar file.
   *
   * @throws HotblobError `ERR_HOTBLOB_CORRUPT` if the sidecar file is not valid or belongs to another key
   * @throws the system's error
   */
  async read(key: string, body: BodyIdentity): Promise<UploadMetadata | undefined> {
    const path = this.#pathOf(key, body);
    const bytes = await readFile(path).catch((error: unknown) => {
      if (isMissing(error)) return undefined;
      throw error;
    });
    if (bytes === undefined) return undefined;
    // The key, the metadata, and the ctime of the body in a line of its own, if it was added.
    const [, encoded = '', ctimeNs, end] = bytes.toString().split('\n');
    const metadata = decodeMetadata(Buffer.from(encoded));
    if (keyIn(bytes) === key && metadata !== undefined && (ctimeNs === undefined || end === '')) {
      return ctimeNs === undefined || this.#immutable || ctimeNs === `${body.ctimeNs}` ? metadata : undefined;
    }
    const message = `the metadata of '${key}' is corrupt: delete '${path}' or upload the artifact again`;
    throw new HotblobError('ERR_HOTBLOB_CORRUPT', message);
  }

  /**
   * Removes the sidecar file of a deleted body, if there is one. Resolves to the bytes that this frees on the disk. Never rejects:
   * {@link sweep} removes what is left.
   */
  async remove(key: string, body: BodyIdentity): Promise<number> {
    const path = this.#pathOf(key, body);
    try {
      const bytes = diskBytesOf(await lstat(path));
      await unlink(path);
      return bytes + (await removeEmptyParents(this.#directory, path)) * DIRECTORY_BYTES;
    } catch {
      return 0;
    }
  }

  /** Removes sidecar files whose bodies were deleted or replaced by other programs. Never rejects. */
  async sweep(isCancelled: () => boolean): Promise<void> {
    try {
      for (const first of await namesIn(this.#directory)) {
        for (const second of await namesIn(join(this.#directory, first))) {
          const directory = join(this.#directory, first, second);
          for (const name of await namesIn(directory)) {
            // Only one file is examined at a time, because the sweep is not urgent and reads of cold artifacts need the
            // thread pool.
            if (isCancelled()) return;
            await this.#removeIfStale(join(directory, name));
          }
          await rmdir(directory).catch(() => {}); // not empty
        }
      }
    } catch {
      // The directory is read-only, or another process sweeps at the same time.
    }
  }

  async #removeIfStale(path: string): Promise<void> {
    if ((await stat(path)).mtimeMs > Date.now() - STALE_AFTER_MS) return;
    const key = keyIn(await readFile(path));
    const body = key === undefined ? undefined : await identityAt(prefixOf(this.#root) + key);
    if (key === undefined || body === undefined || this.#pathOf(key, body) !== path) await unlink(path);
  }

  #pathOf(key: string, { ino, size, mtimeNs }: BodyIdentity): string {
    const hash = createHash('sha256').update(key).digest('hex');
    const identity = [ino, size, mtimeNs].map((part) => part.toString(36)).join('-');
    return join(this.#directory, hash.slice(0, 2), hash.slice(2, 4), `${hash.slice(4)}-${identity}`);
  }
}

/**
 * Returns the fingerprint of the key of a sidecar file.
 *
 * @param path path of the file relative to the store's own directory
 */
export function keyFingerprintIn(path: string): Fingerprint | undefined {
  const [, first = '', second = '', rest = ''] = SIDECAR_PATH.exec(path) ?? [];
  return first === '' ? undefined : fingerprintIn(first + second + rest);
}

/** Returns the bytes that a sidecar file and its directories take at most on the disk. */
export function maxSidecarBytes(key: string, metadata: Uint8Array): number {
  return maxDiskBytes(textOf(key, metadata).byteLength) + 2 * DIRECTORY_BYTES;
}

function textOf(key: string, metadata: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${JSON.stringify(key)}\n`), metadata]);
}

/**
 * Returns the identity of the file at `path`, or undefined if there is no file. Follows symbolic links.
 *
 * @throws the system's error
 */
export async function identityAt(path: string): Promise<BodyIdentity | undefined> {
  return stat(path, { bigint: true }).catch((error: unknown) => {
    if (isMissing(error)) return undefined;
    throw error;
  });
}

/** Returns the key in the first line of a sidecar file, or undefined if the line is not valid. */
function keyIn(bytes: Buffer): string | undefined {
  try {
    const key: unknown = JSON.parse(bytes.subarray(0, bytes.indexOf('\n')).toString());
    return typeof key === 'string' ? key : undefined;
  } catch {
    return undefined;
  }
}

async function namesIn(directory: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const entry of await opendir(directory)) names.push(entry.name);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
  return names;
}

/** Returns `directory` and its parents up to `highest`. */
function upTo(highest: string, directory: string): string[] {
  return directory.length <= highest.length ? [highest] : [directory, ...upTo(highest, dirname(directory))];
}
