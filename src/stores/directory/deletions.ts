import type { BigIntStats } from 'node:fs';
import { lstat, unlink } from 'node:fs/promises';
import { isKey } from '../../contract/store.js';
import { releaseFile } from '../../page-cache/release-file.js';
import { isMissing } from '../../util/missing-file.js';
import { prefixOf } from '../../util/prefix-of.js';
import type { Purge } from '../purges.js';
import { DIRECTORY_BYTES, diskBytesOf } from './disk-usage.js';
import type { DirectoryEviction } from './eviction.js';
import type { LastUses } from './last-uses.js';
import type { MetadataLookups } from './lookups.js';
import type { Sidecars } from './metadata.js';
import { pathLocks } from './path-locks.js';
import { hasParentInside, removeEmptyParents } from './paths.js';
import { filesBelow, lastUseOf, type StoredFile } from './walk.js';

/** Parts of a store that a deletion needs. */
export interface DeletionContext {
  readonly root: string;
  readonly sidecars: Sidecars;
  readonly lookups: MetadataLookups;
  readonly lastUses: LastUses;
  /** Undefined without limits. */
  readonly eviction: DirectoryEviction | undefined;
}

/** Deletes artifacts of a directory at the request of a client or an operator. */
export class DirectoryDeletions {
  readonly #context: DeletionContext;

  constructor(context: DeletionContext) {
    this.#context = context;
  }

  /**
   * Deletes the file of an artifact. Resolves to whether it did.
   *
   * @param isExpected returns false for a file that is kept
   */
  remove(key: string, isExpected?: (body: BigIntStats) => boolean): Promise<boolean> {
    return this.#exclusively(() => this.#remove(key, isExpected));
  }

  /**
   * Deletes the artifacts that match.
   *
   * @param assertOpen throws if the store is closed
   */
  async purge(purge: Purge, assertOpen: () => void): Promise<void> {
    const { root, lastUses } = this.#context;
    await lastUses.load();
    for await (const files of filesBelow(root, () => false)) {
      assertOpen();
      purge.examine(files.length);
      const matching = files.filter(
        (file) => isKey(file.key) && purge.matches({ key: file.key, usedAt: lastUses.of(file) }),
      );
      if (matching.length === 0) continue;
      const deletions = await this.#exclusively(() =>
        Promise.allSettled(matching.map((file) => this.#purgeFile(purge, file))),
      );
      const failed = deletions.find(({ status }) => status === 'rejected');
      if (failed !== undefined && 'reason' in failed) throw failed.reason;
    }
  }

  /** Deletes a file unless it was replaced, or used so that it no longer matches. */
  async #purgeFile(purge: Purge, { key, inode }: StoredFile): Promise<void> {
    let bytes = 0;
    const isDeleted = await this.#remove(key, (body) => {
      bytes = Number(body.size);
      if (Number(body.ino) !== inode) return false;
      return purge.matches({ key, usedAt: this.#context.lastUses.of({ key, usedAt: lastUseOf(body, Date.now()) }) });
    });
    if (isDeleted) purge.count(bytes);
  }

  #exclusively<T>(task: () => Promise<T>): Promise<T> {
    const { eviction } = this.#context;
    return eviction === undefined ? task() : eviction.exclusively(task);
  }

  async #remove(key: string, isExpected: (body: BigIntStats) => boolean = () => true): Promise<boolean> {
    const { root, sidecars, lookups, eviction } = this.#context;
    const path = prefixOf(root) + key;
    try {
      if (!(await hasParentInside(root, path))) return false;
      const body = await pathLocks.run(path, () => unlinkIf(path, isExpected));
      if (body === undefined) return false;
      await releaseFile(path);
      lookups.expire(key);
      const freedBytes = diskBytesOf(body) + (await sidecars.remove(key, body));
      if (body.isFile()) eviction?.countDeletion(key, freedBytes);
    } catch (error) {
      if (isMissing(error)) return false;
      throw error;
    }
    const removed = await removeEmptyParents(root, path);
    eviction?.countBytes(-removed * DIRECTORY_BYTES, key);
    return true;
  }
}

/** Unlinks a file. Resolves to its state before, or to undefined if it is kept. */
async function unlinkIf(path: string, isExpected: (body: BigIntStats) => boolean): Promise<BigIntStats | undefined> {
  const body = await lstat(path, { bigint: true });
  // A directory is detected before unlink(2), which would fail with EISDIR on Linux and with EPERM elsewhere (POSIX).
  if (body.isDirectory() || !isExpected(body)) return undefined;
  await unlink(path);
  return body;
}
