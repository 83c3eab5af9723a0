import { logAccess } from '../log.js';
import { fetchKeys } from './fetch-keys.js';
import type { OidcIssuer } from './options.js';
import { type SigningKey, signingKeysOf } from './signing-key.js';

/** Minimum time between the starts of two attempts. A client could cause an attempt with each made-up key id. */
export const COOLDOWN_MS = 10_000;

/** Settings of {@link IssuerKeys}. */
export interface KeySettings {
  readonly cacheMs: number;
  readonly maxStaleMs: number;
  readonly timeoutMs: number;
  readonly now: () => number;
  readonly warn: (line: string) => void;
}

/**
 * Current keys of one issuer. Requests cause the attempts to fetch them, so there is no timer, and nothing to close.
 *
 * The age of the keys decides: up to half of `cacheMs`, they are used. Up to `cacheMs`, they are used while new ones are
 * fetched. After that, a request waits for the fetch; if it fails, the keys are used for `maxStaleMs` more, and further
 * requests do not wait.
 */
export class IssuerKeys {
  readonly #issuer: OidcIssuer;
  readonly #settings: KeySettings;
  #keys: readonly SigningKey[] = [];
  /** Start of the last successful attempt. */
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #attemptedAt = Number.NEGATIVE_INFINITY;
  #attempt: Promise<void> | undefined;
  /** Error of the last attempt; `undefined` if it succeeded. */
  #failure: string | undefined;

  constructor(issuer: OidcIssuer, settings: KeySettings) {
    this.#issuer = issuer;
    this.#settings = settings;
    if (issuer.keys !== undefined) {
      this.#keys = signingKeysOf(issuer.keys);
      this.#fetchedAt = Number.POSITIVE_INFINITY;
    }
  }

  /** Fetches the keys if necessary. Returns a promise if a request must wait for them. The promise never rejects. */
  refresh(): Promise<void> | undefined {
    const { cacheMs, now } = this.#settings;
    const age = now() - this.#fetchedAt;
    if (age < cacheMs / 2) return undefined;
    this.#expire();
    this.#start();
    const isUsable = age < cacheMs || (this.#failure !== undefined && this.#keys.length > 0);
    return isUsable ? undefined : this.#attempt;
  }

  /** Fetches the keys because a token names an unknown one, but not within {@link COOLDOWN_MS} of the last attempt. */
  refreshForUnknownKey(): Promise<void> | undefined {
    this.#start();
    return this.#attempt;
  }

  /** Fetches the keys now, for example at the start of a server. Resolves to the error, or to `undefined`. */
  async fetchNow(): Promise<string | undefined> {
    if (this.#issuer.keys !== undefined) return undefined;
    this.#attempt ??= this.#fetch();
    await this.#attempt;
    return this.#failure;
  }

  /**
   * Returns the key for the header of a token, or `undefined`.
   *
   * @param id key id. If the token does not name one, the only suitable key is returned
   */
  find(id: string | undefined, algorithm: string): SigningKey | undefined {
    const suitable = this.#keys.filter((key) => key.algorithms.includes(algorithm));
    if (id !== undefined) return suitable.find((key) => key.id === id);
    return suitable.length === 1 ? suitable[0] : undefined;
  }

  #start(): void {
    if (this.#issuer.keys !== undefined || this.#attempt !== undefined) return;
    if (this.#settings.now() - this.#attemptedAt >= COOLDOWN_MS) this.#attempt = this.#fetch();
  }

  /** Never rejects, because requests wait for it. */
  async #fetch(): Promise<void> {
    const { timeoutMs, now, warn } = this.#settings;
    const { issuer } = this.#issuer;
    const startedAt = now();
    this.#attemptedAt = startedAt;
    try {
      this.#replace(await fetchKeys(this.#issuer, timeoutMs));
      this.#fetchedAt = startedAt;
      logAccess('%s: fetched %d keys', issuer, this.#keys.length);
      if (this.#failure !== undefined) warn(`${issuer}: the keys can be fetched again`);
      this.#failure = undefined;
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (message !== this.#failure) warn(`${issuer}: cannot fetch the keys: ${message}`);
      this.#failure = message;
      this.#expire();
    }
    this.#attempt = undefined;
  }

  #expire(): void {
    const { cacheMs, maxStaleMs, now, warn } = this.#settings;
    if (this.#failure === undefined || this.#keys.length === 0 || now() - this.#fetchedAt < cacheMs + maxStaleMs)
      return;
    this.#replace([]);
    warn(`${this.#issuer.issuer}: all tokens are rejected until the keys can be fetched (maxStaleMs)`);
  }

  /** Keeps the objects of keys that have not changed, so that tokens which they have verified remain known. */
  #replace(keys: readonly SigningKey[]): void {
    const known = new Map(this.#keys.map((key) => [key.text, key]));
    const next = keys.map((key) => known.get(key.text) ?? key);
    for (const key of this.#keys) key.isCurrent = next.includes(key);
    this.#keys = next;
  }
}
