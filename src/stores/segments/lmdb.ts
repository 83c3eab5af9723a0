import type * as Lmdb from 'lmdb';
import { HotblobError } from '../../contract/errors.js';
import { tryToLoad } from '../../util/load-optional.js';
import type { Permissions } from '../../util/permissions.js';

/**
 * Loads the optional dependency `lmdb`.
 *
 * @throws HotblobError `ERR_HOTBLOB_NO_LMDB` if it is not installed or cannot be loaded on this machine
 */
export function loadLmdb(): typeof Lmdb {
  const loading = tryToLoad('lmdb');
  // The cast is safe: the package has only one entry point, and its types describe it.
  if ('module' in loading) return loading.module as typeof Lmdb;
  const { failure } = loading;
  const [problem, options] =
    failure === 'absent'
      ? ["is not installed: run 'npm install lmdb'", undefined]
      : [`failed to load (${failure.message}): reinstall it`, { cause: failure }];
  const message = `segmentStore requires the package 'lmdb', which ${problem}, or use directoryStore, which does not require it`;
  throw new HotblobError('ERR_HOTBLOB_NO_LMDB', message, options);
}

/** Returns the LMDB option that sets the mode of created files. The types of `lmdb` do not declare it. */
export function withMode({ file }: Permissions): object {
  return { permissionsMode: file };
}

/**
 * Returns the reason of a failed commit. lmdb rejects with an error whose `commitError` is a promise of the actual error.
 * It must be awaited, because it rejects as well.
 */
export async function reasonOf(error: unknown): Promise<unknown> {
  try {
    if (error instanceof Error && 'commitError' in error) await error.commitError;
    return error;
  } catch (reason) {
    return reason;
  }
}
