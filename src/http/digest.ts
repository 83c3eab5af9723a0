import type { IncomingHttpHeaders } from 'node:http';
import { type ErrorCode, HotblobError } from '../contract/errors.js';

/** Expected digest of a request body. */
export interface Digest {
  readonly algorithm: 'sha256' | 'sha512';
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

/**
 * Returns the digests that an upload declares in Content-Digest and Repr-Digest (RFC 9530). For a PUT of a whole
 * artifact, both are digests of the bytes as sent. Algorithms other than SHA-256 and SHA-512 are ignored, as the RFC
 * allows.
 *
 * @throws HotblobError `ERR_HOTBLOB_BAD_REQUEST` if one of the headers is malformed
 */
export function declaredDigests(headers: IncomingHttpHeaders): Digest[] {
  const digests: Digest[] = [];
  for (const name of ['content-digest', 'repr-digest']) {
    const header = headers[name];
    if (header === undefined) continue;
    for (const member of String(header).split(',')) {
      const match = MEMBER.exec(member.trim());
      if (match === null) {
        throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', `${name}: expected digests in the form sha-256=:BASE64:`);
      }
      const [, algorithmName = '', base64 = ''] = match;
      const supported = ALGORITHMS.get(algorithmName);
      if (supported === undefined) continue;
      const { algorithm, bytes } = supported;
      const value = Buffer.from(base64, 'base64');
      if (value.byteLength !== bytes) {
        const message = `${name}: expected ${bytes} bytes for ${algorithmName}, received ${value.byteLength}`;
        throw new HotblobError('ERR_HOTBLOB_BAD_REQUEST', message);
      }
      digests.push({ algorithm, value });
    }
  }
  return digests;
}
