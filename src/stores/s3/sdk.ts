import { HotblobError } from '../../contract/errors.js';

/** Module of the SDK, which is an optional peer dependency. */
export type Sdk = typeof import('@aws-sdk/client-s3');

/**
 * Loads the SDK. Called only when an S3 store is created, because loading takes about 300 ms and most installations do
 * not need it.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if the package is not installed or does not load
 */
export async function loadSdk(): Promise<Sdk> {
  try {
    return await import('@aws-sdk/client-s3');
  } catch (cause) {
    const message = 's3Store: the package @aws-sdk/client-s3 cannot be loaded (run npm install @aws-sdk/client-s3)';
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message, { cause });
  }
}
