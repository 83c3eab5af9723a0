import { randomUUID } from 'node:crypto';
import { type FileHandle, link, lstat, open, rename, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import type { PutOptions, PutResult } from '../../contract/store.js';
import { encodeMetadata } from '../../contract/upload-metadata.js';
import { releaseFile } from '../../page-cache/release-file.js';
import { createDirectory } from '../../util/create-directory.js';
import type { Permissions } from '../../util/permissions.js';
import { prefixOf } from '../../util/prefix-of.js';
import { chunksOf } from '../body.js';
import { isDiskFull, writeAll } from '../disk-full.js';
import { existsError } from '../exists-error.js';
import { DIRECTORY_BYTES, diskBytesOf } from './disk-usage.js';
import type { DirectoryEviction } from './eviction.js';
import type { MetadataLookups } from './lookups.js';
import type { BodyIdentity, Sidecars } from './metadata.js';
import { pathLocks } from './path-locks.js';
import { makeParents, RESERVED_NAME, syncDirectories, UPLOADS_NAME } from './paths.js';
import type { Reservation } from './reservation.js';
import { maxBodyBytes, overheadOf } from './upload-limit.js';

/**
 * Maximum number of attempts to put an upload in place. A concurrent deletion may remove an empty directory between two
 * steps. If all attempts fail, the cause is another one.
 */
const MAX_PLACE_ATTEMPTS = 10;

/** Result of the rename that puts an upload in place. */
interface Placed {
  /** Identity of the previous file, symbolic link or other entry; undefined if there was none. */
  readonly replaced: BodyIdentity | undefined;
  /** Whether there was no regular file at the path. */
  readonly isNew: boolean;
  /** Bytes on the disk by which the upload increased the usage of the directory. */
  readonly addedBytes: number;
  /** Directories whose entries changed. */
  readonly directories: ReadonlySet<string>;
}

/** Complete upload in a temporary file. */
interface Received {
  readonly body: BodyIdentity;
  /** Bytes that the file takes on the disk. */
  readonly diskBytes: number;
}

/** Stores uploads as files of a directory. An upload appears as a whole or not at all. */
export class DirectoryUploads {
  readonly #root: string;
  readonly #temporaryPrefix: string;
  readonly #maxBytes: number;
  readonly #eviction: DirectoryEviction | undefined;
  readonly #permissions: Permissions;
  readonly #sidecars: Sidecars;
  readonly #lookups: MetadataLookups;

  /**
   * @param temporaryPrefix prefix of the names of temporary files, unique to this store
   * @param eviction undefined without a limit
   */
  constructor(
    root: string,
    temporaryPrefix: string,
    maxBytes: number,
    eviction: DirectoryEviction | undefined,
    files: { readonly permissions: Permissions; readonly sidecars: Sidecars; readonly lookups: MetadataLookups },
  ) {
    this.#root = root;
    this.#temporaryPrefix = temporaryPrefix;
    this.#maxBytes = maxBytes;
    this.#eviction = eviction;
    this.#permissions = files.permissions;
    this.#sidecars = files.sidecars;
    this.#lookups = files.lookups;
  }

  /**
   * Implements `put` of the store. `key` must be valid and not reserved.
   *
   * @throws HotblobError for the reasons of {@link encodeMetadata} and {@link chunksOf}
   * @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` if the file system or the quota is full
   * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` or `ERR_HOTBLOB_KEY_TOO_LONG` if the file system cannot store the
   *   key
   * @throws the error of the body or of a system call, or the reason of the signal
   */
  async put(key: string, body: Readable, options: Partial<PutOptions>): Promise<PutResult> {
    const temporary = join(this.#root, RESERVED_NAME, UPLOADS_NAME, this.#temporaryPrefix + randomUUID());
    const { signal, ifAbsent = false } = options;
    const metadata = encodeMetadata(options.metadata);
    const { directories, overhead: maxOverhead } = overheadOf(key, metadata);
    const maxBytes = maxBodyBytes(maxOverhead, this.#maxBytes, this.#eviction?.maxBytesOf(key));
    const reservation = this.#eviction?.createReservation(key, signal);
    let received: Received | undefined;
    let sidecarBytes = 0;
    try {
      await this.#eviction?.awaitUsage(signal);
      received = await receive(body, options, maxBytes, temporary, this.#permissions, reservation, maxOverhead);
      const { diskBytes } = received;
      if (metadata !== undefined) {
        this.#lookups.enable();
        const identity = received.body;
        sidecarBytes = await this.#changeBytes(key, async () => {
          const bytes = await this.#sidecars.write(key, identity, metadata);
          // From now on, a scan finds the file. The upload itself is counted when it is in place.
          reservation?.shrink(bytes);
          return bytes;
        });
      }
      const place = (): Promise<Placed> => this.#place(key, temporary, diskBytes, signal, ifAbsent);
      const placed = await (this.#eviction !== undefined && reservation !== undefined
        ? this.#eviction.add(key, reservation, diskBytes + directories * DIRECTORY_BYTES, signal, place)
        : place());
      if (metadata !== undefined) await this.#sidecars.seal(key, received.body);
      this.#lookups.expire(key);
      await syncDirectories(placed.directories);
      const { replaced } = placed;
      if (replaced !== undefined)
        await this.#changeBytes(key, async () => -(await this.#sidecars.remove(key, replaced)));
      return { created: replaced === undefined };
    } catch (error) {
      await unlink(temporary).catch(() => {}); // it may not exist
      if (metadata !== undefined && received !== undefined) {
        const { body: identity } = received;
        // The bytes are counted only if the file was written.
        await this.#changeBytes(key, async () => -Math.min(sidecarBytes, await this.#sidecars.remove(key, identity)));
      }
      throw mapFullError(error);
    } finally {
      reservation?.release();
    }
  }

  /** Runs an operation on sidecar files of a key, and counts the bytes to which it resolves: by how much the usage grew. */
  #changeBytes(key: string, operation: () => Promise<number>): Promise<number> {
    const eviction = this.#eviction;
    if (eviction === undefined) return operation();
    return eviction.during(async () => {
      const bytes = await operation();
      eviction.countBytes(bytes, key);
      return bytes;
    });
  }

  async #place(
    key: string,
    temporary: string,
    diskBytes: number,
    signal: AbortSignal | undefined,
    ifAbsent: boolean,
  ): Promise<Placed> {
    const path = prefixOf(this.#root) + key;
    for (let attempt = 1; ; attempt++) {
      const created: string[] = [];
      try {
        await makeParents(this.#root, path, this.#permissions.directory, created);
        const replaced = await statsOf(path);
        if (ifAbsent && replaced !== undefined && !replaced.isDirectory()) throw existsError();
        signal?.throwIfAborted();
        if (ifAbsent) await linkNew(temporary, path);
        else await pathLocks.run(path, () => rename(temporary, path));
        this.#lookups.expire(key);
        await releaseFile(path);
        const isNew = replaced?.isFile() !== true;
        const replacedBytes = replaced === undefined || isNew ? 0 : diskBytesOf(replaced);
        return {
          replaced,
          isNew,
          addedBytes: diskBytes + created.length * DIRECTORY_BYTES - replacedBytes,
          directories: new Set([path, ...created].map((each) => dirname(each))),
        };
      } catch (error) {
        for (const directory of created.reverse()) await rmdir(directory).catch(() => {}); // another upload may use it
        if (errnoCode(error) !== 'ENOENT' || attempt === MAX_PLACE_ATTEMPTS) throw mapKeyError(error);
      }
    }
  }
}

/**
 * Writes the body to a new file and syncs it to disk. Takes space as the bytes arrive.
 *
 * @param overhead bytes that the upload takes on the disk in addition to its body
 */
async function receive(
  body: Readable,
  options: Partial<PutOptions>,
  maxBytes: number,
  path: string,
  permissions: Permissions,
  reservation: Reservation | undefined,
  overhead: number,
): Promise<Received> {
  // The file is created when the first bytes have arrived: a client that sends only headers takes no descriptor.
  let handle: FileHandle | undefined;
  let received = 0;
  let missingBytes = overhead;
  try {
    for await (const chunk of chunksOf(body, options, maxBytes)) {
      await reservation?.grow(missingBytes + chunk.byteLength);
      missingBytes = 0;
      const position = received;
      received += chunk.byteLength;
      // Before the file is opened: an upload that finds no space meanwhile waits only for uploads that are complete.
      if (received === options.size) reservation?.complete();
      handle ??= await openNew(path, permissions);
      await writeAll(handle, chunk, position);
    }
    if (missingBytes > 0) await reservation?.grow(missingBytes);
    handle ??= await openNew(path, permissions); // of an empty artifact
    reservation?.complete();
    // The file is synced before the rename. Otherwise, a crash could leave the name of the artifact without its bytes.
    await handle.sync();
    const stats = await handle.stat({ bigint: true });
    return { body: stats, diskBytes: diskBytesOf(stats) };
  } finally {
    await handle?.close();
  }
}

async function openNew(path: string, { directory, file }: Permissions): Promise<FileHandle> {
  try {
    return await open(path, 'wx', file);
  } catch (error) {
    if (errnoCode(error) !== 'ENOENT') throw error;
    await createDirectory(dirname(path), directory);
    return open(path, 'wx', file);
  }
}

/** Error codes of link(2) on a file system without hard links, such as exFAT. */
const LINKS_UNSUPPORTED = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

/**
 * Like {@link linkNew}, for file systems without hard links. Only uploads with `ifAbsent` of this process exclude each
 * other: a file that another upload puts at the path after the check is replaced.
 */
function renameNew(temporary: string, path: string): Promise<void> {
  return pathLocks.run(path, async () => {
    if ((await statsOf(path)) !== undefined) throw existsError();
    await rename(temporary, path);
  });
}

/**
 * Moves a file to a path that must be free. Unlike rename(2), link(2) fails if another process has put a file there.
 *
 * @throws HotblobError `ERR_HOTBLOB_EXISTS` if there is a file
 */
async function linkNew(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
  } catch (cause) {
    if (LINKS_UNSUPPORTED.has(errnoCode(cause) ?? '')) return renameNew(temporary, path);
    if (errnoCode(cause) === 'EEXIST' && (await statsOf(path))?.isDirectory() === false) throw existsError({ cause });
    throw cause;
  }
  // If this fails, the second name is removed with the other stale temporary files.
  await unlink(temporary).catch(() => {});
}

function statsOf(path: string) {
  return lstat(path, { bigint: true }).catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  });
}

/**
 * Error codes of mkdir(2) and rename(2) if there is a file where a directory is needed, or a directory where a file is
 * needed.
 */
const KEY_CONFLICTS = new Set(['ENOTDIR', 'EISDIR', 'EEXIST', 'ENOTEMPTY', 'ELOOP']);

function mapKeyError(cause: unknown): unknown {
  const code = errnoCode(cause) ?? '';
  if (code === 'ENAMETOOLONG') {
    const message = 'key: a segment of the key, or the whole path, is longer than the file system allows';
    return new HotblobError('ERR_HOTBLOB_KEY_TOO_LONG', message, { cause });
  }
  if (!KEY_CONFLICTS.has(code)) return cause;
  const message = 'key: conflicts with another key: a directory store cannot hold both "a" and "a/b"';
  return new HotblobError('ERR_HOTBLOB_INVALID_KEY', message, { cause });
}

function mapFullError(cause: unknown): unknown {
  if (!isDiskFull(cause)) return cause;
  const message = `the file system or the disk quota of the directory is full (${errnoCode(cause)})`;
  return new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message, { cause });
}
