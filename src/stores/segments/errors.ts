import { errnoCode, HotblobError } from '../../errors.js';

/** What a segment store alone can run into. */
export type SegmentStoreErrorCode =
  /** A segment or the index is damaged; the message names the file. */
  | 'ERR_HOTBLOB_CORRUPT'
  /** Another process writes to the directory. */
  | 'ERR_HOTBLOB_LOCKED'
  /** The optional dependency `lmdb` is absent, or does not load here. */
  | 'ERR_HOTBLOB_NO_LMDB';

/** An error of a segment store. Clients see 500. */
export class SegmentStoreError extends Error {
  /** As of every error of this package. */
  override readonly name = 'HotblobError';
  /** What to compare with: messages may change. */
  readonly code: SegmentStoreErrorCode;

  constructor(code: SegmentStoreErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** `file` does not hold what was written to it. */
export function corrupt(file: string, what: string, cause?: unknown): SegmentStoreError {
  return new SegmentStoreError('ERR_HOTBLOB_CORRUPT', `${what}: ${file}`, cause === undefined ? undefined : { cause });
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
