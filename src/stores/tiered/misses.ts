/** Keys that the remote store did not have a moment ago. */
export class Misses {
  readonly #ttlMs: number;
  readonly #max: number;
  /** When each is forgotten; the next one to be comes first. */
  readonly #expiries = new Map<string, number>();

  constructor(ttlMs: number, max: number) {
    this.#ttlMs = ttlMs;
    this.#max = max;
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
    if (this.#ttlMs === 0 || this.#max === 0) return;
    this.#expiries.delete(key);
    for (const oldest of this.#expiries.keys()) {
      if (this.#expiries.size < this.#max) break;
      this.#expiries.delete(oldest);
    }
    this.#expiries.set(key, performance.now() + this.#ttlMs);
  }

  delete(key: string): void {
    this.#expiries.delete(key);
  }
}
