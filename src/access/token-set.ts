import { createHash, timingSafeEqual } from 'node:crypto';
import { type AccessLevel, type AccessRequest, includes } from './policy.js';

/** Token with its access level and scope. */
export interface AccessToken {
  /**
   * Secret that consists of letters, digits and `-._~+/`, optionally followed by `=`. These characters are valid in
   * both Bearer and Basic (RFC 6750, section 2.1). Tokens shorter than 16 characters are accepted and logged.
   */
  readonly token: string;
  /** Access level. `write` includes `read`. */
  readonly level: 'read' | 'write';
  /** Names of the protocols for which the token is valid, such as `turborepo`. Default: all. */
  readonly protocols?: readonly string[] | undefined;
  /**
   * Namespaces (teams or tenants) for which the token is valid, in the form in which the tools send them. If given, the
   * token is not valid for requests without a namespace. Default: all requests.
   */
  readonly namespaces?: readonly string[] | undefined;
}

/**
 * Length below which a token is reported in the log, because it can be guessed. 16 characters of base64 have 96 bits.
 */
export const MIN_TOKEN_LENGTH = 16;

interface Scope {
  readonly level: AccessLevel;
  readonly protocols: ReadonlySet<string> | undefined;
  readonly namespaces: ReadonlySet<string> | undefined;
}

interface StoredToken {
  readonly digest: Buffer;
  readonly scopes: Scope[];
}

/** Immutable set of validated tokens. Stores only their digests. */
export class TokenSet {
  readonly #tokens: readonly StoredToken[];
  readonly #anonymous: AccessLevel;

  /**
   * @param tokens a token that occurs several times has the access of all its entries
   * @param anonymous minimum access level of every client, with or without a token
   */
  constructor(tokens: readonly AccessToken[], anonymous: AccessLevel = 'none') {
    this.#anonymous = anonymous;
    const stored = new Map<string, StoredToken>();
    for (const { token, level, protocols, namespaces } of tokens) {
      const digest = digestOf(token);
      const id = digest.toString('latin1');
      const scope = { level, protocols: setOf(protocols), namespaces: setOf(namespaces) };
      const existing = stored.get(id);
      if (existing === undefined) stored.set(id, { digest, scopes: [scope] });
      else existing.scopes.push(scope);
    }
    this.#tokens = [...stored.values()];
  }

  /** Number of different tokens. */
  get size(): number {
    return this.#tokens.length;
  }

  /** Returns the highest access level that the token of a request has for its protocol and namespace. */
  levelOf({ credentials, protocol, namespace }: AccessRequest): AccessLevel {
    let level = this.#anonymous;
    if (credentials === undefined) return level;
    const digest = digestOf(credentials.token);
    for (const token of this.#tokens) {
      // The loop does not end at a match, so that its duration does not reveal which token matched.
      if (!timingSafeEqual(token.digest, digest)) continue;
      for (const scope of token.scopes) {
        if (covers(scope, protocol, namespace) && includes(scope.level, level)) level = scope.level;
      }
    }
    return level;
  }
}

function covers({ protocols, namespaces }: Scope, protocol: string, namespace: string | undefined): boolean {
  if (protocols !== undefined && !protocols.has(protocol)) return false;
  return namespaces === undefined || (namespace !== undefined && namespaces.has(namespace));
}

function setOf(values: readonly string[] | undefined): ReadonlySet<string> | undefined {
  return values && new Set(values);
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
