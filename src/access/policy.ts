import { HotblobError } from '../contract/errors.js';
import { type Credentials, credentialsOf } from './credentials.js';
import { typeNameOf } from './hidden-options.js';

/** Access level. Each level includes the previous ones. `write` allows uploads and deletes. */
export type AccessLevel = 'none' | 'read' | 'write';

const LEVELS: readonly AccessLevel[] = ['none', 'read', 'write'];

/** Request for which an {@link AccessPolicy} determines the access level. */
export interface AccessRequest {
  /** Credentials of the client; `undefined` if they are missing or malformed. */
  readonly credentials: Credentials | undefined;
  /** Name of the protocol, such as `turborepo`. */
  readonly protocol: string;
  /** Owner of the artifacts (a team or tenant); `undefined` if the request does not name one. */
  readonly namespace?: string | undefined;
}

/**
 * Function that returns the access level of a client. The handler calls it for each request that requires access,
 * before the lookup. Use `staticTokens`, `tokenFile` or a function of your own. If the function throws, the request is
 * answered with 500.
 */
export type AccessPolicy = (request: AccessRequest) => AccessLevel | Promise<AccessLevel>;

/** Value of the `WWW-Authenticate` header, which a 401 response must have (RFC 9110, section 15.5.2). */
export const CHALLENGE = 'Basic realm="hotblob", charset="UTF-8", Bearer realm="hotblob"';

/** Status of a refused request. 401: the client has no access. 403: the client has only read access. */
export type AccessRefusal = 401 | 403;

/** Arguments of {@link checkAccess}. */
export interface AccessCheck {
  /** Value of the `Authorization` header. */
  readonly authorization: string | undefined;
  readonly protocol: string;
  readonly namespace?: string | undefined;
  /** Required access level. If it is `none`, the policy is not called. */
  readonly needs: AccessLevel;
}

/**
 * Returns `undefined` if the request is allowed, otherwise the status of the refusal. A missing token, an unknown
 * token, and a token for other protocols or namespaces result in the same status. Returns a promise only if the policy
 * returns one.
 *
 * If a client has only read access, its write requests are refused with 403, even if it sent no token. Build tools then
 * use the cache read-only. With 401, the build would fail (Nx).
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if the policy returns an invalid level
 * @throws the error of the policy
 */
export function checkAccess(
  policy: AccessPolicy,
  { authorization, protocol, namespace, needs }: AccessCheck,
): AccessRefusal | undefined | Promise<AccessRefusal | undefined> {
  if (needs === 'none') return undefined;
  const level = policy({ credentials: credentialsOf(authorization), protocol, namespace });
  if (typeof level === 'string') return refusalOf(level, needs);
  // A policy that is written in JavaScript can return any value or thenable. Promise.resolve() accepts all of them.
  return Promise.resolve(level).then((awaited) => refusalOf(awaited, needs));
}

/** Returns whether `level` includes `required`. */
export function includes(level: AccessLevel, required: AccessLevel): boolean {
  return LEVELS.indexOf(level) >= LEVELS.indexOf(required);
}

function refusalOf(level: AccessLevel, needs: AccessLevel): AccessRefusal | undefined {
  if (!LEVELS.includes(level)) {
    const message = `access: expected the policy to return 'none', 'read' or 'write', received ${typeNameOf(level)}`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
  }
  if (includes(level, needs)) return undefined;
  return level === 'none' ? 401 : 403;
}
