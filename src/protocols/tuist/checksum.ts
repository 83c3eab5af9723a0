import { createHash } from 'node:crypto';
import { HotblobError } from '../../contract/errors.js';

/**
 * Header with the SHA-256 of an artifact. The server compares it with the upload, stores it, and sends it with the
 * artifact (tuist/tuist, cache/lib/cache/content_digest.ex).
 */
export const CHECKSUM_HEADER = 'tuist-checksum-sha256';

/**
 * Returns the checksum in lower-case hex, or `undefined` if the client sent none.
 *
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` if the value is not a SHA-256 in hex
 */
export function checksumOf(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string' && /^[0-9a-f]{64}$/i.test(value)) return value.toLowerCase();
  throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', 'SHA-256 checksum: expected 64 hexadecimal digits');
}

/**
 * Yields the chunks unchanged, and compares their SHA-256 with `checksum` at the end.
 *
 * @throws HotblobError `ERR_HOTBLOB_UNPROCESSABLE` after the last chunk if the SHA-256 differs
 */
export async function* verifyChecksum(chunks: AsyncIterable<Buffer>, checksum: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
  const received = hash.digest('hex');
  if (received === checksum) return;
  throw new HotblobError('ERR_HOTBLOB_UNPROCESSABLE', `SHA-256 checksum: expected ${checksum}, received ${received}`);
}
