import { createHash } from 'node:crypto';
import type * as Jose from 'jose';
import { TwoGenerationMap } from '../../util/two-generation-map.js';
import type { Claims } from './claims.js';
import type { IssuerKeys } from './issuer-keys.js';
import { decodeToken, isLikeJwt, parseClaims, type UnverifiedToken } from './jwt.js';
import type { SigningKey } from './signing-key.js';
import { type TimeLimits, validUntil } from './token-times.js';
import { VerificationQueue } from './verification-queue.js';

/** Verified tokens that are remembered, at least. At most, there are twice as many. */
const REMEMBERED_TOKENS = 4096;

/** Issuer whose tokens are accepted. */
export interface TrustedIssuer extends TimeLimits {
  readonly name: string;
  readonly audiences: readonly string[];
  readonly keys: IssuerKeys;
}

interface Entry<Result> {
  readonly result: Result;
  readonly key: SigningKey;
  readonly keys: IssuerKeys;
  /** Time in milliseconds since 1970. */
  readonly validUntil: number;
}

/** Verifies tokens, and remembers a result for each verified token until it expires or its key is revoked. */
export class TokenVerifier<Result extends object> {
  readonly #jose: typeof Jose;
  readonly #issuers: ReadonlyMap<unknown, TrustedIssuer>;
  readonly #resultOf: (issuer: string, claims: Claims) => Result;
  readonly #now: () => number;
  readonly #queue = new VerificationQueue();
  /** By SHA-256 of the token, so that the memory of the process contains no valid token for longer than a request. */
  readonly #verified = new TwoGenerationMap<string, Entry<Result>>(REMEMBERED_TOKENS);
  readonly #pending = new Map<string, Promise<Result | undefined>>();

  /** @param resultOf returns what is remembered for a token */
  constructor(
    jose: typeof Jose,
    issuers: readonly TrustedIssuer[],
    resultOf: (issuer: string, claims: Claims) => Result,
    now: () => number,
  ) {
    this.#jose = jose;
    this.#issuers = new Map(issuers.map((issuer) => [issuer.name, issuer]));
    this.#resultOf = resultOf;
    this.#now = now;
  }

  /**
   * Returns the result for a token, or `undefined` if the token is not valid. Returns a promise for a token that is not
   * remembered, and if the keys of its issuer must be fetched.
   *
   * @throws HotblobError `ERR_HOTBLOB_OVERLOADED`, also as a rejection
   */
  verify(token: string): Result | undefined | Promise<Result | undefined> {
    if (!isLikeJwt(token)) return undefined;
    const digest = createHash('sha256').update(token).digest('base64');
    const entry = this.#verified.get(digest);
    if (entry === undefined) return this.#verifyNew(token, digest);
    const refreshed = entry.keys.refresh();
    if (refreshed !== undefined) return refreshed.then(() => this.#recall(token, digest, entry));
    return this.#recall(token, digest, entry);
  }

  /** A key that is no longer current may have been published again, so the token is verified once more. */
  #recall(
    token: string,
    digest: string,
    { result, key, validUntil: end }: Entry<Result>,
  ): Result | undefined | Promise<Result | undefined> {
    if (key.isCurrent && this.#now() < end) return result;
    this.#verified.delete(digest);
    return this.#verifyNew(token, digest);
  }

  #verifyNew(token: string, digest: string): undefined | Promise<Result | undefined> {
    const pending = this.#pending.get(digest);
    if (pending !== undefined) return pending;
    const decoded = decodeToken(token);
    const issuer = decoded && this.#issuerOf(decoded.claims);
    if (decoded === undefined || issuer === undefined) return undefined;
    // All checks that cost little come before the signature, so that most invalid tokens need no further work.
    if (this.#validUntil(decoded.claims, issuer) === undefined) return undefined;
    const verification = this.#verify(token, digest, decoded, issuer).finally(() => this.#pending.delete(digest));
    this.#pending.set(digest, verification);
    return verification;
  }

  #issuerOf({ iss, aud }: Claims): TrustedIssuer | undefined {
    const issuer = this.#issuers.get(iss);
    const audiences: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
    return issuer?.audiences.some((each) => audiences.includes(each)) ? issuer : undefined;
  }

  #validUntil(claims: Claims, issuer: TrustedIssuer): number | undefined {
    return validUntil(claims, this.#now(), issuer);
  }

  async #verify(
    token: string,
    digest: string,
    { keyId, algorithm }: UnverifiedToken,
    { name, keys }: TrustedIssuer,
  ): Promise<Result | undefined> {
    await keys.refresh();
    let key = keys.find(keyId, algorithm);
    if (key === undefined) {
      await keys.refreshForUnknownKey();
      key = keys.find(keyId, algorithm);
    }
    if (key === undefined) return undefined;
    const found = key;
    const claims = await this.#queue.run(() => this.#verifiedClaims(token, found, algorithm));
    // Only what the signature covers decides.
    const issuer = claims && this.#issuerOf(claims);
    if (claims === undefined || issuer?.name !== name) return undefined;
    const end = this.#validUntil(claims, issuer);
    if (end === undefined || !found.isCurrent) return undefined;
    const result = this.#resultOf(name, claims);
    this.#verified.set(digest, { result, key: found, keys, validUntil: end });
    return result;
  }

  async #verifiedClaims(token: string, key: SigningKey, algorithm: string): Promise<Claims | undefined> {
    try {
      const imported = await key.import(this.#jose, algorithm);
      const { payload } = await this.#jose.compactVerify(token, imported, { algorithms: [algorithm] });
      return parseClaims(payload);
    } catch {
      return undefined;
    }
  }
}
