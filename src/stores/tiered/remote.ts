import { type ErrorCode, errnoCode, HotblobError } from '../../contract/errors.js';
import type { Store } from '../../contract/store.js';
import { messageOf, reportEvent } from '../../util/report-event.js';
import { type Attempt, type BreakerState, CircuitBreaker } from './breaker.js';
import type { TieredLimits } from './options.js';

/** Remote store, with the circuit breaker that admits requests to it. */
export class Remote {
  readonly store: Store;
  readonly #breaker: CircuitBreaker;
  #unreplicated = 0;

  constructor(store: Store, { failureThreshold, cooldownMs }: TieredLimits) {
    this.store = store;
    this.#breaker = new CircuitBreaker(failureThreshold, cooldownMs);
  }

  get state(): BreakerState {
    return this.#breaker.state;
  }

  /** Number of uploads that the remote store did not get, because it failed, refused them or was not asked. */
  get unreplicated(): number {
    return this.#unreplicated;
  }

  countUnreplicated(): void {
    this.#unreplicated++;
  }

  /** Reports the failed upload of an artifact that the local store keeps. */
  reportUpload(attempt: Attempt, key: string, error: unknown): void {
    reportWriteError(attempt, error);
    if (errnoCode(error) === 'ERR_HOTBLOB_EXISTS') return;
    this.#unreplicated++;
    reportEvent('replication failed', `${key}: ${messageOf(error)}`, error);
  }

  /** Admits a request. See {@link CircuitBreaker.admit}. */
  admit(): Attempt | undefined {
    return this.#breaker.admit();
  }

  /**
   * Sends a deletion and reports its outcome to the breaker.
   *
   * @throws HotblobError `ERR_HOTBLOB_UPSTREAM` if the breaker does not admit the request
   * @throws the error with which `request` rejects
   */
  async run<T>(request: () => Promise<T>): Promise<T> {
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
      reportWriteError(attempt, error);
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

/**
 * Reports an error of an upload or a deletion to the breaker. A remote store that refuses it may still serve downloads, so
 * this counts as a success.
 */
export function reportWriteError(attempt: Attempt, error: unknown): void {
  if (isClientError(error) || REFUSALS.has(errnoCode(error) ?? '')) attempt.succeeded();
  else attempt.failed(error);
}

/** Codes of errors with which a healthy remote store refuses an upload: by its access rules, or because it is full. */
const REFUSALS: ReadonlySet<string> = new Set<ErrorCode>(['ERR_HOTBLOB_UPSTREAM_DENIED', 'ERR_HOTBLOB_STORAGE_FULL']);

/** Returns whether the request itself caused the error (status below 500). A retry would fail again. */
export function isClientError(error: unknown): boolean {
  return error instanceof HotblobError && error.status < 500;
}
