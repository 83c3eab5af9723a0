import { lstat, mkdir, opendir, readdir, realpath, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { FileArtifact } from '../../contract/artifact.js';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import {
  assertKey,
  type GetOptions,
  isKey,
  type PutOptions,
  type PutResult,
  type ReadWriteStore,
  type StoreEntry,
  type StoreStats,
} from '../../contract/store.js';
import { assertOptions, BYTES, FLAG, invalidOption } from '../../contract/validation.js';
import { discard } from '../body.js';
import { DirectoryEviction } from './eviction.js';
import { MetadataLookups } from './lookups.js';
import { Sidecars } from './metadata.js';
import { hasParentInside, isReserved, prefixOf, RESERVED_NAME, removeEmptyParents } from './paths.js';
import { DirectoryUploads, UPLOADS_NAME } from './uploads.js';
import { filesBelow } from './walk.js';

/** What {@link directoryStore} takes. */
export interface DirectoryStoreOptions {
  /**
   * Whether files are promised to be immutable (see {@link FileArtifact}). True: the user vouches for everybody who writes
   * there. False: never. Default: for a directory that a store has created, because only stores write there.
   */
  readonly immutable?: boolean | undefined;
  /**
   * All files together, in bytes; those used longest ago are deleted, whoever put them there, when an upload needs room.
   * Uploads in progress come on top, and up to 5 KiB for each artifact with metadata. Default: no limit.
   */
  readonly maxBytes?: number | undefined;
}

/** A store whose artifacts are the files of a directory. */
export interface DirectoryStore extends ReadWriteStore {
  /** Whether its files are promised to be immutable. */
  readonly immutable: boolean;
  /** The directory, absolute and with symlinks resolved. */
  readonly root: string;
  /**
   * Where the artifact is, or would be. Synchronous, and nobody looks, as long as no upload has said anything about itself;
   * from then on for what was looked at within the last second.
   */
  get(key: string, options?: GetOptions): FileArtifact | Promise<FileArtifact>;
  /**
   * The files whose paths are keys, without what uploads have said about them; symlinks are left out. Last used is the latest
   * of a file's modification, its access as the file system has it (with `relatime` right to a day), and with `maxBytes` its
   * last use here.
   */
  list(): AsyncIterable<StoreEntry>;
  /** With `maxBytes` what it holds is known: from the last scan, and from what this process has put and deleted since. */
  stats(): StoreStats;
}

const MARKER_NAME = 'immutable';
const MARKER_TEXT =
  'hotblob has created this directory and maps its files. Replace them by rename, or unlink them; never write to them.\n';
const LEFTOVER_MS = 24 * 60 * 60 * 1000;

/**
 * A store over the files of `dir`, which is created where it is absent. A key is the path below it.
 *
 * An upload is a temporary file below `dir/.hotblob` that is renamed once it is complete and on the disk, so that readers
 * see the old artifact or the new one. Keys below `.hotblob` are refused. A directory that cannot be written to can be
 * read. Several processes may use one directory; a limit then holds but for what the others have put since the last scan.
 *
 * What an upload says about itself is in a file below `dir/.hotblob/metadata` that names the inode, size and time of the
 * artifact's file: another file in its place, by `mv` or from a backup, has no metadata. What another process puts may be
 * given the metadata of before for up to a second.
 *
 * Symlinks that lead out of the directory are followed neither for reading nor for writing. Who can replace its
 * directories by symlinks while an upload is placed is trusted.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an option that is unknown or wrong, and where `dir` is a file,
 * cannot be read or cannot be created
 */
export async function directoryStore(dir: string, options: DirectoryStoreOptions = {}): Promise<DirectoryStore> {
  if (typeof dir !== 'string' || dir === '') throw invalidOption('dir', 'the path of a directory', dir);
  assertOptions(options, { immutable: FLAG, maxBytes: BYTES });
  // Read before the first wait: the caller may change its object.
  const { immutable, maxBytes } = options;
  let root: string;
  let isOurs: boolean;
  try {
    isOurs = await createOrFind(dir);
    root = await realpath(dir);
    // Listing it and reaching what is in it are two permissions; access(2) would ask for the real user's.
    await opendir(root).then((directory) => directory.close());
    await stat(`${prefixOf(root)}.`);
  } catch (cause) {
    const code = errnoCode(cause);
    const found = code === 'EEXIST' || code === 'ENOTDIR' ? 'a file' : `${code ?? cause}`;
    const message = `dir: expected a directory that can be read or created, received ${found} at '${dir}'`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message, { cause });
  }
  await removeLeftovers(join(root, RESERVED_NAME, UPLOADS_NAME));
  const sidecars = new Sidecars(root);
  const isDescribed = await sidecars.exist();
  const eviction = maxBytes === undefined ? undefined : new DirectoryEviction(root, maxBytes, sidecars);
  eviction?.measure();
  const store = new FilesInDirectory(root, immutable ?? isOurs, maxBytes, eviction, sidecars, isDescribed);
  if (isDescribed) store.sweep();
  return store;
}

class FilesInDirectory implements DirectoryStore {
  readonly root: string;
  readonly immutable: boolean;
  readonly #prefix: string;
  readonly #uploads: DirectoryUploads;
  readonly #eviction: DirectoryEviction | undefined;
  readonly #sidecars: Sidecars;
  readonly #lookups: MetadataLookups;
  readonly #running = new Set<Promise<unknown>>();
  #closed = false;

  constructor(
    root: string,
    immutable: boolean,
    maxBytes: number | undefined,
    eviction: DirectoryEviction | undefined,
    sidecars: Sidecars,
    isDescribed: boolean,
  ) {
    this.root = root;
    this.immutable = immutable;
    this.#prefix = prefixOf(root);
    this.#sidecars = sidecars;
    this.#lookups = new MetadataLookups(sidecars, isDescribed);
    const metadata = { sidecars, lookups: this.#lookups };
    this.#uploads = new DirectoryUploads(root, maxBytes ?? Number.POSITIVE_INFINITY, eviction, metadata);
    this.#eviction = eviction;
  }

  get(key: string): FileArtifact | Promise<FileArtifact> {
    assertStorable(key);
    this.#eviction?.touch(key);
    const path = this.#prefix + key;
    const artifact = this.#artifactAt(path);
    const metadata = this.#lookups.get(key, path);
    if (metadata === undefined) return artifact;
    if (metadata instanceof Promise) return metadata.then((found) => ({ ...artifact, ...found }));
    return { ...artifact, ...metadata };
  }

  async *list(): AsyncGenerator<StoreEntry> {
    for await (const files of filesBelow(this.root, () => false)) {
      for (const file of files) {
        const { key, bytes: size } = file;
        if (!isKey(key)) continue; // `get` would refuse it
        const usedAt = this.#eviction?.lastUse(file) ?? file.usedAt;
        yield { key, artifact: this.#artifactAt(this.#prefix + key), size, usedAt };
      }
    }
  }

  stats(): StoreStats {
    return this.#eviction?.stats() ?? {};
  }

  /** Removes in the background what is said about artifacts that are gone. */
  sweep(): void {
    const sweep = this.#sidecars.sweep(() => this.#closed).finally(() => this.#running.delete(sweep));
    this.#running.add(sweep);
  }

  async put(key: string, body: Readable, options: PutOptions): Promise<PutResult> {
    try {
      assertStorable(key);
      options.signal.throwIfAborted();
      if (this.#closed) throw new HotblobError('ERR_HOTBLOB_OVERLOADED', 'the store has been closed');
      const upload = this.#uploads.put(key, body, options);
      this.#running.add(upload);
      return await upload.finally(() => this.#running.delete(upload));
    } catch (error) {
      discard(body);
      throw error;
    }
  }

  async delete(key: string): Promise<boolean> {
    assertStorable(key);
    const path = this.#prefix + key;
    try {
      if (!(await hasParentInside(this.root, path))) return false;
      const body = await lstat(path, { bigint: true });
      // Asked for, because unlinking a directory is EISDIR on Linux, but EPERM in POSIX.
      if (body.isDirectory()) return false;
      await unlink(path);
      if (body.isFile()) this.#eviction?.forget(Number(body.size));
      this.#lookups.expire(key);
      await this.#sidecars.remove(key, body);
    } catch (error) {
      if (NOT_THERE.has(errnoCode(error) ?? '')) return false;
      throw error;
    }
    await removeEmptyParents(this.root, path);
    return true;
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#running);
    await this.#eviction?.close();
  }

  #artifactAt(path: string): FileArtifact {
    return { kind: 'file', path, immutable: this.immutable, root: this.root };
  }
}

const NOT_THERE = new Set(['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP', 'ENAMETOOLONG']);

function assertStorable(key: string): void {
  assertKey(key);
  if (isReserved(key)) {
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', `keys below "${RESERVED_NAME}" are the store's own`);
  }
}

/** Creates the directory where it is absent. Whether a store has created it, now or before. */
async function createOrFind(dir: string): Promise<boolean> {
  const created = await mkdir(dir, { recursive: true });
  if (created === undefined) return isCreatedByStore(dir);
  await mkdir(join(dir, RESERVED_NAME));
  await writeFile(markerOf(dir), MARKER_TEXT);
  return true;
}

/** Whether a store has created the directory: its files are immutable then. */
export function isCreatedByStore(dir: string): Promise<boolean> {
  return stat(markerOf(dir)).then(
    () => true,
    () => false,
  );
}

function markerOf(dir: string): string {
  return join(dir, RESERVED_NAME, MARKER_NAME);
}

/** Removes what processes that were killed have left. What is younger may still be written to. */
async function removeLeftovers(uploads: string): Promise<void> {
  try {
    for (const name of await readdir(uploads)) {
      const path = join(uploads, name);
      if ((await stat(path)).mtimeMs < Date.now() - LEFTOVER_MS) await unlink(path);
    }
  } catch {
    // no uploads yet, a directory that is only read, or another process that does the same
  }
}
