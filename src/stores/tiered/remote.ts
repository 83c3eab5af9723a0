import { HotblobError } from '../../contract/errors.js';
import type { Store } from '../../contract/store.js';
import { type Attempt, type BreakerState, CircuitBreaker } from './breaker.js';
import type { TieredLimits } from './options.js';

/** The remote store behind its circuit breaker. */
export class Remote {
  readonly store: Store;
  readonly #breaker: CircuitBreaker;

  constructor(store: Store, { failureThreshold, cooldownMs }: TieredLimits) {
    this.store = store;
    this.#breaker = new CircuitBreaker(failureThreshold, cooldownMs);
  }

  get state(): BreakerState {
    return this.#breaker.state;
  }

  /** Undefined: leave it alone. Otherwise say how it has gone. */
  enter(): Attempt | undefined {
    return this.#breaker.enter();
  }

  /**
   * Runs a request that must not be skipped.
   *
   * @throws HotblobError `ERR_HOTBLOB_UPSTREAM` at once while the breaker is open; else what `request` says. `isOurs` tells
   * failures that are not the remote store's.
   */
  async run<T>(request: () => Promise<T>, isOurs: () => boolean = () => false): Promise<T> {
    const attempt = this.enter();
    if (attempt === undefined) {
      throw new HotblobError(
        'ERR_HOTBLOB_UPSTREAM',
        'the remote store has failed several times in a row and is left alone',
      );
    }
    try {
      const result = await request();
      attempt.succeeded();
      return result;
    } catch (error) {
      if (isOurs()) attempt.abandoned();
      else settle(attempt, error);
      throw error;
    }
  }
}

/** A store that refuses a request for what it is works. */
export function settle(attempt: Attempt, error: unknown): void {
  if (isRefusal(error)) attempt.succeeded();
  else attempt.failed();
}

/** Whether the request is at fault, so that it would be refused again. */
export function isRefusal(error: unknown): boolean {
  return error instanceof HotblobError && error.status < 500;
}
