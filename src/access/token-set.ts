import { createHash, timingSafeEqual } from 'node:crypto';
import { type AccessLevel, type AccessRequest, includes } from './policy.js';

/** Token with its access level and scope. */
export interface AccessToken {
  /**
   * Secret of letters, digits and `-._~+/`, optionally followed by `=`: the characters that both Bearer and Basic can
   * carry (RFC 6750, section 2.1). Tokens shorter than 16 characters are accepted and logged.
   */
  readonly token: string;
  /** Access level. `write` includes `read`. */
  readonly level: 'read' | 'write';
  /** Names of the protocols that the token is valid for, such as `turborepo`. Default: all. */
  readonly protocols?: readonly string[] | undefined;
  /**
   * Namespaces (teams or tenants) that the token is valid for, as the tools send them. The token is then not valid for
   * requests without a namespace. Default: all, and requests without a namespace.
   */
  readonly namespaces?: readonly string[] | undefined;
}

/** Shorter tokens are logged, because they can be guessed. 16 characters of base64 have 96 bits. */
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
      // No early exit, so that the time does not reveal which token matched.
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
