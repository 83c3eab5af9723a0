import { errnoCode, HotblobError } from '../../contract/errors.js';

/** `file` does not hold what was written to it. */
export function corrupt(file: string, what: string, cause?: unknown): HotblobError {
  return new HotblobError('ERR_HOTBLOB_CORRUPT', `${what}: ${file}`, cause === undefined ? undefined : { cause });
}

/** What the system says about a disk without room, in our words; anything else as it is. */
export function fullOr(cause: unknown): unknown {
  const code = errnoCode(cause);
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return cause;
  return new HotblobError('ERR_HOTBLOB_STORAGE_FULL', `the file system has no room left (${code})`, { cause });
}

/** An `ERR_HOTBLOB_OVERLOADED` for whoever still asks. */
export function closed(): HotblobError {
  return new HotblobError('ERR_HOTBLOB_OVERLOADED', 'the store has been closed');
}
