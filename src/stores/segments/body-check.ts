import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { errnoCode } from '../../contract/errors.js';
import { DIGEST_BYTES, type IndexEntry } from './index-entry.js';

/**
 * Fault of a stored body. `missing`: its segment file does not exist. `truncated`: the file ends before the body does.
 * `altered`: the checksum differs.
 */
export type BodyFault = 'missing' | 'truncated' | 'altered';

/** Descriptions of the faults. Each completes the sentence "the body ...". */
export const FAULT_DESCRIPTIONS: Readonly<Record<BodyFault, string>> = {
  missing: 'is missing: the segment file does not exist',
  truncated: 'is truncated: the segment file ends before the body does',
  altered: 'is corrupt: its checksum differs from that of the upload',
};

/** Number of bytes that are read at a time. */
const READ_BYTES = 256 * 1024;

/**
 * Checks a body against the checksum in its index entry. Returns `undefined` if it is intact.
 *
 * @param path path of the segment file
 * @throws the reason of `signal`, or the error of the system call
 */
export async function findBodyFault(
  entry: IndexEntry,
  path: string,
  signal?: AbortSignal,
): Promise<BodyFault | undefined> {
  const hash = createHash('sha256');
  if (entry.inline !== undefined) {
    if (entry.inline.byteLength !== entry.length) return 'truncated';
    hash.update(entry.inline);
  } else if (entry.length > 0) {
    const handle = await open(path, 'r').catch((error: unknown) => {
      if (errnoCode(error) === 'ENOENT') return undefined;
      throw error;
    });
    if (handle === undefined) return 'missing';
    try {
      const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, entry.length));
      for (let done = 0; done < entry.length; ) {
        signal?.throwIfAborted();
        const length = Math.min(buffer.byteLength, entry.length - done);
        const { bytesRead } = await handle.read(buffer, 0, length, entry.offset + done);
        if (bytesRead === 0) return 'truncated';
        hash.update(buffer.subarray(0, bytesRead));
        done += bytesRead;
      }
    } finally {
      await handle.close();
    }
  }
  return matches(hash.digest(), entry.digest) ? undefined : 'altered';
}

/** Returns whether `bytes` have the digest of an index entry. */
export function hasDigest(bytes: Uint8Array, digest: Uint8Array): boolean {
  return matches(createHash('sha256').update(bytes).digest(), digest);
}

function matches(sha256: Buffer, digest: Uint8Array): boolean {
  return sha256.subarray(0, DIGEST_BYTES).equals(digest);
}
