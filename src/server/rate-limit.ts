/** Counts what a peer may do `burst` times at once and `perSecond` times a second after that. */
export class RateLimit {
  readonly #burst: number;
  readonly #perSecond: number;
  #left: number;
  #countedAt = performance.now();

  constructor(burst: number, perSecond: number) {
    this.#burst = burst;
    this.#perSecond = perSecond;
    this.#left = burst;
  }

  /** Counts one more. False when that is one too many. */
  allows(): boolean {
    const now = performance.now();
    this.#left = Math.min(this.#burst, this.#left + ((now - this.#countedAt) / 1000) * this.#perSecond) - 1;
    this.#countedAt = now;
    return this.#left >= 0;
  }
}
