import { lstat, mkdir, open, realpath, rmdir } from 'node:fs/promises';
import { dirname, sep } from 'node:path';
import { errnoCode, HotblobError } from '../../contract/errors.js';

/** The store's own directory, directly below the root. */
export const RESERVED_NAME = '.hotblob';

// Case-insensitive, because some file systems are.
const RESERVED = /^\.hotblob(?:[/\\]|$)/i;

/** Whether a key, or a path below the root, is the store's own. */
export function isReserved(key: string): boolean {
  return RESERVED.test(key);
}

/** The root with the separator that every path below it has. */
export function prefixOf(root: string): string {
  return root.endsWith(sep) ? root : root + sep;
}

/**
 * Makes the directories that `path` needs, down from `root`, and adds those that were not there to `made`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` before a symlink that leads out of the root; else the error of the system
 */
export async function makeParents(root: string, path: string, made: string[]): Promise<void> {
  const prefix = prefixOf(root);
  const end = path.lastIndexOf('/');
  // One after the other: `recursive` would follow a symlink, and make directories wherever it leads.
  for (
    let slash = path.indexOf('/', prefix.length);
    slash !== -1 && slash <= end;
    slash = path.indexOf('/', slash + 1)
  ) {
    const directory = path.slice(0, slash);
    try {
      await mkdir(directory);
      made.push(directory);
    } catch (error) {
      if (errnoCode(error) !== 'EEXIST') throw error;
    }
    if (!isInside(root, await resolved(directory))) throw leadsOut();
  }
}

/** Whether the directory of `path` lies in the root, symlinks resolved, and is not the store's own. */
export async function hasParentInside(root: string, path: string): Promise<boolean> {
  return isInside(root, await realpath(dirname(path)));
}

/** Removes the directories above `path` that are empty, up to the root, as far as that is possible. */
export async function removeEmptyParents(root: string, path: string): Promise<void> {
  for (let directory = dirname(path); directory.length > root.length; directory = dirname(directory)) {
    try {
      await rmdir(directory);
    } catch {
      return; // somebody else's artifact is in it
    }
  }
}

/**
 * Makes what has happened in the directories survive a crash of the system, where the file system can. Best effort: what
 * can be lost is the entry of an artifact whose bytes are safe, which is a miss.
 */
export async function syncDirectories(directories: Iterable<string>): Promise<void> {
  for (const directory of directories) {
    try {
      const handle = await open(directory, 'r');
      await handle.sync().finally(() => handle.close());
    } catch {
      // a system that does not sync directories, or one that has been deleted again
    }
  }
}

async function resolved(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    // Unlike a directory that has just vanished, a link to nowhere stays as it is: no use in trying again.
    if ((await lstat(path)).isSymbolicLink()) throw leadsOut(error);
    throw error;
  }
}

function isInside(root: string, path: string): boolean {
  const prefix = prefixOf(root);
  return path === root || (path.startsWith(prefix) && !isReserved(path.slice(prefix.length)));
}

function leadsOut(cause?: unknown): HotblobError {
  const message = 'the key leads out of the directory through a symlink';
  return new HotblobError('ERR_HOTBLOB_INVALID_KEY', message, cause === undefined ? undefined : { cause });
}
