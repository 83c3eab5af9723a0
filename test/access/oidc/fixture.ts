import type { ExecutionContext } from 'ava';
import type { AccessLevel } from '../../../src/access/grant.js';
import { createOidcPolicy, type OidcPolicy } from '../../../src/access/oidc/oidc-access.js';
import type { OidcIssuer, OidcOptions, OidcRule } from '../../../src/access/oidc/options.js';
import type { AccessDecision, AccessPolicy, AccessRequest } from '../../../src/access/policy.js';
import type { ClientCertificate } from '../../../src/contract/exchange.js';
import { type Algorithm, Issuer } from '../../helpers/issuer.js';

/** Rule for every token that the tests sign with the claim `team`. */
export const ANY_TEAM: OidcRule = { when: { team: '*' }, level: 'write' };

/** Returns a request, by default for an upload of Nx. */
export function requestWith(token: string | undefined, options: Partial<AccessRequest> = {}): AccessRequest {
  return {
    credentials: token === undefined ? undefined : { token, user: undefined },
    protocol: 'nx',
    operation: 'upload',
    method: 'PUT',
    headers: {},
    ...options,
  };
}

export async function levelOf(policy: AccessPolicy, token: string | undefined): Promise<AccessLevel> {
  return toLevel(await policy(requestWith(token)));
}

export function toLevel(decision: AccessDecision): AccessLevel {
  return typeof decision === 'string' ? decision : decision.level;
}

/** Certificate of a client. */
export function certificateOf(values: Partial<ClientCertificate> = {}): ClientCertificate {
  return { subject: { CN: 'ci-7' }, subjectAltNames: [], fingerprint256: Array(32).fill('AB').join(':'), ...values };
}

/** A policy for one issuer that runs as a server, with a clock that the test sets. */
export interface Site {
  readonly issuer: Issuer;
  readonly policy: OidcPolicy;
  readonly warnings: string[];
  advance(milliseconds: number): void;
}

export interface SiteOptions extends Partial<Omit<OidcOptions, 'issuers'>> {
  readonly algorithm?: Algorithm;
  /** Properties of the issuer beside its URL and audience. */
  readonly trust?: (issuer: Issuer) => Partial<OidcIssuer>;
}

export async function openSite(t: ExecutionContext, { algorithm, trust, ...options }: SiteOptions = {}): Promise<Site> {
  const issuer = await Issuer.start(t, algorithm);
  const warnings: string[] = [];
  let elapsed = 0;
  const policy = createOidcPolicy(
    {
      issuers: [{ issuer: issuer.url, audience: 'hotblob', ...trust?.(issuer) }],
      rules: [ANY_TEAM],
      onWarning: (line) => warnings.push(line),
      ...options,
    },
    { wallMs: () => Date.now() + elapsed, monotonicMs: () => elapsed },
  );
  return {
    issuer,
    policy,
    warnings,
    advance(milliseconds) {
      elapsed += milliseconds;
    },
  };
}
