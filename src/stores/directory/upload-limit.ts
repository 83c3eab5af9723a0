import { HotblobError } from '../../contract/errors.js';
import { DIRECTORY_BYTES, maxDiskBytes, OWN_DIRECTORIES_BYTES } from './disk-usage.js';
import { maxSidecarBytes } from './metadata.js';

/** Space that an upload takes at most in addition to its body. */
export interface UploadOverhead {
  /** Number of directories that may be created for the key. */
  readonly directories: number;
  /** Bytes on the disk, with these directories and the metadata. */
  readonly overhead: number;
}

export function overheadOf(key: string, metadata: Uint8Array | undefined): UploadOverhead {
  const directories = key.split('/').length - 1;
  const sidecarBytes = metadata === undefined ? 0 : maxSidecarBytes(key, metadata);
  return { directories, overhead: maxDiskBytes(1) - 1 + directories * DIRECTORY_BYTES + sidecarBytes };
}

/**
 * Returns the maximum size of a body.
 *
 * @param storeBytes limit of the store
 * @param ruleBytes limit of the rule to which the key belongs
 * @throws HotblobError `ERR_HOTBLOB_TOO_LARGE` if not even an empty body fits
 */
export function maxBodyBytes(overhead: number, storeBytes: number, ruleBytes = Number.POSITIVE_INFINITY): number {
  const ownBytes = OWN_DIRECTORIES_BYTES + overhead;
  const maxBytes = Math.min(ruleBytes - overhead, storeBytes - ownBytes);
  if (maxBytes >= 0) return maxBytes;
  const message =
    ruleBytes < overhead
      ? `upload: maxBytes of a rule of retain is ${ruleBytes}, but an empty artifact takes ${overhead} bytes on the disk`
      : `upload: maxBytes is ${storeBytes}, but the directories of the store and an empty artifact take ${ownBytes} bytes on the disk`;
  throw new HotblobError('ERR_HOTBLOB_TOO_LARGE', message);
}
