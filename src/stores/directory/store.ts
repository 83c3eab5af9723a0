import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import type { FileArtifact } from '../../contract/artifact.js';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import type { PurgeFilter, PurgeOptions, PurgeResult } from '../../contract/purge.js';
import {
  isKey,
  type ListOptions,
  type PutOptions,
  type PutResult,
  type StoreEntry,
  type StoreStats,
} from '../../contract/store.js';
import { invalidOption } from '../../contract/validation.js';
import { copyString } from '../../util/copy-string.js';
import { type Permissions, permissionsFor } from '../../util/permissions.js';
import { prefixOf } from '../../util/prefix-of.js';
import { TwoGenerationMap } from '../../util/two-generation-map.js';
import { discard } from '../body.js';
import { CORRUPT_ARTIFACTS, CorruptArtifacts } from '../corrupt-artifacts.js';
import { Purges } from '../purges.js';
import { RECORD_READ, type ReadRecorder } from '../record-read.js';
import type { RetentionRules } from '../retention/rules.js';
import { DirectoryDeletions } from './deletions.js';
import { DirectoryEviction } from './eviction.js';
import { LastUses, type UsedKey } from './last-uses.js';
import { MetadataLookups } from './lookups.js';
import { identityAt, isSameBody, Sidecars } from './metadata.js';
import { openDirectory } from './open-directory.js';
import { assertDirectoryOptions, type DirectoryStoreOptions } from './options.js';
import { assertStorable, RESERVED_NAME, SHARED_LOCK_NAME, UPLOADS_NAME } from './paths.js';
import { type DirectoryStore, type DirectoryStoreReader, toReader } from './reader.js';
import { removeStaleUploads } from './stale-uploads.js';
import { DirectoryUploads } from './uploads.js';
import { fileAt, filesBelow } from './walk.js';

/** Number of artifacts in a generation of the cache. With keys of 100 characters, both generations take about 4 MB. */
const CACHED_ARTIFACTS = 4096;

export type { DirectoryStoreOptions } from './options.js';
export type { DirectoryStore, DirectoryStoreReader } from './reader.js';

/**
 * Opens a store whose artifacts are the files of `dir`. The directory is created if it does not exist. A key is the
 * path of a file relative to `dir`.
 *
 * An upload is written to a temporary file below `dir/.hotblob`, synced to disk and then renamed, so that readers see
 * either the old or the new artifact. Keys below `.hotblob` are rejected. Several
 * processes can share a directory. Each process counts the uploads of the others only at its next scan, so the files
 * can exceed `maxBytes` until then.
 *
 * The metadata of an upload is stored in a file below `dir/.hotblob/metadata` that names the inode, size and
 * modification time of the artifact's file. If that file is replaced by other means, such as `mv` or a restored backup,
 * the new file has no metadata. If files are not immutable, a file whose ctime has changed since its upload has none
 * either, because it may have been rewritten. After an upload by another process, the new artifact can be served with the metadata of
 * the previous one for up to one second.
 *
 * Symbolic links that lead out of the directory are not followed, neither for reading nor for writing. The store does
 * not protect against processes that replace directories inside `dir` by symbolic links during an upload.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if an option is unknown or invalid, or if `dir` is a file, cannot be read,
 *   created or written to, or contains a segment store
 */
export function directoryStore(
  dir: string,
  options?: DirectoryStoreOptions & { readonly readOnly?: false | undefined },
): Promise<DirectoryStore>;
/** Opens a directory store that may be read-only. If `readOnly` is `true`, the store has no `put` and no `delete`. */
export function directoryStore(dir: string, options: DirectoryStoreOptions): Promise<DirectoryStoreReader>;
export async function directoryStore(dir: string, options: DirectoryStoreOptions = {}): Promise<DirectoryStoreReader> {
  if (typeof dir !== 'string' || dir === '') throw invalidOption('dir', 'the path of a directory', dir);
  const rules = assertDirectoryOptions(options);
  // The options are read before the first await, because the caller may change the object later.
  const { immutable, maxBytes, groupAccess, readOnly = false } = options;
  const permissions = permissionsFor(groupAccess);
  const { root, wasCreated } = await openDirectory(dir, permissions, readOnly);
  if (!readOnly) await removeStaleUploads(join(root, RESERVED_NAME, UPLOADS_NAME));
  const isImmutable = immutable ?? wasCreated;
  const sidecars = new Sidecars(root, isImmutable, permissions);
  const hasMetadata = await sidecars.exist();
  const limits = readOnly ? undefined : { maxBytes, rules };
  const lookups = new MetadataLookups(prefixOf(root), sidecars, hasMetadata);
  const store = new FileDirectoryStore(root, isImmutable, limits, permissions, sidecars, lookups, readOnly);
  if (readOnly) return toReader(store, lookups);
  if (hasMetadata) store.sweep();
  return store;
}

interface StoreLimits {
  readonly maxBytes: number | undefined;
  readonly rules: RetentionRules;
}

interface CachedArtifact extends UsedKey {
  /** Copy of the key. The key of a request is a part of its URL and would keep the URL in memory. */
  readonly ownKey: string;
  readonly artifact: FileArtifact;
}

class FileDirectoryStore implements DirectoryStore, ReadRecorder {
  readonly root: string;
  readonly immutable: boolean;
  readonly #prefix: string;
  readonly #uploads: DirectoryUploads;
  readonly #eviction: DirectoryEviction | undefined;
  readonly #lastUses: LastUses;
  readonly #deletions: DirectoryDeletions;
  readonly #purges = new Purges({
    list: () => this.list(),
    purge: (purge) => this.#deletions.purge(purge, () => this.#assertOpen()),
  });
  readonly #sidecars: Sidecars;
  readonly #lookups: MetadataLookups;
  readonly #isReadOnly: boolean;
  readonly #permissions: Permissions;
  readonly [CORRUPT_ARTIFACTS] = new CorruptArtifacts();
  readonly #running = new Set<Promise<unknown>>();
  /** Artifacts by key. They are never outdated, because an artifact consists of a path and options. */
  readonly #artifacts = new TwoGenerationMap<string, CachedArtifact>(CACHED_ARTIFACTS);
  #isClosed = false;

  constructor(
    root: string,
    immutable: boolean,
    limits: StoreLimits | undefined,
    permissions: Permissions,
    sidecars: Sidecars,
    lookups: MetadataLookups,
    isReadOnly: boolean,
  ) {
    this.root = root;
    this.#isReadOnly = isReadOnly;
    this.#permissions = permissions;
    this.immutable = immutable;
    this.#prefix = prefixOf(root);
    this.#sidecars = sidecars;
    this.#lookups = lookups;
    const files = { permissions, sidecars, lookups };
    const temporaryPrefix = `${randomUUID()}.`;
    this.#lastUses = new LastUses(root, permissions);
    if (!isReadOnly) this.#lastUses.start((bytes) => this.countBytes(bytes));
    const { maxBytes = Number.POSITIVE_INFINITY, rules } = limits ?? {};
    if (rules !== undefined && (maxBytes !== Number.POSITIVE_INFINITY || rules.groups.length > 1)) {
      // Uploads of this store have reservations. The files of the lock have a constant size, and cannot be evicted.
      const isUncounted = (path: string): boolean =>
        path.startsWith(`${UPLOADS_NAME}/${temporaryPrefix}`) || path.startsWith(SHARED_LOCK_NAME);
      this.#eviction = new DirectoryEviction({
        root,
        maxBytes,
        rules,
        sidecars,
        lastUses: this.#lastUses,
        isUncounted,
      });
      this.#eviction.startScan();
    }
    this.#uploads = new DirectoryUploads(root, temporaryPrefix, maxBytes, this.#eviction, files);
    this.#deletions = new DirectoryDeletions({
      root,
      sidecars,
      lookups,
      lastUses: this.#lastUses,
      eviction: this.#eviction,
    });
  }

  get(key: string): FileArtifact | Promise<FileArtifact | undefined> {
    this.#assertOpen();
    const cached = this.#artifacts.get(key) ?? this.#createArtifact(key);
    const { ownKey, artifact } = cached;
    if (this.#eviction === undefined) this.#lastUses.recordOnce(cached);
    else this.#lastUses.record(ownKey);
    const metadata = this.#lookups.get(ownKey, artifact.path);
    if (metadata === undefined) return artifact;
    if (metadata instanceof Promise) {
      return metadata.then(
        (found) => ({ ...artifact, ...found }),
        (error) => this.#discardCorrupt(key, error),
      );
    }
    return { ...artifact, ...metadata };
  }

  /**
   * Removes an artifact whose metadata is corrupt, unless it has been replaced.
   *
   * @throws `error`, if it does not report a corrupt artifact
   */
  async #discardCorrupt(key: string, error: unknown): Promise<undefined> {
    if (errnoCode(error) !== 'ERR_HOTBLOB_CORRUPT') throw error;
    this[CORRUPT_ARTIFACTS].add(key, error);
    if (this.#isReadOnly) return;
    try {
      const body = await identityAt(this.#prefix + key);
      const isCorrupt = body !== undefined && (await this.#sidecars.read(key, body).then(() => false, isCorruptError));
      this.#assertOpen();
      if (isCorrupt) await this.#deletions.remove(key, (current) => isSameBody(current, body));
      this[CORRUPT_ARTIFACTS].forget(key);
    } catch {
      // The disk fails, or the store has been closed. The artifact is a miss at its next lookup, too.
    }
  }

  [RECORD_READ](key: string): void {
    this.#lastUses.record(key);
  }

  async *list({ metadata = false, key: only }: ListOptions = {}): AsyncGenerator<StoreEntry> {
    this.#assertOpen();
    // Another process writes the log of a store that is read-only.
    const lastUses = this.#isReadOnly ? new LastUses(this.root, this.#permissions) : this.#lastUses;
    await lastUses.load();
    const isCancelled = () => this.#isClosed;
    for await (const files of only === undefined ? filesBelow(this.root, isCancelled) : [fileAt(this.root, only)]) {
      const found = metadata && files.length > 0 ? await this.#lookups.readAll(files) : [];
      for (const [index, file] of files.entries()) {
        this.#assertOpen();
        const { key, bytes: size } = file;
        if (!isKey(key)) continue; // `get` would reject it
        const artifact = { ...this.#artifactAt(this.#prefix + key), ...found[index] };
        yield { key, artifact, size, usedAt: lastUses.of(file) };
      }
    }
    this.#assertOpen(); // otherwise, the list would seem to be complete
  }

  countBytes(bytes: number): void {
    this.#eviction?.countBytes(bytes);
  }

  stats(): StoreStats {
    return { ...this.#eviction?.stats(), corrupt: this[CORRUPT_ARTIFACTS].count };
  }

  /** Removes stale sidecar files in the background. */
  sweep(): void {
    const sweep = this.#sidecars.sweep(() => this.#isClosed).finally(() => this.#running.delete(sweep));
    this.#running.add(sweep);
  }

  put(key: string, body: Readable, options: Partial<PutOptions> = {}): Promise<PutResult> {
    const upload = this.#put(key, body, options).finally(() => this.#running.delete(upload));
    this.#running.add(upload);
    return upload;
  }

  async #put(key: string, body: Readable, options: Partial<PutOptions>): Promise<PutResult> {
    try {
      this.#assertOpen();
      assertStorable(key);
      options.signal?.throwIfAborted();
      // An artifact whose metadata is corrupt is removed first, so that it counts as absent.
      if (options.ifAbsent) await this.get(key);
      const result = await this.#uploads.put(key, body, options);
      this[CORRUPT_ARTIFACTS].forget(key);
      return result;
    } catch (error) {
      discard(body);
      throw error;
    }
  }

  async delete(key: string): Promise<boolean> {
    assertStorable(key);
    this.#assertOpen();
    return this.#deletions.remove(key);
  }

  async purge(filter: PurgeFilter, options?: PurgeOptions): Promise<PurgeResult> {
    this.#assertOpen();
    const purge = this.#purges.run(filter, options).finally(() => this.#running.delete(purge));
    this.#running.add(purge);
    return purge;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.allSettled(this.#running);
    await this.#eviction?.close();
    await this.#lastUses.close();
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new HotblobError('ERR_HOTBLOB_CLOSED', 'the directory store is closed');
  }

  #createArtifact(key: string): CachedArtifact {
    assertStorable(key);
    const ownKey = copyString(key);
    const cached = { ownKey, artifact: this.#artifactAt(this.#prefix + ownKey), usedIn: undefined };
    this.#artifacts.set(ownKey, cached);
    return cached;
  }

  #artifactAt(path: string): FileArtifact {
    return { kind: 'file', path, immutable: this.immutable, root: this.root };
  }
}

function isCorruptError(error: unknown): boolean {
  return errnoCode(error) === 'ERR_HOTBLOB_CORRUPT';
}
