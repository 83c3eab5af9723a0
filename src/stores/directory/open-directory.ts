import { access, constants, opendir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoCode, HotblobError } from '../../contract/errors.js';
import type { Permissions } from '../../util/permissions.js';
import { prefixOf } from '../../util/prefix-of.js';
import { assertKnownFormat } from '../format.js';
import { assertNoSegments } from '../segments/layout.js';
import { createIfMissing, isCreatedByStore, markerOf } from './marker.js';
import { RESERVED_NAME, UPLOADS_NAME } from './paths.js';

/** Directory of a store. */
export interface OpenedDirectory {
  /** Absolute path, without symbolic links. */
  readonly root: string;
  /** Whether a directory store has created the directory. */
  readonly wasCreated: boolean;
}

/**
 * Checks the directory of a store, and creates it if it does not exist and the store is not read-only.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if it cannot be used
 */
export async function openDirectory(
  dir: string,
  permissions: Permissions,
  readOnly: boolean,
): Promise<OpenedDirectory> {
  let opened: OpenedDirectory;
  try {
    const wasCreated = await (readOnly ? isCreatedByStore(dir) : createIfMissing(dir, permissions));
    opened = { root: await realpath(dir), wasCreated };
    // Opening the directory checks the permission to list (r), and `.` the permission to search (x). access(2) would
    // check the permissions of the real user, not of the effective user.
    await opendir(opened.root).then((directory) => directory.close());
    await stat(`${prefixOf(opened.root)}.`);
  } catch (cause) {
    const code = errnoCode(cause);
    const received = code === 'EEXIST' || code === 'ENOTDIR' ? 'a file' : `${code ?? cause}`;
    throw directoryError(`that can be read${readOnly ? '' : ' or created'}, received ${received} at '${dir}'`, cause);
  }
  await assertNoSegments(opened.root);
  await assertKnownFormat(opened.root, markerOf(opened.root));
  if (!readOnly) await assertDirectoryWritable(opened.root);
  return opened;
}

/**
 * Checks that this process may write to the directory of a store and to those below it that the store uses, if they exist.
 *
 * @param root path without symbolic links
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if it may not
 */
export async function assertDirectoryWritable(root: string): Promise<void> {
  const own = join(root, RESERVED_NAME);
  for (const path of [root, own, join(own, UPLOADS_NAME)]) {
    try {
      await access(path, constants.W_OK | constants.X_OK);
    } catch (cause) {
      const code = errnoCode(cause);
      if (code === 'ENOENT' && path !== root) return;
      const remedy = 'change its owner or mode, or open the store with { readOnly: true }';
      throw directoryError(`that this process can write to, received ${code} at '${path}'; ${remedy}`, cause);
    }
  }
}

function directoryError(expected: string, cause: unknown): HotblobError {
  return new HotblobError('ERR_HOTBLOB_INVALID_OPTION', `dir: expected a directory ${expected}`, { cause });
}
