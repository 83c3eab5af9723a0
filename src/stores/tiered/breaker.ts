const LONGEST_COOLDOWN_MS = 60_000;

/** How one request to the remote store has gone. The first call counts. */
export interface Attempt {
  succeeded(): void;
  failed(): void;
  /** Nobody knows, because whoever wanted it has left. */
  abandoned(): void;
}

/** Closed: requests pass. Open: none does. Half-open: the next one tries. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/**
 * Keeps requests from a store that fails. Closed: they pass; after some failures in a row it opens, and none does. After
 * a time it is half-open: one request tries, and closes it, or opens it for twice as long.
 */
export class CircuitBreaker {
  readonly #threshold: number;
  readonly #cooldownMs: number;
  #failures = 0;
  /** While it is not closed: from when on one may try. */
  #opensUntil: number | undefined;
  #currentCooldownMs: number;
  #trying: Attempt | undefined;

  constructor(threshold: number, cooldownMs: number) {
    this.#threshold = threshold;
    this.#cooldownMs = cooldownMs;
    this.#currentCooldownMs = cooldownMs;
  }

  get state(): BreakerState {
    if (this.#opensUntil === undefined) return 'closed';
    return performance.now() < this.#opensUntil ? 'open' : 'half-open';
  }

  /** Undefined: leave the store alone. Otherwise say how it has gone. */
  enter(): Attempt | undefined {
    const { state } = this;
    if (state === 'open' || this.#trying !== undefined) return undefined;
    const attempt = this.#attempt();
    if (state === 'half-open') this.#trying = attempt;
    return attempt;
  }

  #attempt(): Attempt {
    let isOver = false;
    const once = (consequence: () => void) => () => {
      if (isOver) return;
      isOver = true;
      consequence();
      if (this.#trying === attempt) this.#trying = undefined;
    };
    const attempt: Attempt = {
      succeeded: once(() => this.#close()),
      failed: once(() => this.#fail(this.#trying === attempt)),
      abandoned: once(() => {}),
    };
    return attempt;
  }

  #close(): void {
    this.#failures = 0;
    this.#opensUntil = undefined;
    this.#currentCooldownMs = this.#cooldownMs;
  }

  #fail(hasTried: boolean): void {
    if (hasTried) this.#currentCooldownMs = Math.min(2 * this.#currentCooldownMs, LONGEST_COOLDOWN_MS);
    else if (this.#opensUntil !== undefined || ++this.#failures < this.#threshold) return;
    this.#opensUntil = performance.now() + this.#currentCooldownMs;
  }
}
