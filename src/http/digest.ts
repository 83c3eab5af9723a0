import type { IncomingHttpHeaders } from 'node:http';
import { type ErrorCode, HotblobError } from '../contract/errors.js';

/** What a body must hash to. */
export interface Digest {
  readonly algorithm: 'sha256' | 'sha512';
  readonly value: Buffer;
  /** What a body fails with that hashes to something else. Default: `ERR_HOTBLOB_DIGEST`. */
  readonly code?: ErrorCode | undefined;
}

const ALGORITHMS = {
  'sha-256': { algorithm: 'sha256', bytes: 32 },
  'sha-512': { algorithm: 'sha512', bytes: 64 },
} as const;
/** A member of a dictionary of byte sequences (RFC 9651, 3.2 and 3.3.5), without parameters. */
const MEMBER = /^([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):$/;

/**
 * What an upload says that its body hashes to, in Content-Digest or Repr-Digest (RFC 9530): both are of the bytes as they
 * are sent, for a PUT of a whole artifact. Other algorithms than SHA-256 and SHA-512 are left to those who know them.
 *
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` for a header that says nothing
 */
export function declaredDigests(headers: IncomingHttpHeaders): Digest[] {
  const digests: Digest[] = [];
  for (const name of ['content-digest', 'repr-digest']) {
    const header = headers[name];
    if (header === undefined) continue;
    for (const member of String(header).split(',')) {
      const match = MEMBER.exec(member.trim());
      if (match === null)
        throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', `${name}: expected a dictionary of digests`);
      const known = ALGORITHMS[match[1] as keyof typeof ALGORITHMS]; // undefined for all others
      if (known === undefined) continue;
      const value = Buffer.from(match[2] ?? '', 'base64');
      if (value.byteLength !== known.bytes) {
        throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', `${name}: expected ${known.bytes} bytes for ${match[1]}`);
      }
      digests.push({ algorithm: known.algorithm, value });
    }
  }
  return digests;
}
