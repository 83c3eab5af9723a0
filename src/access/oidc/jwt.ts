import { type Claims, isClaims } from './claims.js';
import { ALL_ALGORITHMS } from './signing-key.js';

/** Longest token that is considered. The header of a request has at most 16 KiB by default. */
const MAX_LENGTH = 16_384;
const SHAPE = /^[\w-]+\.[\w-]+\.[\w-]+$/;

/** Parts of a token whose signature has not been verified. */
export interface UnverifiedToken {
  readonly algorithm: string;
  /** Key id of the header. */
  readonly keyId: string | undefined;
  readonly claims: Claims;
}

/** Whether a text could be a JWT: it begins with the base64url form of `{"`. Costs next to nothing. */
export function isLikeJwt(token: string): boolean {
  return token.startsWith('eyJ') && token.length <= MAX_LENGTH;
}

/**
 * Decodes a token (JWS Compact Serialization, RFC 7515) without verifying it. Returns `undefined` if it is malformed, if its
 * algorithm is symmetric, unknown or `none`, and if its header has critical extensions (section 4.1.11).
 *
 * Members of the header that name a key or where to find one (`jwk`, `jku`, `x5c`, `x5u`) are ignored: only the keys of
 * the issuer count.
 */
export function decodeToken(token: string): UnverifiedToken | undefined {
  if (!SHAPE.test(token)) return undefined;
  const [header, claims] = token.split('.', 2).map(parseSegment);
  if (header === undefined || claims === undefined || 'crit' in header) return undefined;
  const { alg, kid } = header;
  if (typeof alg !== 'string' || !ALL_ALGORITHMS.has(alg)) return undefined;
  if (kid !== undefined && typeof kid !== 'string') return undefined;
  return { algorithm: alg, keyId: kid, claims };
}

/** Parses the claims of a verified token. */
export function parseClaims(payload: Uint8Array): Claims | undefined {
  try {
    const value: unknown = JSON.parse(UTF8.decode(payload));
    return isClaims(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

const UTF8 = new TextDecoder('utf-8', { fatal: true });

function parseSegment(segment: string): Claims | undefined {
  return parseClaims(Buffer.from(segment, 'base64url'));
}
