/** What a request shows of who sends it. */
export interface Credentials {
  /** The secret: a Bearer token, or the password of Basic. */
  readonly token: string;
  /** The user of Basic; undefined where there is none, and where the user was the token. */
  readonly user: string | undefined;
}

/** RFC 6750, 2.1. The groups share no character, so that matching takes linear time. */
const BEARER = /^bearer +([\w.~+/-]+=*)$/i;
/** RFC 7617, 2, but in both alphabets of RFC 4648 and with as much padding as one likes: Bazel sends base64url. */
const BASIC = /^basic +([\w+/-]+)={0,2}$/i;
/** RFC 7617, 2: neither the user nor the password holds one. */
const CONTROL = /\p{Cc}/u;

// A byte order mark is a character of the user, and not to be dropped.
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * The credentials in an `Authorization` header: Bearer (RFC 6750) or Basic (RFC 7617, UTF-8). Where Basic has a user and no
 * password, the user is the token: so send tools whose token stands in the user part of a URL. Undefined without a header,
 * for another scheme, and for what is malformed: those are no credentials. Never throws.
 */
export function credentialsOf(authorization: string | undefined): Credentials | undefined {
  if (authorization === undefined) return undefined;
  const token = BEARER.exec(authorization)?.[1];
  if (token !== undefined) return { token, user: undefined };
  const payload = BASIC.exec(authorization)?.[1];
  return payload === undefined ? undefined : basicCredentials(payload);
}

function basicCredentials(payload: string): Credentials | undefined {
  // One character left over holds six bits: no byte.
  if (payload.length % 4 === 1) return undefined;
  const pair = decode(Buffer.from(payload, 'base64'));
  // The first colon ends the user: a password may have more.
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
