import { errnoCode } from '../contract/errors.js';
import type { StoreStats, UpstreamCount } from '../contract/store.js';
import { Histogram } from '../util/histogram.js';

type Operation = UpstreamCount['operation'];
type Outcome = UpstreamCount['outcome'];

/** Request to an upstream cache, with functions that classify its result. */
export interface TalliedRequest<T> {
  readonly operation: Operation;
  /** If true, the request is counted but not timed: its duration depends on how fast the client sends the body. */
  readonly hasBody?: boolean;
  /** Sends the request. Resolves when the response headers have arrived. */
  send(): Promise<T>;
  /** Classifies a response. */
  outcomeOf(response: T): Outcome;
  /**
   * Classifies a rejection of `send`. `no-response`: the request is counted as failed, but not timed. Undefined: the
   * error says nothing about the upstream cache, and the request is not counted.
   */
  outcomeOfError(error: unknown): Outcome | 'no-response' | undefined;
}

/** Counts requests to an upstream cache by operation and outcome, and records the time to the response headers. */
export class RequestTally {
  // Each count starts at 0 instead of being absent, so that a monitoring system sees the first increase.
  readonly #counts: Record<Operation, Partial<Record<Outcome, number>>> = {
    get: { ok: 0, missing: 0, failed: 0 },
    put: { ok: 0, failed: 0 },
    delete: { ok: 0, missing: 0, failed: 0 },
  };
  readonly #latency = new Histogram();

  /** Sends a request and counts it. Settles like `request.send()`. */
  async run<T>(request: TalliedRequest<T>): Promise<T> {
    const startedAt = performance.now();
    const countResponse = (outcome: Outcome): void => {
      this.#count(request.operation, outcome);
      if (request.hasBody !== true) this.#latency.add(performance.now() - startedAt);
    };
    let response: T;
    try {
      response = await request.send();
    } catch (error) {
      const outcome = request.outcomeOfError(error);
      if (outcome === 'no-response') this.#count(request.operation, 'failed');
      else if (outcome !== undefined) countResponse(outcome);
      throw error;
    }
    countResponse(request.outcomeOf(response));
    return response;
  }

  /** Returns the `requests` and `latency` fields of the statistics of a store. */
  stats(): StoreStats {
    const requests: UpstreamCount[] = [];
    for (const operation of ['get', 'put', 'delete'] as const) {
      for (const outcome of ['ok', 'missing', 'failed'] as const) {
        const count = this.#counts[operation][outcome];
        if (count !== undefined) requests.push({ operation, outcome, count });
      }
    }
    return { requests, latency: this.#latency.snapshot() };
  }

  #count(operation: Operation, outcome: Outcome): void {
    const counts = this.#counts[operation];
    counts[outcome] = (counts[outcome] ?? 0) + 1;
  }
}

/**
 * Returns whether an error is a failure of the upstream cache. A disconnected client or an incomplete upload is not
 * one.
 */
export function isUpstreamError(error: unknown): boolean {
  return errnoCode(error)?.startsWith('ERR_HOTBLOB_UPSTREAM') === true;
}
