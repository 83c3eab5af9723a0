import { createHash, timingSafeEqual } from 'node:crypto';
import { type AccessLevel, type AccessRequest, includes } from './policy.js';

/** A token, and what it is good for. */
export interface AccessToken {
  /**
   * Letters, digits and `-._~+/`, then perhaps `=` (RFC 6750, 2.1), so that it can be sent as a Bearer token as well as in
   * Basic. Fewer than 16 characters are allowed and logged.
   */
  readonly token: string;
  /** `write` includes `read`. */
  readonly level: 'read' | 'write';
  /** The names of the protocols that it is for, such as `turborepo`. Default: all. */
  readonly protocols?: readonly string[] | undefined;
  /**
   * The namespaces (teams, tenants) that it is for, as the tools send them; then it is not for requests without one.
   * Default: all, and requests without one.
   */
  readonly namespaces?: readonly string[] | undefined;
}

/** What is shorter can be guessed: 16 characters of base64 hold 96 bits. Logged, not refused: a trial may use `tok`. */
export const MIN_TOKEN_LENGTH = 16;

interface Scope {
  readonly level: AccessLevel;
  readonly protocols: ReadonlySet<string> | undefined;
  readonly namespaces: ReadonlySet<string> | undefined;
}

interface KnownToken {
  readonly digest: Buffer;
  readonly scopes: Scope[];
}

/** Tokens that somebody else has checked. It keeps their digests alone. It never changes. */
export class TokenSet {
  readonly #known: readonly KnownToken[];
  readonly #anonymous: AccessLevel;

  /** A token that is there several times is good for what any of them says. `anonymous` is everybody's, with a token or without. */
  constructor(tokens: readonly AccessToken[], anonymous: AccessLevel = 'none') {
    this.#anonymous = anonymous;
    const known = new Map<string, KnownToken>();
    for (const { token, level, protocols, namespaces } of tokens) {
      const digest = digestOf(token);
      const id = digest.toString('latin1');
      const scope = { level, protocols: setOf(protocols), namespaces: setOf(namespaces) };
      const same = known.get(id);
      if (same === undefined) known.set(id, { digest, scopes: [scope] });
      else same.scopes.push(scope);
    }
    this.#known = [...known.values()];
  }

  /** How many tokens there are. */
  get size(): number {
    return this.#known.length;
  }

  /** The highest level that the token of a request has there; that of anonymous ones for a token that is not known. */
  levelOf({ credentials, protocol, namespace }: AccessRequest): AccessLevel {
    let level = this.#anonymous;
    if (credentials === undefined) return level;
    const digest = digestOf(credentials.token);
    for (const known of this.#known) {
      // No early exit: how long it takes must not tell which token it was.
      if (!timingSafeEqual(known.digest, digest)) continue;
      for (const scope of known.scopes) {
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
