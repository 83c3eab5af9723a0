/** Credentials of a request. */
export interface Credentials {
  /** Token: the Bearer token, or the password of Basic. */
  readonly token: string;
  /** User name of Basic; `undefined` for Bearer, for an empty user name, and if the user name is the token. */
  readonly user: string | undefined;
}

/**
 * Matches Bearer credentials (RFC 6750, section 2.1). Adjacent groups match different characters, so matching takes
 * linear time.
 */
const BEARER = /^bearer +([\w.~+/-]+=*)$/i;
/**
 * Matches Basic credentials (RFC 7617, section 2). Accepts both alphabets of RFC 4648, and base64 without padding,
 * because Bazel sends base64url.
 */
const BASIC = /^basic +([\w+/-]+)={0,2}$/i;
/** Matches a control character, which user names and passwords must not contain (RFC 7617, section 2). */
const CONTROL = /\p{Cc}/u;

// A byte order mark is part of the user name and must not be removed.
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Returns the credentials in an `Authorization` header: Bearer (RFC 6750) or Basic (RFC 7617, UTF-8). If Basic has a
 * user name and no password, the user name is the token: tools send such credentials if the token is the user name of a
 * URL. Returns `undefined` without a header, for another scheme, and for a malformed header. Never throws.
 */
export function credentialsOf(authorization: string | undefined): Credentials | undefined {
  if (authorization === undefined) return undefined;
  const token = BEARER.exec(authorization)?.[1];
  if (token !== undefined) return { token, user: undefined };
  const payload = BASIC.exec(authorization)?.[1];
  return payload === undefined ? undefined : basicCredentials(payload);
}

function basicCredentials(payload: string): Credentials | undefined {
  // Base64 text of this length is invalid: its last character has only six bits, less than a byte.
  if (payload.length % 4 === 1) return undefined;
  const pair = decode(Buffer.from(payload, 'base64'));
  // The first colon ends the user name. A password can contain colons.
  const colon = pair?.indexOf(':') ?? -1;
  if (pair === undefined || colon === -1 || CONTROL.test(pair)) return undefined;
  const user = pair.slice(0, colon);
  const password = pair.slice(colon + 1);
  if (password !== '') return { token: password, user: user === '' ? undefined : user };
  return user === '' ? undefined : { token: user, user: undefined };
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return UTF8.decode(bytes);
  } catch {
    return undefined;
  }
}
