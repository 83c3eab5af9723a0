import { errnoCode, HotblobError } from '../../contract/errors.js';
import { isDiskFull } from '../disk-full.js';

/** Returns an `ERR_HOTBLOB_CORRUPT`. Its message is the problem, followed by the path of the corrupt file. */
export function corruptError(file: string, problem: string, cause?: unknown): HotblobError {
  return new HotblobError('ERR_HOTBLOB_CORRUPT', `${problem}: ${file}`, cause === undefined ? undefined : { cause });
}

/**
 * Returns an `ERR_HOTBLOB_STORAGE_FULL` if `error` reports a full disk or an exhausted disk quota, otherwise `error`
 * itself.
 */
export function toStorageError(error: unknown): unknown {
  if (!isDiskFull(error)) return error;
  const message = `no space left on the file system (${errnoCode(error)})`;
  return new HotblobError('ERR_HOTBLOB_STORAGE_FULL', message, { cause: error });
}

/** Whether the system or {@link toStorageError} reports a full disk. */
export function isStorageFull(error: unknown): boolean {
  return isDiskFull(error) || errnoCode(error) === 'ERR_HOTBLOB_STORAGE_FULL';
}

export function closedError(): HotblobError {
  return new HotblobError('ERR_HOTBLOB_CLOSED', 'the segment store is closed');
}
