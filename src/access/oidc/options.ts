import type { JsonWebKey } from 'node:crypto';
import type { AccessLevel } from '../grant.js';

/** Patterns by name of a claim or a field: one pattern, or several of which one must match. */
export type Patterns = Readonly<Record<string, string | readonly string[]>>;

/** Issuer of tokens. */
export interface OidcIssuer {
  /** URL of the issuer, exactly as in the `iss` claim of its tokens. `https:`, or `http:` for a loopback address. */
  readonly issuer: string;
  /** Accepted values of the `aud` claim. Choose a value that only this cache uses. */
  readonly audience: string | readonly string[];
  /** URL of the key set. Default: the one in `<issuer>/.well-known/openid-configuration`. */
  readonly jwksUri?: string | undefined;
  /** Public keys (JWK, RFC 7517), for tests and for servers that cannot reach the issuer. Nothing is fetched. */
  readonly keys?: readonly JsonWebKey[] | undefined;
  /**
   * Minimum time after its `iat` claim for which a token is accepted, in milliseconds, even if its `exp` claim is earlier. For
   * issuers whose tokens expire before a build ends, such as GitHub Actions. Default: 0, `exp` decides.
   */
  readonly minLifetimeMs?: number | undefined;
}

/** Rule that grants access. */
export interface OidcRule {
  /** Issuer of the token, one of `issuers`. Default: the only issuer. Required if there are several. */
  readonly issuer?: string | undefined;
  /**
   * Claims that the token must have, with their patterns. `*` matches any characters except `/`, `**` any characters, and
   * `?` one character except `/`. A claim that is missing does not match.
   */
  readonly when?: Patterns | undefined;
  /** Fields that the certificate of the client must have (mutual TLS): `subject.CN`, `san`, `fingerprint256`. */
  readonly certificate?: Patterns | undefined;
  /** Access level. `'none'` refuses what later rules would grant. */
  readonly level: AccessLevel;
  /** Names of the protocols for which the rule applies. Default: all. */
  readonly protocols?: readonly string[] | undefined;
  /** Namespaces for which the rule applies. Default: all requests, with or without a namespace. */
  readonly namespaces?: readonly string[] | undefined;
  /** Scope of the client. `{claim}` stands for a claim, percent-encoded. Default: `'default'`. */
  readonly scope?: string | undefined;
  /** Scopes in which a read looks for an artifact, in order. May contain placeholders. Default: only the own scope. */
  readonly reads?: readonly string[] | undefined;
  /** Whether an upload replaces an artifact of the own scope. Default: as for the handler. */
  readonly overwrite?: boolean | undefined;
}

/** Options of `oidcAccess`. */
export interface OidcOptions {
  /** Issuers whose tokens are accepted. Default: none, if all rules are about certificates. */
  readonly issuers?: readonly OidcIssuer[] | undefined;
  /** Rules in order. The first rule that matches decides. A client that no rule matches has no access. */
  readonly rules: readonly OidcRule[];
  /** Names of your own protocols, which rules may name. Default: none. */
  readonly protocols?: readonly string[] | undefined;
  /** Maximum age of fetched keys, in milliseconds: a revoked key is dropped within this time. Default: 600,000. */
  readonly cacheMs?: number | undefined;
  /** Time for which older keys are still used if all attempts to fetch them fail, in milliseconds. Default: 3,600,000. */
  readonly maxStaleMs?: number | undefined;
  /** Maximum time to fetch the keys of an issuer, in milliseconds. No request waits longer for it. Default: 5000. */
  readonly timeoutMs?: number | undefined;
  /** Tolerated difference between the clocks of issuer and server, in milliseconds. Default: 30,000. */
  readonly clockToleranceMs?: number | undefined;
  /**
   * Called with one line, which contains no token, when the keys of an issuer cannot be fetched, when they expire, and when
   * they can be fetched again. Errors that it throws are logged and ignored. Default: the lines go to
   * `DEBUG=hotblob:access` only.
   */
  readonly onWarning?: ((line: string) => void) | undefined;
}

/** Defaults of the options. */
export const DEFAULTS = {
  cacheMs: 600_000,
  maxStaleMs: 3_600_000,
  timeoutMs: 5000,
  clockToleranceMs: 30_000,
} as const;
