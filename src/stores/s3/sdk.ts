import { HotblobError } from '../../contract/errors.js';

/** The SDK's module, which is an optional peer. */
export type Sdk = typeof import('@aws-sdk/client-s3');

/**
 * Loads the SDK when a store needs it: it takes a third of a second, and most installations go without.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` where it is not installed or does not load
 */
export async function loadSdk(): Promise<Sdk> {
  try {
    return await import('@aws-sdk/client-s3');
  } catch (cause) {
    const message = 's3Store: expected the package @aws-sdk/client-s3 (npm install @aws-sdk/client-s3), received none';
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message, { cause });
  }
}
