import type { IncomingHttpHeaders } from 'node:http';
import { HotblobError } from '../contract/errors.js';
import type { ClientCertificate, Exchange } from '../contract/exchange.js';
import { isPromise } from '../util/is-promise.js';
import { type Credentials, credentialsOf } from './credentials.js';
import { type AccessGrant, type AccessLevel, CheckedGrant, includes, isLevel } from './grant.js';
import { typeNameOf } from './hidden-options.js';

/** Request for which an {@link AccessPolicy} determines the access level. */
export interface AccessRequest {
  /** Credentials of the client; `undefined` if they are missing or malformed. */
  readonly credentials: Credentials | undefined;
  /** Name of the protocol, such as `turborepo`; `hotblob` for the pages of operators. */
  readonly protocol: string;
  /** Owner of the artifacts (a team or tenant); `undefined` if the request does not name one. */
  readonly namespace?: string | undefined;
  /** What the request does. A query for several artifacts is a `read`. */
  readonly operation: AccessOperation;
  /** Key with the prefix of its protocol, without a scope; `undefined` if the path does not name an artifact. */
  readonly key?: string | undefined;
  /** Request method. */
  readonly method: string;
  /** Request headers, names in lower case as in `node:http`. */
  readonly headers: IncomingHttpHeaders;
  /** IP address of the client or the last proxy; `undefined` if it is not known. */
  readonly remoteAddress?: string | undefined;
  /** Certificate that the client presented and TLS verified; `undefined` without one. */
  readonly certificate?: ClientCertificate | undefined;
}

/** Operation of an {@link AccessRequest}. */
export type AccessOperation = 'read' | 'upload' | 'delete';

/**
 * Function that returns the access level of a client, or a grant, which names the scope of the client's artifacts too. The
 * handler calls it for each request that requires access, before the lookup. Use `staticTokens`, `tokenFile` or a function of
 * your own. If the function throws, the request is answered with 500.
 */
export type AccessPolicy = (request: AccessRequest) => AccessDecision | Promise<AccessDecision>;

/** Result of an {@link AccessPolicy}. A level means the default scope. */
export type AccessDecision = AccessLevel | AccessGrant;

/** Value of the `WWW-Authenticate` header, which a 401 response must have (RFC 9110, section 15.5.2). */
export const CHALLENGE = 'Basic realm="hotblob", charset="UTF-8", Bearer realm="hotblob"';

/** Status of a refused request. 401: the client has no access. 403: the client has only read access. */
export type AccessRefusal = 401 | 403;

/** Result of {@link checkAccess}. */
export type AccessOutcome = AccessRefusal | CheckedGrant | undefined;

/** Arguments of {@link checkAccess}. */
export interface AccessCheck {
  readonly protocol: string;
  readonly namespace?: string | undefined;
  readonly operation: AccessOperation;
  readonly key?: string | undefined;
  /** Required access level. If it is `none`, the policy is not called. */
  readonly needs: AccessLevel;
}

/**
 * Returns the grant of an access policy if the request is allowed, `undefined` if it is allowed and the policy returned only
 * a level, and otherwise the status of the refusal. A missing token, an unknown token, and a token for other protocols or
 * namespaces result in the same status. Returns a promise only if the policy returns one.
 *
 * If a client has only read access, its write requests are refused with 403, even if it sent no token. Build tools then
 * use the cache read-only. With 401, the build would fail (Nx).
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` if the policy returns neither a level nor a valid grant
 * @throws the error of the policy
 */
export function checkAccess(
  policy: AccessPolicy,
  exchange: AccessExchange,
  { protocol, namespace, operation, key, needs }: AccessCheck,
): AccessOutcome | Promise<AccessOutcome> {
  if (needs === 'none') return undefined;
  const { method, headers } = exchange;
  const decision = policy({
    credentials: credentialsOf(headers.authorization),
    protocol,
    namespace,
    operation,
    key,
    method,
    headers,
    remoteAddress: exchange.remoteAddress,
    certificate: exchange.clientCertificate,
  });
  if (!isPromise(decision)) return outcomeOf(decision, needs);
  // A policy that is written in JavaScript can return any thenable.
  return Promise.resolve(decision).then((awaited) => outcomeOf(awaited, needs));
}

/** Part of an exchange that {@link checkAccess} passes to the policy. */
export type AccessExchange = Pick<Exchange, 'method' | 'headers' | 'remoteAddress' | 'clientCertificate'>;

function outcomeOf(decision: AccessDecision, needs: AccessLevel): AccessOutcome {
  if (isLevel(decision)) return refusalOf(decision, needs);
  if (typeof decision !== 'object' || decision === null || !('level' in decision)) {
    const expected = "'none', 'read', 'write' or an object with a level";
    const message = `access: expected the policy to return ${expected}, received ${typeNameOf(decision)}`;
    throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message);
  }
  const grant = decision instanceof CheckedGrant ? decision : new CheckedGrant(decision);
  return refusalOf(grant.level, needs) ?? (grant.isPlain ? undefined : grant);
}

function refusalOf(level: AccessLevel, needs: AccessLevel): AccessRefusal | undefined {
  if (includes(level, needs)) return undefined;
  return level === 'none' ? 401 : 403;
}
