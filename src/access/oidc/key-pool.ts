import { IssuerKeys, type KeySettings } from './issuer-keys.js';
import type { OidcIssuer } from './options.js';

/** Keys of issuers, which outlive a policy: if the rules in a file change, the keys need not be fetched again. */
export class KeyPool {
  #keys = new Map<string, IssuerKeys>();

  /** Returns the keys of each issuer, and forgets those of all others. */
  keysOf(issuers: readonly OidcIssuer[], settings: KeySettings): readonly IssuerKeys[] {
    const { cacheMs, maxStaleMs, timeoutMs } = settings;
    const current = new Map<string, IssuerKeys>();
    for (const issuer of issuers) {
      const source = [issuer.issuer, issuer.jwksUri, issuer.keys];
      const id = JSON.stringify([...source, cacheMs, maxStaleMs, timeoutMs]);
      current.set(id, this.#keys.get(id) ?? new IssuerKeys(issuer, settings));
    }
    this.#keys = current;
    return [...current.values()];
  }
}
