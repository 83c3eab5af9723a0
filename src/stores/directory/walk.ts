import { lstat, opendir } from 'node:fs/promises';
import { errnoCode } from '../../contract/errors.js';
import { isKey } from '../../contract/store.js';
import { isMissing } from '../../util/missing-file.js';
import { prefixOf } from '../../util/prefix-of.js';
import { diskBytesOf } from './disk-usage.js';
import { hasParentInside, isReserved } from './paths.js';

/**
 * Number of files that are examined in parallel. A larger number would occupy the thread pool, which reads of cold
 * artifacts need.
 */
const BATCH = 8;

/** Regular file found by {@link filesBelow}. */
export interface StoredFile {
  /** Path relative to the root. It is not always a valid key. */
  readonly key: string;
  /** Number of the inode. It differs from that of a file that replaces this one while it exists. */
  readonly inode: number;
  /** Size of the file. */
  readonly bytes: number;
  /** See {@link diskBytesOf}. */
  readonly diskBytes: number;
  /**
   * Access time or modification time, whichever is later, in milliseconds since 1970. A time in the future counts as the current
   * time: the clock was set back after the file had been used.
   */
  readonly usedAt: number;
  /** Whether {@link usedAt} is the current time for this reason. */
  readonly isFuture: boolean;
}

/**
 * Yields every regular file below `root` in batches, except the store's own files. Does not follow symbolic links.
 * Files that are created or deleted during the walk may be missing.
 *
 * @param isCancelled checked for each entry; true ends the walk
 * @param onDirectory called with the path of each directory below `root`, relative to `root`
 * @throws the system's error, except for files that no longer exist and directories without read permission
 */
export async function* filesBelow(
  root: string,
  isCancelled: () => boolean,
  onDirectory: (path: string) => void = () => {},
): AsyncGenerator<StoredFile[]> {
  const prefix = prefixOf(root);
  const directories = [''];
  for (let directory = directories.pop(); directory !== undefined; directory = directories.pop()) {
    let keys: string[] = [];
    for await (const entry of entriesOf(prefix + directory)) {
      if (isCancelled()) return;
      const key = directory + entry.name;
      if (isReserved(key)) continue;
      if (entry.isDirectory()) {
        directories.push(`${key}/`);
        onDirectory(key);
      }
      if (entry.isFile() && keys.push(key) === BATCH) {
        yield await statAll(prefix, keys);
        keys = [];
      }
    }
    yield await statAll(prefix, keys);
  }
}

/**
 * Resolves to the regular file of a key below `root`, if there is one.
 *
 * @throws the system's error
 */
export async function fileAt(root: string, key: string): Promise<StoredFile[]> {
  const path = prefixOf(root) + key;
  try {
    if (!isKey(key) || isReserved(key) || !(await hasParentInside(root, path)) || !(await lstat(path)).isFile())
      return [];
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
  return statAll(prefixOf(root), [key]);
}

async function statAll(prefix: string, keys: readonly string[]): Promise<StoredFile[]> {
  const files = await Promise.all(keys.map((key) => statFile(prefix, key)));
  return files.filter((file) => file !== undefined);
}

async function statFile(prefix: string, key: string): Promise<StoredFile | undefined> {
  try {
    const stats = await lstat(prefix + key);
    const usedAt = lastUseOf(stats, Date.now());
    const isFuture = lastUseOf(stats, Number.POSITIVE_INFINITY) === Number.POSITIVE_INFINITY;
    return { key, inode: stats.ino, bytes: stats.size, diskBytes: diskBytesOf(stats), usedAt, isFuture };
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/**
 * Returns the later of two file times. See {@link StoredFile.usedAt}.
 *
 * @param future time in place of one in the future
 */
export function lastUseOf(
  { atimeMs, mtimeMs }: { readonly atimeMs: number | bigint; readonly mtimeMs: number | bigint },
  future: number,
): number {
  // File times have fractions of a millisecond, Date.now() has none: a file written just now would be in the future.
  const now = Date.now() + 1;
  return Math.max(...[Number(atimeMs), Number(mtimeMs)].map((time) => (time <= now ? time : future)));
}

async function* entriesOf(path: string) {
  try {
    yield* await opendir(path, { bufferSize: 256 });
  } catch (error) {
    // The directory was deleted. Or it is unreadable and does not belong to the store, such as lost+found.
    if (!isMissing(error) && errnoCode(error) !== 'EACCES') throw error;
  }
}
