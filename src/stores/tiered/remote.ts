import { HotblobError } from '../../contract/errors.js';
import type { Store } from '../../contract/store.js';
import { type Attempt, type BreakerState, CircuitBreaker } from './breaker.js';
import type { TieredLimits } from './options.js';

/** Remote store, with the circuit breaker that admits requests to it. */
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

  /** Admits a request. See {@link CircuitBreaker.admit}. */
  admit(): Attempt | undefined {
    return this.#breaker.admit();
  }

  /**
   * Sends a request and reports its outcome to the breaker.
   *
   * @param isUnrelated returns true if the rejection of `request` says nothing about the remote store
   * @throws HotblobError `ERR_HOTBLOB_UPSTREAM` if the breaker does not admit the request
   * @throws the error with which `request` rejects
   */
  async run<T>(request: () => Promise<T>, isUnrelated: () => boolean = () => false): Promise<T> {
    const attempt = this.admit();
    if (attempt === undefined) {
      throw new HotblobError(
        'ERR_HOTBLOB_UPSTREAM',
        'circuit breaker open: the remote store has failed repeatedly, and the request was not sent',
      );
    }
    try {
      const result = await request();
      attempt.succeeded();
      return result;
    } catch (error) {
      if (isUnrelated()) attempt.abandoned();
      else reportError(attempt, error);
      throw error;
    }
  }
}

/**
 * Reports an error of the remote store to the breaker. If the store rejected an invalid request, this counts as a
 * success, because the store is healthy.
 */
export function reportError(attempt: Attempt, error: unknown): void {
  if (isClientError(error)) attempt.succeeded();
  else attempt.failed(error);
}

/** Returns whether the request itself caused the error (status below 500). A retry would fail again. */
export function isClientError(error: unknown): boolean {
  return error instanceof HotblobError && error.status < 500;
}
