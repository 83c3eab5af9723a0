import { messageOf, reportEvent } from '../../util/report-event.js';

const MAX_COOLDOWN_MS = 60_000;

/**
 * Request to the remote store that was admitted. The caller reports its outcome with one of the methods; only the first
 * call counts.
 */
export interface Attempt {
  succeeded(): void;
  failed(error?: unknown): void;
  /** Ends the attempt without an outcome, for example because the client has disconnected. */
  abandoned(): void;
}

/**
 * State of a circuit breaker. `closed`: requests are sent. `open`: no request is sent. `half-open`: the next request
 * probes the remote store.
 */
export type BreakerState = 'closed' | 'open' | 'half-open';

/**
 * Circuit breaker: stops requests to a store that fails. It opens after `threshold` consecutive failures. After the
 * cooldown it is half-open and admits one request, the probe. If the probe succeeds, the breaker closes. If it fails,
 * the breaker opens for twice as long, up to one minute.
 */
export class CircuitBreaker {
  readonly #threshold: number;
  readonly #cooldownMs: number;
  #consecutiveFailures = 0;
  /** Time of the next probe; undefined while the breaker is closed. */
  #retryAt: number | undefined;
  #currentCooldownMs: number;
  #probe: Attempt | undefined;

  constructor(threshold: number, cooldownMs: number) {
    this.#threshold = threshold;
    this.#cooldownMs = cooldownMs;
    this.#currentCooldownMs = cooldownMs;
  }

  get state(): BreakerState {
    if (this.#retryAt === undefined) return 'closed';
    return performance.now() < this.#retryAt ? 'open' : 'half-open';
  }

  /** Admits a request, or returns undefined if it must not be sent. The caller reports the outcome to the attempt. */
  admit(): Attempt | undefined {
    const { state } = this;
    if (state === 'open' || this.#probe !== undefined) return undefined;
    const attempt = this.#createAttempt();
    if (state === 'half-open') this.#probe = attempt;
    return attempt;
  }

  #createAttempt(): Attempt {
    let isReported = false;
    const once = (apply: (error?: unknown) => void) => (error?: unknown) => {
      if (isReported) return;
      isReported = true;
      apply(error);
      if (this.#probe === attempt) this.#probe = undefined;
    };
    const attempt: Attempt = {
      succeeded: once(() => this.#close()),
      failed: once((error) => this.#recordFailure(this.#probe === attempt, error)),
      abandoned: once(() => {}),
    };
    return attempt;
  }

  #close(): void {
    if (this.#retryAt !== undefined) reportEvent('circuit breaker closed', 'the remote store responds again');
    this.#consecutiveFailures = 0;
    this.#retryAt = undefined;
    this.#currentCooldownMs = this.#cooldownMs;
  }

  #recordFailure(isProbe: boolean, error: unknown): void {
    if (isProbe) this.#currentCooldownMs = Math.min(2 * this.#currentCooldownMs, MAX_COOLDOWN_MS);
    else if (this.#retryAt !== undefined || ++this.#consecutiveFailures < this.#threshold) return;
    this.#retryAt = performance.now() + this.#currentCooldownMs;
    if (isProbe) return;
    const cause = error === undefined ? '' : `: ${messageOf(error)}`;
    const cooldown = `${this.#currentCooldownMs / 1000} s`;
    reportEvent('circuit breaker open', `${this.#threshold} consecutive failures, retry in ${cooldown}${cause}`, error);
  }
}
