import type { ClientCertificate } from '../../contract/exchange.js';
import { type AccessLevel, CheckedGrant, SUBJECT } from '../grant.js';
import { operatorGrant } from '../operator-grant.js';
import type { AccessRequest } from '../policy.js';
import { OPERATOR_PROTOCOL } from '../token-syntax.js';
import { fieldOf, subjectOf } from './certificate-fields.js';
import { ClaimPattern } from './claim-pattern.js';
import { type Claims, claimOf, singleTextOf, textsOf } from './claims.js';
import type { OidcRule, Patterns } from './options.js';
import { ScopeTemplate } from './scope-template.js';

/** Verified identity of a client. */
export interface Identity {
  /** Issuer and claims of its token; `undefined` without a valid token. */
  readonly token: { readonly issuer: string; readonly claims: Claims } | undefined;
  readonly certificate: ClientCertificate | undefined;
}

/** Grant of a rule that matches an identity. The request decides whether the rule applies. */
export interface Candidate {
  readonly grant: CheckedGrant;
  readonly protocols: ReadonlySet<string> | undefined;
  readonly namespaces: ReadonlySet<string> | undefined;
}

/** Prefix of placeholders for a field of the certificate. */
export const CERTIFICATE_PREFIX = 'certificate.';

type Conditions = readonly (readonly [name: string, patterns: readonly ClaimPattern[]])[];

/** Valid {@link OidcRule}, prepared for matching. */
export class Rule {
  readonly #issuer: string | undefined;
  readonly #when: Conditions | undefined;
  readonly #certificate: Conditions | undefined;
  readonly #rule: OidcRule;
  readonly #scope: ScopeTemplate | undefined;
  readonly #reads: readonly ScopeTemplate[];
  readonly #protocols: ReadonlySet<string> | undefined;
  readonly #namespaces: ReadonlySet<string> | undefined;

  constructor(rule: OidcRule) {
    const { issuer, when, certificate, scope, reads = [], protocols, namespaces } = rule;
    this.#rule = rule;
    this.#issuer = issuer;
    this.#when = when && conditionsOf(when);
    this.#certificate = certificate && conditionsOf(certificate);
    this.#scope = scope === undefined ? undefined : new ScopeTemplate(scope);
    this.#reads = reads.map((text) => new ScopeTemplate(text));
    this.#protocols = protocols && new Set(protocols);
    this.#namespaces = namespaces && new Set(namespaces);
  }

  /** Returns the grant for an identity, or `undefined` if the rule does not match it. */
  candidateFor({ token, certificate }: Identity): Candidate | undefined {
    if (this.#when !== undefined) {
      if (token === undefined || (this.#issuer !== undefined && this.#issuer !== token.issuer)) return undefined;
      if (!areMet(this.#when, (name) => claimOf(token.claims, name))) return undefined;
    }
    if (this.#certificate !== undefined) {
      if (certificate === undefined) return undefined;
      if (!areMet(this.#certificate, (name) => fieldOf(certificate, name))) return undefined;
    }
    const lookUp = (name: string): unknown => {
      if (!name.startsWith(CERTIFICATE_PREFIX)) return token && claimOf(token.claims, name);
      return certificate && fieldOf(certificate, name.slice(CERTIFICATE_PREFIX.length));
    };
    const scope = this.#scope?.render(lookUp);
    if (this.#scope !== undefined && scope === undefined) return undefined;
    const reads: string[] = [];
    for (const template of this.#reads) {
      const read = template.render(lookUp);
      if (read === undefined) return undefined;
      reads.push(read);
    }
    const { level, overwrite } = this.#rule;
    const subject =
      this.#when === undefined ? certificate && subjectOf(certificate) : singleTextOf(token?.claims['sub']);
    // The rule decides about access, not the name of the client: a name that cannot be stored is omitted.
    const name = SUBJECT.accepts(subject) ? subject : undefined;
    const grant = new CheckedGrant({ level, scope, reads, overwrite, subject: name });
    return { grant, protocols: this.#protocols, namespaces: this.#namespaces };
  }
}

/**
 * Returns the grant of the first candidate that applies to a request, or `undefined`. For the pages of operators, see
 * {@link firstOperatorGrant}.
 */
export function firstGrant(
  candidates: readonly Candidate[],
  request: AccessRequest,
): CheckedGrant | AccessLevel | undefined {
  if (request.protocol === OPERATOR_PROTOCOL) return firstOperatorGrant(candidates, request);
  return candidates.find((candidate) => applies(candidate, request))?.grant;
}

/**
 * The pages of operators show the artifacts of all scopes. A rule with scopes gives access to them only if it names them, and then
 * without its scopes. Once any other rule with scopes has matched the client, only rules that name the pages do: a later rule for
 * everyone must not show the client more than its scopes.
 */
function firstOperatorGrant(
  candidates: readonly Candidate[],
  request: AccessRequest,
): CheckedGrant | AccessLevel | undefined {
  let isRestricted = false;
  for (const candidate of candidates) {
    const { grant, protocols } = candidate;
    const isNamed = protocols?.has(OPERATOR_PROTOCOL) ?? false;
    isRestricted ||= !isNamed && !grant.isUnscoped;
    if (!applies(candidate, request)) continue;
    // The tokens of these rules are those of builds, so scopes can be assumed.
    if (isNamed || !isRestricted) return operatorGrant({ grant, isNamed, hasScopes: true });
    if (grant.level === 'none') return undefined;
  }
  return undefined;
}

function applies({ protocols, namespaces }: Candidate, { protocol, namespace }: AccessRequest): boolean {
  if (protocols !== undefined && !protocols.has(protocol)) return false;
  return namespaces === undefined || (namespace !== undefined && namespaces.has(namespace));
}

function conditionsOf(patterns: Patterns): Conditions {
  return Object.entries(patterns).map(([name, texts]) => [name, [texts].flat().map((text) => new ClaimPattern(text))]);
}

function areMet(conditions: Conditions, lookUp: (name: string) => unknown): boolean {
  return conditions.every(([name, patterns]) => {
    const texts = textsOf(lookUp(name));
    return texts.some((text) => patterns.some((pattern) => pattern.matches(text)));
  });
}
