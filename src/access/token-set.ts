import { createHash, timingSafeEqual } from 'node:crypto';
import { type AccessLevel, CheckedGrant, includes } from './grant.js';
import { operatorGrant } from './operator-grant.js';
import type { AccessRequest } from './policy.js';
import { OPERATOR_PROTOCOL } from './token-syntax.js';

/** Token with its access. */
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
  /** Scope of uploads and deletions, as in {@link AccessGrant.scope}. Default: `'default'`. */
  readonly scope?: string | undefined;
  /** Scopes in which reads look for an artifact, as in {@link AccessGrant.reads}. Default: only `scope`. */
  readonly reads?: readonly string[] | undefined;
  /** Whether uploads replace artifacts, as in {@link AccessGrant.overwrite}. Default: the option `overwrite` of the handler. */
  readonly overwrite?: boolean | undefined;
  /** Name of the client, as in {@link AccessGrant.subject}. Default: none. */
  readonly name?: string | undefined;
}

/**
 * Length below which a token is reported in the log, because it can be guessed. 16 characters of base64 have 96 bits.
 */
export const MIN_TOKEN_LENGTH = 16;

/** Access of one entry of a token. */
interface Entry {
  readonly grant: CheckedGrant;
  readonly protocols: ReadonlySet<string> | undefined;
  readonly namespaces: ReadonlySet<string> | undefined;
}

interface StoredToken {
  readonly digest: Buffer;
  readonly entries: Entry[];
}

/** Immutable set of validated tokens. Stores only their digests. */
export class TokenSet {
  readonly #tokens: readonly StoredToken[];
  readonly #anonymous: AccessLevel;
  /** Whether a token is restricted to scopes. The operators' pages, which show all of them, are then not for anonymous clients. */
  readonly hasScopes: boolean;

  /**
   * @param tokens a token that occurs several times has the access of all its entries
   * @param anonymous minimum access level of every client, with or without a token
   */
  constructor(tokens: readonly AccessToken[], anonymous: AccessLevel = 'none') {
    this.#anonymous = anonymous;
    const stored = new Map<string, StoredToken>();
    for (const { token, level, protocols, namespaces, scope, reads, overwrite, name } of tokens) {
      const digest = digestOf(token);
      const id = digest.toString('latin1');
      const grant = new CheckedGrant({ level, scope, reads, overwrite, subject: name });
      const entry = { grant, protocols: setOf(protocols), namespaces: setOf(namespaces) };
      const existing = stored.get(id);
      if (existing === undefined) stored.set(id, { digest, entries: [entry] });
      else existing.entries.push(entry);
    }
    this.#tokens = [...stored.values()];
    this.hasScopes = this.#tokens.some(({ entries }) => entries.some(({ grant }) => !grant.isUnscoped));
  }

  /** Number of different tokens. */
  get size(): number {
    return this.#tokens.length;
  }

  /**
   * Returns the access that the token of a request has for its protocol and namespace: the grant of the first entry with the highest
   * level, or the level of anonymous clients if that is higher.
   */
  decide({ credentials, protocol, namespace }: TokenRequest): AccessLevel | CheckedGrant {
    const anonymous = this.hasScopes && protocol === OPERATOR_PROTOCOL ? 'none' : this.#anonymous;
    if (credentials === undefined) return anonymous;
    const digest = digestOf(credentials.token);
    let best: Entry | undefined;
    for (const token of this.#tokens) {
      // The loop does not end at a match, so that its duration does not reveal which token matched.
      if (!timingSafeEqual(token.digest, digest)) continue;
      for (const entry of token.entries) {
        if (!covers(entry, protocol, namespace)) continue;
        if (best === undefined || !includes(best.grant.level, entry.grant.level)) best = entry;
      }
    }
    if (best === undefined || !includes(best.grant.level, anonymous)) return anonymous;
    const { grant, protocols } = best;
    if (protocol !== OPERATOR_PROTOCOL) return grant.isPlain ? grant.level : grant;
    return operatorGrant({ grant, isNamed: protocols !== undefined, hasScopes: this.hasScopes });
  }
}

/** Part of a request that decides about its token. */
export type TokenRequest = Pick<AccessRequest, 'credentials' | 'protocol' | 'namespace'>;

/** A token with scopes is valid for the operators' pages only if it names them, because they show the artifacts of all scopes. */
function covers({ grant, protocols, namespaces }: Entry, protocol: string, namespace: string | undefined): boolean {
  if (protocols !== undefined && !protocols.has(protocol)) return false;
  if (protocols === undefined && protocol === OPERATOR_PROTOCOL && !grant.isUnscoped) return false;
  return namespaces === undefined || (namespace !== undefined && namespaces.has(namespace));
}

function setOf(values: readonly string[] | undefined): ReadonlySet<string> | undefined {
  return values && new Set(values);
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
