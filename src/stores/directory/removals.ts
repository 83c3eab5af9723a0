import { lstat, unlink } from 'node:fs/promises';
import { releaseFile } from '../../page-cache/release-file.js';
import { pause } from '../../util/loop-slices.js';
import { isMissing } from '../../util/missing-file.js';
import { prefixOf } from '../../util/prefix-of.js';
import type { Candidate } from './candidates.js';
import { DIRECTORY_BYTES, diskBytesOf } from './disk-usage.js';
import { type DirectoryGroup, leastRecent } from './groups.js';
import type { LastUses } from './last-uses.js';
import type { Sidecars } from './metadata.js';
import { removeEmptyParents } from './paths.js';
import type { Renewal } from './renewal.js';
import type { DirectoryUsage } from './usage.js';
import { lastUseOf } from './walk.js';

/** Parts of an eviction that a removal needs. */
export interface RemovalContext {
  readonly root: string;
  readonly sidecars: Sidecars;
  readonly lastUses: LastUses;
  readonly usage: DirectoryUsage;
  readonly renewal: Renewal;
}

/** Removes the least recently used files of a directory. Only one call may run at a time. */
export class Removals {
  readonly #context: RemovalContext;
  #count = 0;

  constructor(context: RemovalContext) {
    this.#context = context;
  }

  /** Number of files that were removed. */
  get count(): number {
    return this.#count;
  }

  /**
   * Frees the space of the least recently used file of the groups. Resolves to false if there is no file that this process may
   * delete.
   *
   * @param latest latest time of the last use of a file that may be removed
   */
  async removeNext(groups: readonly DirectoryGroup[], latest = Number.POSITIVE_INFINITY): Promise<boolean> {
    for (let group = leastRecent(groups); group !== undefined; group = leastRecent(groups)) {
      const file = (group.next?.usedAt ?? 0) > latest ? undefined : group.candidates.take();
      if (file === undefined) return false;
      await pause();
      const usedAt = this.#context.lastUses.of(file);
      if (usedAt > file.usedAt) group.candidates.defer(file, usedAt);
      else if (await this.#remove(file, group)) return true;
    }
    return false;
  }

  #remove(file: Candidate, group: DirectoryGroup): Promise<boolean> {
    return this.#context.usage.during(() => this.#unlink(file, group));
  }

  /** Unlinks a file unless it has been used since it became a candidate. Resolves to whether this frees space. */
  async #unlink(file: Candidate, group: DirectoryGroup): Promise<boolean> {
    const { root, sidecars, lastUses, renewal } = this.#context;
    const { key } = file;
    const path = prefixOf(root) + key;
    try {
      const body = await lstat(path, { bigint: true });
      // A time in the future says nothing new. If it counted as the current time, the file would be deferred for ever.
      const usedAt = Math.max(lastUseOf(body, 0), lastUses.of(file));
      if (usedAt > file.usedAt) {
        group.candidates.defer(file, usedAt);
        return false;
      }
      await unlink(path);
      group.candidates.recordDeletion(key);
      await releaseFile(path);
      const sidecarBytes = await sidecars.remove(key, body);
      const directories = await removeEmptyParents(root, path);
      const bytes = diskBytesOf(body) + sidecarBytes + directories * DIRECTORY_BYTES;
      this.#change(group, bytes);
      this.#count++;
      renewal.countEviction(bytes);
      return true;
    } catch (error) {
      if (!isMissing(error) || !group.candidates.isLost(key)) return false;
      this.#change(group, file.diskBytes);
      renewal.markStale();
      return true;
    }
  }

  #change(group: DirectoryGroup, freedBytes: number): void {
    this.#context.usage.change(-1, -freedBytes);
    group.usage.change(-1, -freedBytes);
  }
}
