import type * as Jose from 'jose';
import { HotblobError } from '../../contract/errors.js';
import type { ClientCertificate } from '../../contract/exchange.js';
import { tryToLoad } from '../../util/load-optional.js';
import type { AccessGrant, AccessLevel } from '../grant.js';
import type { AccessPolicy, AccessRequest } from '../policy.js';
import { warnWith } from '../warnings.js';
import { checkOidcOptions } from './check-options.js';
import type { Claims } from './claims.js';
import type { IssuerKeys } from './issuer-keys.js';
import { KeyPool } from './key-pool.js';
import { DEFAULTS, type OidcOptions } from './options.js';
import { type Candidate, firstGrant, Rule } from './rule.js';
import { TokenVerifier } from './token-verifier.js';

/** Policy that verifies tokens and certificates. Created by {@link oidcAccess}. */
export interface OidcPolicy extends AccessPolicy {
  /**
   * Fetches the keys of all issuers now, for example at the start of a server, so that the first request does not wait for
   * them. Problems go to `onWarning`. Never rejects.
   */
  reload(): Promise<void>;
}

/**
 * Creates a policy for tokens that an identity provider signs (OpenID Connect), such as those of CI systems, and for the
 * certificates of clients (mutual TLS). Rules map claims and certificates to access levels and scopes.
 *
 * A token is accepted if its signature is valid for a current key of its issuer, with an asymmetric algorithm, and if `iss`,
 * `aud`, `exp`, `nbf` and `iat` are. Only the header `Authorization` is considered, as for other tokens. A verified token is
 * remembered until it expires or its key is revoked.
 *
 * @throws HotblobError `ERR_HOTBLOB_INVALID_OPTION` for an invalid option, and if there are issuers and the package `jose`
 *   is not installed
 */
export function oidcAccess(options: OidcOptions): OidcPolicy {
  return createOidcPolicy(options, SYSTEM_CLOCKS);
}

/** Clocks of a policy. */
export interface Clocks {
  /** Milliseconds since 1970, for the claims of tokens. */
  wallMs(): number;
  /** Milliseconds since any moment, for the age of keys. */
  monotonicMs(): number;
}

export const SYSTEM_CLOCKS: Clocks = { wallMs: Date.now, monotonicMs: () => performance.now() };

/**
 * Creates the policy of {@link oidcAccess}.
 *
 * @param pool keys of an earlier policy, which are used for the same issuers instead of being fetched again
 */
export function createOidcPolicy(options: OidcOptions, clocks: Clocks, pool = new KeyPool()): OidcPolicy {
  checkOidcOptions(options);
  const identities = new Identities(options, clocks, pool);
  const policy = (request: AccessRequest) => identities.decide(request);
  return Object.assign(policy, { reload: () => identities.fetchKeys() });
}

/** Candidates of one token, with and without certificates. */
interface Verified {
  readonly issuer: string;
  readonly claims: Claims;
  readonly candidates: readonly Candidate[];
  /** Connections of a client share the object of its certificate. */
  readonly byCertificate: WeakMap<ClientCertificate, readonly Candidate[]>;
}

class Identities {
  readonly #rules: readonly Rule[];
  readonly #usesCertificates: boolean;
  readonly #keys: readonly IssuerKeys[];
  readonly #verifier: TokenVerifier<Verified> | undefined;
  readonly #byCertificate = new WeakMap<ClientCertificate, readonly Candidate[]>();

  constructor(options: OidcOptions, { wallMs, monotonicMs }: Clocks, pool: KeyPool) {
    const { issuers = [], rules, onWarning } = options;
    const cacheMs = options.cacheMs ?? DEFAULTS.cacheMs;
    const maxStaleMs = options.maxStaleMs ?? DEFAULTS.maxStaleMs;
    const timeoutMs = options.timeoutMs ?? DEFAULTS.timeoutMs;
    const clockToleranceMs = options.clockToleranceMs ?? DEFAULTS.clockToleranceMs;
    const warn = warnWith(onWarning);
    this.#rules = rules.map((rule) => new Rule(rule));
    this.#usesCertificates = rules.some(({ certificate }) => certificate !== undefined);
    const keys = pool.keysOf(issuers, { cacheMs, maxStaleMs, timeoutMs, now: monotonicMs, warn });
    const trusted = issuers.map((issuer, index) => ({
      name: issuer.issuer,
      audiences: [issuer.audience].flat(),
      keys: keys[index] as IssuerKeys, // one for each issuer
      minLifetimeMs: issuer.minLifetimeMs ?? 0,
      clockToleranceMs,
    }));
    this.#keys = keys;
    const resultOf = (issuer: string, claims: Claims): Verified => this.#verified(issuer, claims);
    this.#verifier = trusted.length === 0 ? undefined : new TokenVerifier(loadJose(), trusted, resultOf, wallMs);
  }

  decide(request: AccessRequest): AccessGrant | AccessLevel | Promise<AccessGrant | AccessLevel> {
    const { credentials } = request;
    const verified = credentials === undefined ? undefined : this.#verifier?.verify(credentials.token);
    if (verified instanceof Promise) return verified.then((result) => this.#grant(request, result));
    return this.#grant(request, verified);
  }

  async fetchKeys(): Promise<void> {
    await Promise.all(this.#keys.map((keys) => keys.fetchNow()));
  }

  #grant(request: AccessRequest, verified: Verified | undefined): AccessGrant | AccessLevel {
    const certificate = this.#usesCertificates ? request.certificate : undefined;
    const candidates = certificate === undefined ? verified?.candidates : this.#withCertificate(certificate, verified);
    return firstGrant(candidates ?? [], request) ?? 'none';
  }

  #withCertificate(certificate: ClientCertificate, verified: Verified | undefined): readonly Candidate[] {
    const known = verified?.byCertificate ?? this.#byCertificate;
    const candidates = known.get(certificate) ?? this.#match(verified, certificate);
    known.set(certificate, candidates);
    return candidates;
  }

  #verified(issuer: string, claims: Claims): Verified {
    const candidates = this.#match({ issuer, claims }, undefined);
    // Claims are needed again only for rules about certificates.
    return { issuer, claims: this.#usesCertificates ? claims : {}, candidates, byCertificate: new WeakMap() };
  }

  #match(
    token: Pick<Verified, 'issuer' | 'claims'> | undefined,
    certificate: ClientCertificate | undefined,
  ): Candidate[] {
    return this.#rules.flatMap((rule) => rule.candidateFor({ token, certificate }) ?? []);
  }
}

function loadJose(): typeof Jose {
  const result = tryToLoad('jose');
  // tryToLoad() returns unknown.
  if ('module' in result) return result.module as typeof Jose;
  if (result.failure === 'absent') {
    throw new HotblobError(
      'ERR_HOTBLOB_INVALID_OPTION',
      'issuers: the package jose is not installed (npm install jose)',
    );
  }
  const remedy = 'jose 6 needs Node 20.19 or later; for earlier versions, npm install jose@5';
  const message = `issuers: the package jose cannot be loaded: ${result.failure.message} (${remedy})`;
  throw new HotblobError('ERR_HOTBLOB_INVALID_OPTION', message, { cause: result.failure });
}
