import { createHash } from 'node:crypto';
import { HotblobError } from '../../contract/errors.js';

/**
 * The SHA-256 that a client says its artifact has. The server compares, keeps it, and gives it back with the artifact
 * (tuist/tuist, cache/lib/cache/content_digest.ex).
 */
export const CHECKSUM_HEADER = 'tuist-checksum-sha256';

/**
 * In lower-case hex; undefined where there is none.
 *
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` for what is no SHA-256
 */
export function checksumOf(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'string' && /^[0-9a-f]{64}$/i.test(value)) return value.toLowerCase();
  throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', `${CHECKSUM_HEADER}: expected 64 hexadecimal digits`);
}

/**
 * The chunks, and an error behind the last where they have another SHA-256.
 *
 * @throws HotblobError `ERR_HOTBLOB_UNPROCESSABLE`
 */
export async function* verified(chunks: AsyncIterable<Buffer>, checksum: string): AsyncGenerator<Buffer> {
  const hash = createHash('sha256');
  for await (const chunk of chunks) {
    hash.update(chunk);
    yield chunk;
  }
  if (hash.digest('hex') === checksum) return;
  throw new HotblobError('ERR_HOTBLOB_UNPROCESSABLE', 'the parts together have another SHA-256 than the client says');
}
