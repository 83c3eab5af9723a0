import type * as Lmdb from 'lmdb';
import { HotblobError } from '../../contract/errors.js';
import { tryToLoad } from '../../util/load-optional.js';

/**
 * Loads the optional dependency `lmdb`.
 *
 * @throws HotblobError `ERR_HOTBLOB_NO_LMDB` if it is not installed or does not load on this machine
 */
export function loadLmdb(): typeof Lmdb {
  const loading = tryToLoad('lmdb');
  // The package has a single entry point, which its types describe.
  if ('module' in loading) return loading.module as typeof Lmdb;
  const { failure } = loading;
  const [problem, options] =
    failure === 'absent'
      ? ["is not installed: run 'npm install lmdb'", undefined]
      : [`failed to load (${failure.message}): reinstall it`, { cause: failure }];
  const message = `segmentStore needs the package 'lmdb', which ${problem}, or use directoryStore, which does not need it`;
  throw new HotblobError('ERR_HOTBLOB_NO_LMDB', message, options);
}
