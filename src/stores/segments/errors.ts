import { errnoCode, HotblobError } from '../../contract/errors.js';

/** Returns an `ERR_HOTBLOB_CORRUPT`. Its message is the problem, followed by the path of the corrupt file. */
export function corruptError(file: string, problem: string, cause?: unknown): HotblobError {
  return new HotblobError('ERR_HOTBLOB_CORRUPT', `${problem}: ${file}`, cause === undefined ? undefined : { cause });
}

/**
 * Returns an `ERR_HOTBLOB_STORAGE_FULL` if `error` reports a full disk or an exhausted disk quota, otherwise `error`
 * itself.
 */
export function toStorageError(error: unknown): unknown {
  const code = errnoCode(error);
  if (code !== 'ENOSPC' && code !== 'EDQUOT') return error;
  return new HotblobError('ERR_HOTBLOB_STORAGE_FULL', `no space left on the file system (${code})`, { cause: error });
}

/** Whether the file system or the disk quota is full. */
export function isStorageFull(error: unknown): boolean {
  return errnoCode(toStorageError(error)) === 'ERR_HOTBLOB_STORAGE_FULL';
}

export function closedError(): HotblobError {
  return new HotblobError('ERR_HOTBLOB_CLOSED', 'the segment store is closed');
}
