import { HotblobError } from '../contract/errors.js';
import { type Credentials, credentialsOf } from './credentials.js';

/** What somebody may do; each level includes those before it. To write is to upload and to delete. */
export type AccessLevel = 'none' | 'read' | 'write';

const LEVELS: readonly AccessLevel[] = ['none', 'read', 'write'];

/** What a policy decides on. */
export interface AccessRequest {
  /** Undefined without any, and for malformed ones. */
  readonly credentials: Credentials | undefined;
  /** The protocol's name, such as `turborepo`. */
  readonly protocol: string;
  /** Whose artifacts it is about (a team, a tenant); undefined where the request names nobody. */
  readonly namespace?: string | undefined;
}

/**
 * Says what somebody may do; asked for each request, before anything is looked up. Made by `staticTokens` or `tokenFile`,
 * or one's own. What it throws ends the request with 500.
 */
export type AccessPolicy = (request: AccessRequest) => AccessLevel | Promise<AccessLevel>;

/** The `WWW-Authenticate` that a 401 must have (RFC 9110, 15.5.2). */
export const CHALLENGE = 'Basic realm="hotblob", charset="UTF-8", Bearer realm="hotblob"';

/** 401: without access here. 403: may read, but not write. */
export type AccessRefusal = 401 | 403;

/** What {@link checkAccess} goes by. */
export interface AccessCheck {
  /** The `Authorization` header. */
  readonly authorization: string | undefined;
  readonly protocol: string;
  readonly namespace?: string | undefined;
  /** What one must be allowed to do. For `none` the policy is not asked. */
  readonly needs: AccessLevel;
}

/**
 * Undefined for a request that may go on; else the status that refuses it, which is the same for a wrong token, for none,
 * and for one of other protocols or namespaces. Synchronous where the policy is.
 *
 * Who may read gets 403 for writing, without a token too: tools take it for a cache that is read-only, where 401 fails
 * the build (Nx).
 *
 * @throws what the policy throws; HotblobError `ERR_HOTBLOB_INVALID_OPTION` when it answers with what is no level
 */
export function checkAccess(
  policy: AccessPolicy,
  { authorization, protocol, namespace, needs }: AccessCheck,
): AccessRefusal | undefined | Promise<AccessRefusal | undefined> {
  if (needs === 'none') return undefined;
  const level = policy({ credentials: credentialsOf(authorization), protocol, namespace });
  if (typeof level === 'string') return refusalOf(level, needs);
  // A policy without types may answer with anything, and await takes anything.
  return Promise.resolve(level).then((awaited) => refusalOf(awaited, needs));
}

/** Whether `level` includes `needed`. */
export function includes(level: AccessLevel, needed: AccessLevel): boolean {
  return LEVELS.indexOf(level) >= LEVELS.indexOf(needed);
}

function refusalOf(level: AccessLevel, needs: AccessLevel): AccessRefusal | undefined {
  if (!LEVELS.includes(level)) {
    // What it is may be a secret.
    const message = `access: expected the policy to answer 'none', 'read' or 'write', received ${typeof level === 'string' ? 'another string' : typeof level}`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
  }
  if (includes(level, needs)) return undefined;
  return level === 'none' ? 401 : 403;
}
