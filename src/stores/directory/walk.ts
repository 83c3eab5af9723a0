import { lstat, opendir } from 'node:fs/promises';
import { errnoCode } from '../../contract/errors.js';
import { isReserved, prefixOf } from './paths.js';

/** Files looked at together. More would keep the readers of cold artifacts from the thread pool. */
const BATCH = 8;

/** A file of a directory, as {@link filesBelow} finds it. */
export interface StoredFile {
  /** Its path below the root. Not every name that a file may have is a key. */
  readonly key: string;
  readonly bytes: number;
  /** The later of its access and its modification time, in milliseconds since 1970; 0 where both are still to come. */
  readonly usedAt: number;
}

/**
 * Every regular file below `root` but the store's own, some at a time; no symlink is followed. What changes meanwhile may be
 * there or not.
 *
 * @param isOver asked again and again: whether nobody wants the rest
 * @throws what the system says, but for what has gone and directories that may not be listed
 */
export async function* filesBelow(root: string, isOver: () => boolean): AsyncGenerator<StoredFile[]> {
  const prefix = prefixOf(root);
  const directories = [''];
  for (let directory = directories.pop(); directory !== undefined; directory = directories.pop()) {
    let keys: string[] = [];
    for await (const entry of entriesOf(prefix + directory)) {
      if (isOver()) return;
      const key = directory + entry.name;
      if (isReserved(key)) continue;
      if (entry.isDirectory()) directories.push(`${key}/`);
      if (entry.isFile() && keys.push(key) === BATCH) {
        yield await look(prefix, keys);
        keys = [];
      }
    }
    yield await look(prefix, keys);
  }
}

async function look(prefix: string, keys: readonly string[]): Promise<StoredFile[]> {
  const files = await Promise.all(keys.map((key) => lookAt(prefix, key)));
  return files.filter((file) => file !== undefined);
}

async function lookAt(prefix: string, key: string): Promise<StoredFile | undefined> {
  try {
    const { size, atimeMs, mtimeMs } = await lstat(prefix + key);
    // A time that is still to come says nothing about the last use. (Date.now() has no fractions, these have.)
    const now = Date.now() + 1;
    return { key, bytes: size, usedAt: Math.max(0, ...[atimeMs, mtimeMs].filter((time) => time <= now)) };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

async function* entriesOf(path: string) {
  try {
    yield* await opendir(path, { bufferSize: 256 });
  } catch (error) {
    // It has been removed meanwhile, or holds nothing of ours, such as a lost+found that we may not list.
    if (!isGone(error) && errnoCode(error) !== 'EACCES') throw error;
  }
}

/** Whether an error of the system says that there is no such file any more. */
export function isGone(error: unknown): boolean {
  const code = errnoCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}
