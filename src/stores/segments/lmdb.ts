import { createRequire } from 'node:module';
import type * as Lmdb from 'lmdb';
import { HotblobError } from '../../contract/errors.js';

const require = createRequire(import.meta.url);

/**
 * The optional dependency `lmdb`.
 *
 * @throws HotblobError `ERR_HOTBLOB_NO_LMDB` where it is absent or does not load on this machine
 */
export function loadLmdb(): typeof Lmdb {
  try {
    // lmdb's types describe what its module holds
    return require('lmdb') as typeof Lmdb;
  } catch (cause) {
    const message = "segmentStore needs the package 'lmdb', which does not load here; directoryStore does without";
    throw new HotblobError('ERR_HOTBLOB_NO_LMDB', message, { cause });
  }
}
