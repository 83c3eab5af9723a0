import { lstat, mkdir, open, realpath, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { assertKey } from '../../contract/store.js';
import { foldName } from '../../util/fold-name.js';
import { prefixOf } from '../../util/prefix-of.js';

/** Name of the directory below the root that contains the store's own files. */
export const RESERVED_NAME = '.hotblob';
/** Name of the directory for recovered files that belongs to the file system, at the root of ext4 and XFS volumes. */
export const LOST_AND_FOUND = 'lost+found';
/** Name of the lock of processes that share a store, and the beginning of the names of its files. */
export const SHARED_LOCK_NAME = 'writer-shared';
/** Name of the directory for temporary files, below the store's own directory. */
export const UPLOADS_NAME = 'uploads';

// Without the names of a segment store, a client could upload files for which the
// next start would take the directory for a segment store.
const RESERVED = /^(?:\.hotblob|lost\+found|index\.mdb|segments[/\\]\d{10}\.segment)(?:[/\\]|$)/;

/**
 * Returns whether a key, or a path relative to the root, is not that of an artifact: in `.hotblob`, the directory with the
 * store's own files, in `lost+found`, which belongs to the file system, or a file of a segment store.
 */
export function isReserved(key: string): boolean {
  return RESERVED.test(foldName(key));
}

/** @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` or `ERR_HOTBLOB_KEY_TOO_LONG` if `key` is not valid or reserved */
export function assertStorable(key: string): void {
  assertKey(key);
  if (isReserved(key)) {
    const names = `"${RESERVED_NAME}", "lost+found" and the files of a segment store`;
    const message = `key: expected a key outside ${names}, which are reserved`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_KEY', message);
  }
}

/**
 * Creates the missing directories between `root` and `path`, and adds their paths to `created`.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_KEY` if a symbolic link in the path leads out of the root
 * @throws the system's error
 */
export async function makeParents(root: string, path: string, mode: number, created: string[]): Promise<void> {
  const prefix = prefixOf(root);
  const end = path.lastIndexOf('/');
  // Creates one directory at a time: mkdir with `recursive` follows a symbolic link and creates directories outside the root.
  for (
    let slash = path.indexOf('/', prefix.length);
    slash !== -1 && slash <= end;
    slash = path.indexOf('/', slash + 1)
  ) {
    const directory = path.slice(0, slash);
    try {
      await mkdir(directory, { mode });
      created.push(directory);
    } catch (error) {
      if (errnoCode(error) !== 'EEXIST') throw error;
    }
    if (!isInside(root, await resolveDirectory(directory))) throw outsideRoot();
  }
}

/**
 * Returns whether the directory of `path` is in the root and is not the store's own directory. Resolves symbolic links
 * first.
 *
 * @throws the system's error
 */
export async function hasParentInside(root: string, path: string): Promise<boolean> {
  return isInside(root, await realpath(dirname(path)));
}

/** Removes the empty directories above `path`, up to the root. Resolves to their number. Never rejects. */
export async function removeEmptyParents(root: string, path: string): Promise<number> {
  let removed = 0;
  for (let directory = dirname(path); directory.length > root.length; directory = dirname(directory)) {
    try {
      await rmdir(directory);
      removed++;
    } catch {
      break; // not empty
    }
  }
  return removed;
}

/**
 * Syncs directories to disk, so that their entries survive a crash of the system. Never rejects. If a sync fails, a
 * crash can lose the entry of an artifact, which is then a miss.
 */
export async function syncDirectories(directories: Iterable<string>): Promise<void> {
  for (const directory of directories) {
    try {
      const handle = await open(directory, 'r');
      await handle.sync().finally(() => handle.close());
    } catch {
      // The system cannot sync directories, or the directory was deleted.
    }
  }
}

async function resolveDirectory(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    // A dangling symbolic link is a permanent error. A directory that was just deleted can be created again, so the
    // caller may retry.
    if ((await lstat(path)).isSymbolicLink()) throw outsideRoot(error);
    throw error;
  }
}

function isInside(root: string, path: string): boolean {
  const prefix = prefixOf(root);
  return path === root || (path.startsWith(prefix) && !isReserved(path.slice(prefix.length)));
}

function outsideRoot(cause?: unknown): HotblobError {
  const message = 'key: expected a path inside the directory, received one that leads out through a symbolic link';
  return new HotblobError('ERR_HOTBLOB_INVALID_KEY', message, cause === undefined ? undefined : { cause });
}
