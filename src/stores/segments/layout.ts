import { constants } from 'node:fs';
import { access, readdir, realpath, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import { invalidOption } from '../../contract/validation.js';
import { createDirectory } from '../../util/create-directory.js';
import { isMissing } from '../../util/missing-file.js';
import { type Permissions, PRIVATE } from '../../util/permissions.js';
import { isCreatedByStore } from '../directory/marker.js';
import { assertKnownFormat, FORMAT_LINE } from '../format.js';
import { freeBytesOf, MIN_FREE_BYTES, sizeOfReserve } from './commit-space.js';
import { syncDirectory } from './segment.js';
import { segmentIdOf } from './segment-set.js';

/** Paths of the files and directories of a segment store. */
export interface Layout {
  /** Directory of the store, absolute and with symlinks resolved. */
  readonly root: string;
  /** Path of the index file. */
  readonly index: string;
  /** Path of the directory with the segment files. */
  readonly segments: string;
  /** Permissions of created files and directories. */
  readonly permissions: Permissions;
}

export const INDEX_NAME = 'index.mdb';
const SEGMENTS_NAME = 'segments';
/**
 * Name of the marker file. It exists while acknowledged bodies may not be on the disk (`durability: 'none'`), and
 * contains the boot id.
 */
export const UNSYNCED_NAME = 'unsynced';
/** Name of the file with the format of the store. */
const FORMAT_NAME = 'format';
/**
 * Matches the name of a file that does not belong to a directory without an index: every name except `lost+found`, the reserve,
 * and those that another process creates before the index.
 */
const FOREIGN_NAME = /^(?!(?:lost\+found|segments|format|reserve|index\.mdb-lock)$|writer[.-])/;

/**
 * Returns the paths of the store in `dir`. Creates the directory if it does not exist.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `dir` is a file, cannot be accessed, or contains other files
 */
export async function createLayout(dir: string, permissions: Permissions): Promise<Layout> {
  try {
    const mode = permissions.directory;
    const firstCreated = await createDirectory(dir, mode);
    const layout = layoutOf(await realpath(dir), permissions);
    if (firstCreated !== undefined) await syncDirectory(dirname(firstCreated));
    // Other processes may create the store at the same time. The directory is therefore listed only once, and
    // directories that exist by then are accepted.
    const names = await readdir(layout.root);
    await assertNotForeign(dir, names);
    if (!names.includes(SEGMENTS_NAME)) {
      await createDirectory(layout.segments, mode);
      await syncDirectory(layout.root);
    }
    return layout;
  } catch (error) {
    throw toDirectoryError(dir, error);
  }
}

/**
 * Checks that a segment store can be opened or created in `dir`, which must exist. Changes nothing.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` as {@link createLayout}, or if this process may not write to `dir`;
 *   `ERR_HOTBLOB_STORAGE_FULL` if its file system is full
 */
export async function checkLayout(dir: string): Promise<void> {
  try {
    const names = await readdir(dir);
    await assertNotForeign(dir, names);
    if (!names.includes(UNSYNCED_NAME) && !(await hasContent(join(dir, INDEX_NAME)))) await assertNoSegmentFiles(dir);
    for (const name of ['.', SEGMENTS_NAME, INDEX_NAME]) {
      if (name === '.' || names.includes(name)) await access(join(dir, name), constants.R_OK | constants.W_OK);
    }
    await assertSpace(dir);
  } catch (error) {
    throw toDirectoryError(dir, error);
  }
}

/**
 * Returns the paths of the store in `dir`, which must exist.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `dir` is inaccessible or does not contain a segment store
 */
export async function findLayout(dir: string): Promise<Layout> {
  try {
    const layout = layoutOf(await realpath(dir), PRIVATE);
    await stat(layout.segments);
    if ((await stat(layout.index)).size > 0) return layout;
    await assertNoSegmentFiles(dir);
    return layout; // a writer is about to create the index
  } catch (error) {
    if (errnoCode(error) === 'ERR_HOTBLOB_INVALID_OPTION') throw error;
    if (errnoCode(error) !== 'ENOENT') throw toDirectoryError(dir, error);
    await assertNoSegmentFiles(dir);
    throw directoryError(dir, 'a segment store', 'none', error);
  }
}

/**
 * Prepares a directory without an index, or with an empty one, for a new index. The caller has the writer lock.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if the directory has segments. The recovery would remove them, because the
 *   new index does not name them.
 */
export async function prepareIndex(dir: string, layout: Layout): Promise<void> {
  if (await hasContent(layout.index)) return;
  await assertNoSegmentFiles(dir);
  await writeFile(join(layout.root, FORMAT_NAME), FORMAT_LINE, { mode: layout.permissions.file });
}

/** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if a later version has written the store in `dir` */
export function assertFormat(dir: string): Promise<void> {
  return assertKnownFormat(dir, join(dir, FORMAT_NAME));
}

/**
 * Checks that `dir`, a path without symbolic links, may be served as a directory store, whose clients can read every file.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `dir` has a segment store or segments, or is the directory with segments
 */
export async function assertNoSegments(dir: string): Promise<void> {
  const expected = 'the directory of a directory store';
  if (await isSegmentStore(dir)) {
    throw mismatch(dir, expected, 'a segment store', 'open it with segmentStore (hotblob serve: --store segments)');
  }
  await assertNoSegmentFiles(dir);
  if (basename(dir) === SEGMENTS_NAME && (await segmentFilesOf(dir)).length > 0) {
    throw mismatch(dir, expected, 'the segments of a segment store', 'open the directory above it');
  }
}

/**
 * Returns whether `dir` is a directory that contains a segment store. Returns false if the directory is inaccessible.
 */
export async function isSegmentStore(dir: string): Promise<boolean> {
  try {
    await findLayout(dir);
    return true;
  } catch (error) {
    if (errnoCode(error) === 'ERR_HOTBLOB_INVALID_OPTION') return false;
    throw error;
  }
}

/**
 * Returns whether `dir` contains a segment store. This includes a store that is emptied when it is opened: if the system crashed
 * with `durability: 'none'`, the index may be missing.
 */
export async function holdsSegmentStore(dir: string): Promise<boolean> {
  if (await isSegmentStore(dir)) return true;
  const names = await readdir(dir).catch((): string[] => []); // opening the store reports the error
  return names.includes(UNSYNCED_NAME) && names.includes(SEGMENTS_NAME) && !(await isCreatedByStore(dir));
}

/**
 * Checks that the index can be opened for writing. LMDB writes to stderr itself when the disk is full.
 *
 * @throws HotblobError `ERR_HOTBLOB_STORAGE_FULL` if the file system is full
 */
async function assertSpace(dir: string): Promise<void> {
  if ((await freeBytesOf(dir)) + (await sizeOfReserve(dir)) >= MIN_FREE_BYTES) return;
  const message = `the file system of '${dir}' is full: free some space, or open the store with { readOnly: true }`;
  throw new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message);
}

function layoutOf(root: string, permissions: Permissions): Layout {
  return { root, index: join(root, INDEX_NAME), segments: join(root, SEGMENTS_NAME), permissions };
}

/**
 * @param names names of the files in `dir`
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `dir` is a directory store, or contains other files but no store
 */
async function assertNotForeign(dir: string, names: readonly string[]): Promise<void> {
  const expected = 'an empty directory or the directory of a segment store';
  if (await isCreatedByStore(dir)) {
    const remedy = 'open it with directoryStore (hotblob serve: --store directory), or use a new directory';
    throw mismatch(dir, expected, 'a directory store', remedy);
  }
  if (names.includes(INDEX_NAME) || names.includes(UNSYNCED_NAME)) return;
  const foreign = names.find((name) => FOREIGN_NAME.test(name));
  if (foreign === undefined) return;
  await assertNoSegmentFiles(dir); // its error says more
  throw directoryError(dir, expected, `'${foreign}'`);
}

/** @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if `dir`, which has no index or an empty one, has segments */
async function assertNoSegmentFiles(dir: string): Promise<void> {
  if ((await segmentFilesOf(join(dir, SEGMENTS_NAME))).length === 0) return;
  const remedy = `restore '${INDEX_NAME}' from a backup, or delete the directory`;
  throw mismatch(dir, 'a complete segment store', `segments without '${INDEX_NAME}', or with an empty one,`, remedy);
}

/** Returns the names of the segments in a directory. If the directory does not exist or cannot be read, returns none. */
export async function segmentFilesOf(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch((error: unknown): string[] => {
    if (isMissing(error) || errnoCode(error) === 'EACCES') return [];
    throw error;
  });
  return names.filter((name) => segmentIdOf(name) !== undefined);
}

/** Returns whether a file exists and is not empty. */
function hasContent(path: string): Promise<boolean> {
  return stat(path).then(
    ({ size }) => size > 0,
    (error: unknown) => {
      if (errnoCode(error) === 'ENOENT') return false;
      throw error;
    },
  );
}

/** Error codes of a directory that cannot be created, read or written. */
const UNUSABLE = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOENT']);

/**
 * If the directory is the cause of `error`, returns an invalid option error for `dir`. Otherwise returns `error`
 * itself.
 */
export function toDirectoryError(dir: string, error: unknown): unknown {
  const code = errnoCode(error);
  if (code === 'EEXIST' || code === 'ENOTDIR') return directoryError(dir, 'a directory', 'a file', error);
  if (code === undefined || !UNUSABLE.has(code)) return error;
  const failure = directoryError(dir, 'a directory that this process can read and write, or create', code, error);
  if (code !== 'ENOENT') failure.message += '; if it can be read, open the store with { readOnly: true }';
  return failure;
}

function directoryError(dir: string, expected: string, received: string, cause?: unknown) {
  const error = invalidOption('dir', expected, dir);
  error.message = `dir: expected ${expected}, received ${received} at '${dir}'`;
  if (cause !== undefined) error.cause = cause;
  return error;
}

function mismatch(dir: string, expected: string, received: string, remedy: string) {
  const error = directoryError(dir, expected, received);
  error.message += `; ${remedy}`;
  return error;
}
