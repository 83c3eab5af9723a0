/** Negative cache: keys that the remote store recently did not have. */
export class Misses {
  readonly #ttlMs: number;
  readonly #maxKeys: number;
  /** Expiry time by key. All keys have the same lifetime, so the order of insertion is the order of expiry. */
  readonly #expiries = new Map<string, number>();

  constructor(ttlMs: number, maxKeys: number) {
    this.#ttlMs = ttlMs;
    this.#maxKeys = maxKeys;
  }

  get size(): number {
    return this.#expiries.size;
  }

  has(key: string): boolean {
    const expiry = this.#expiries.get(key);
    if (expiry === undefined) return false;
    if (performance.now() < expiry) return true;
    this.#expiries.delete(key);
    return false;
  }

  add(key: string): void {
    if (this.#ttlMs === 0 || this.#maxKeys === 0) return;
    this.#expiries.delete(key);
    for (const oldest of this.#expiries.keys()) {
      if (this.#expiries.size < this.#maxKeys) break;
      this.#expiries.delete(oldest);
    }
    this.#expiries.set(key, performance.now() + this.#ttlMs);
  }

  delete(key: string): void {
    this.#expiries.delete(key);
  }
}
