/** Token bucket. It allows `burst` events at once, and after that `perSecond` events per second. */
export class RateLimit {
  readonly #burst: number;
  readonly #perSecond: number;
  #tokens: number;
  #refilledAt = performance.now();

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#tokens = burst;
  }

  /** Counts one event. Returns `false` if it exceeds the limit. */
  allows(): boolean {
    const now = performance.now();
    const refill = ((now - this.#refilledAt) / 1000) * this.#perSecond;
    this.#tokens = Math.min(this.#burst, this.#tokens + refill) - 1;
    this.#refilledAt = now;
    return this.#tokens >= 0;
  }
}
