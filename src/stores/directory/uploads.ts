import { randomUUID } from 'node:crypto';
import { type FileHandle, lstat, mkdir, open, rename, rmdir, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Readable } from 'node:stream';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import type { PutOptions, PutResult } from '../../contract/store.js';
import { encodeMetadata } from '../../contract/upload-metadata.js';
import { chunksOf } from '../body.js';
import type { DirectoryEviction } from './eviction.js';
import type { MetadataLookups } from './lookups.js';
import type { BodyIdentity, Sidecars } from './metadata.js';
import { makeParents, prefixOf, RESERVED_NAME, syncDirectories } from './paths.js';

/** Where uploads in progress are, below the store's own directory. */
export const UPLOADS_NAME = 'uploads';
/** Between two steps a deletion may remove a directory that has become empty; that often in a row it is no accident. */
const PLACE_ATTEMPTS = 10;

/** A file in its place. */
interface Placed {
  /** What was there before. */
  readonly replaced: BodyIdentity | undefined;
  /** Undefined where that was no file. */
  readonly replacedBytes: number | undefined;
  /** Those whose entries have changed. */
  readonly directories: ReadonlySet<string>;
}

/** Turns uploads into files of a directory: wholly or not at all. */
export class DirectoryUploads {
  readonly #root: string;
  readonly #maxBytes: number;
  readonly #eviction: DirectoryEviction | undefined;
  readonly #sidecars: Sidecars;
  readonly #lookups: MetadataLookups;

  constructor(
    root: string,
    maxBytes: number,
    eviction: DirectoryEviction | undefined,
    metadata: { readonly sidecars: Sidecars; readonly lookups: MetadataLookups },
  ) {
    this.#root = root;
    this.#maxBytes = maxBytes;
    this.#eviction = eviction;
    this.#sidecars = metadata.sidecars;
    this.#lookups = metadata.lookups;
  }

  /**
   * As the `put` of a store; `key` is one that may be stored.
   *
   * @throws HotblobError as {@link encodeMetadata}; `ERR_HOTBLOB_TOO_LARGE`, `ERR_HOTBLOB_INCOMPLETE`, `ERR_HOTBLOB_STORAGE_FULL`,
   * `ERR_HOTBLOB_INVALID_KEY` or `ERR_HOTBLOB_KEY_TOO_LONG` for a key that the file system cannot have; else what the
   * body, the signal or the system says
   */
  async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
    const temporary = join(this.#root, RESERVED_NAME, UPLOADS_NAME, randomUUID());
    const { signal } = options;
    const metadata = encodeMetadata(options.metadata);
    let received: BodyIdentity | undefined;
    try {
      received = await receive(body, options, this.#maxBytes, temporary);
      if (metadata !== undefined) {
        this.#lookups.begin();
        await this.#sidecars.write(key, received, metadata);
      }
      const place = (): Promise<Placed> => this.#place(temporary, prefixOf(this.#root) + key, signal);
      const placed = await (this.#eviction?.add(key, Number(received.size), signal, place) ?? place());
      this.#lookups.expire(key);
      await syncDirectories(placed.directories);
      if (placed.replaced !== undefined) await this.#sidecars.remove(key, placed.replaced);
      return { created: placed.replaced === undefined };
    } catch (error) {
      await unlink(temporary).catch(() => {}); // it may never have been made
      if (received !== undefined && metadata !== undefined) await this.#sidecars.remove(key, received);
      throw fullOr(error);
    }
  }

  async #place(temporary: string, path: string, signal: AbortSignal): Promise<Placed> {
    for (let attempt = 1; ; attempt++) {
      const made: string[] = [];
      try {
        await makeParents(this.#root, path, made);
        const replaced = await statsOf(path);
        signal.throwIfAborted();
        await rename(temporary, path);
        return {
          replaced,
          replacedBytes: replaced?.isFile() ? Number(replaced.size) : undefined,
          directories: new Set([path, ...made].map((each) => dirname(each))),
        };
      } catch (error) {
        for (const directory of made.reverse()) await rmdir(directory).catch(() => {}); // another upload may use it
        if (errnoCode(error) !== 'ENOENT' || attempt === PLACE_ATTEMPTS) throw unstorableOr(error);
      }
    }
  }
}

/** Writes the body to a new file and to the disk. Resolves to what tells that file from others. */
async function receive(body: Readable, options: PutOptions, maxBytes: number, path: string): Promise<BodyIdentity> {
  const handle = await openNew(path);
  try {
    for await (const chunk of chunksOf(body, options, maxBytes)) await writeAll(handle, chunk);
    // Before the rename: after a crash there must not be a name without the bytes.
    await handle.sync();
    return await handle.stat({ bigint: true });
  } finally {
    await handle.close();
  }
}

async function openNew(path: string): Promise<FileHandle> {
  try {
    return await open(path, 'wx');
  } catch (error) {
    if (errnoCode(error) !== 'ENOENT') throw error;
    await mkdir(dirname(path), { recursive: true });
    return open(path, 'wx');
  }
}

async function writeAll(handle: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let written = 0; written < chunk.byteLength; ) {
    written += (await handle.write(chunk, written)).bytesWritten;
  }
}

function statsOf(path: string) {
  return lstat(path, { bigint: true }).catch((error: unknown) => {
    if (errnoCode(error) === 'ENOENT') return undefined;
    throw error;
  });
}

const UNSTORABLE = new Set(['ENOTDIR', 'EISDIR', 'EEXIST', 'ENOTEMPTY', 'ELOOP']);

function unstorableOr(cause: unknown): unknown {
  const code = errnoCode(cause) ?? '';
  if (code === 'ENAMETOOLONG') {
    return new HotblobError('ERR_HOTBLOB_KEY_TOO_LONG', 'a part of the key is longer than the file system allows', {
      cause,
    });
  }
  if (!UNSTORABLE.has(code)) return cause;
  const message = 'a file is in the way: the key begins with another key, or another key begins with it';
  return new HotblobError('ERR_HOTBLOB_INVALID_KEY', message, { cause });
}

function fullOr(cause: unknown): unknown {
  const code = errnoCode(cause);
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return cause;
  return new HotblobError('ERR_HOTBLOB_STORAGE_FULL', `the file system has no room left (${code})`, { cause });
}
