import { HotblobError } from '../contract/errors.js';

/** Returns the error of an upload with `ifAbsent` whose key has an artifact. */
export function existsError(options?: ErrorOptions): HotblobError {
  return new HotblobError(
    'ERR_HOTBLOB_EXISTS',
    'ifAbsent: expected a key without an artifact, but there is one',
    options,
  );
}
