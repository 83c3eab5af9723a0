import type { IncomingHttpHeaders } from 'node:http';
import { type ErrorCode, HotblobError } from '../contract/errors.js';

/** Expected digest of a request body. */
export interface Digest {
  readonly algorithm: 'sha1' | 'sha256' | 'sha384' | 'sha512';
  readonly value: Buffer;
  /** Error code of an upload whose body has a different digest. Default: `ERR_HOTBLOB_DIGEST`. */
  readonly code?: ErrorCode | undefined;
}

const ALGORITHMS: ReadonlyMap<string, { readonly algorithm: Digest['algorithm']; readonly bytes: number }> = new Map([
  ['sha-256', { algorithm: 'sha256', bytes: 32 }],
  ['sha-512', { algorithm: 'sha512', bytes: 64 }],
]);
/** Matches one digest in a Content-Digest or Repr-Digest header: `sha-256=:BASE64:` (RFC 9651, section 3.2). */
const MEMBER = /^([a-z*][a-z0-9_.*-]*)=:([A-Za-z0-9+/]*={0,2}):$/;

/** Digests of the bytes as sent, because an upload is a whole artifact (RFC 9530, sections 2 and 3). */
const FIELDS = ['content-digest', 'repr-digest'] as const;

/**
 * Returns the digests that an upload declares in Content-Digest and Repr-Digest (RFC 9530): at most one for each
 * algorithm. Algorithms other than SHA-256 and SHA-512 are ignored, as the RFC allows.
 *
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` for a malformed header, or if the two headers declare different digests
 */
export function declaredDigests(headers: IncomingHttpHeaders): Digest[] {
  const digests = new Map<Digest['algorithm'], Digest>();
  for (const name of FIELDS) {
    const header = headers[name];
    if (header === undefined) continue;
    for (const digest of digestsIn(name, String(header))) {
      const { algorithm, value } = digest;
      if (digests.get(algorithm)?.value.equals(value) === false) {
        const message = `${FIELDS.join(' and ')}: expected the same ${algorithm}, received different ones`;
        throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', message);
      }
      digests.set(algorithm, digest);
    }
  }
  return [...digests.values()];
}

function digestsIn(name: string, header: string): Digest[] {
  // The last member with a key wins (RFC 9651, section 3.2).
  const members = new Map<string, string>();
  for (const member of header.split(',')) {
    const match = MEMBER.exec(member.trim());
    if (match === null) {
      throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', `${name}: expected digests in the form sha-256=:BASE64:`);
    }
    const [, algorithmName = '', base64 = ''] = match;
    members.set(algorithmName, base64);
  }
  const digests: Digest[] = [];
  for (const [algorithmName, { algorithm, bytes }] of ALGORITHMS) {
    const base64 = members.get(algorithmName);
    if (base64 === undefined) continue;
    const value = Buffer.from(base64, 'base64');
    if (value.byteLength !== bytes) {
      const message = `${name}: expected ${bytes} bytes for ${algorithmName}, received ${value.byteLength}`;
      throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', message);
    }
    digests.push({ algorithm, value });
  }
  return digests;
}
