import { errnoCode } from '../contract/errors.js';
import type { StoreStats, UpstreamCount } from '../contract/store.js';
import { Histogram } from '../util/histogram.js';

type Operation = UpstreamCount['operation'];
type Outcome = UpstreamCount['outcome'];

/** How a request to another cache is to be counted. */
export interface TalliedRequest<T> {
  readonly operation: Operation;
  /** A request with a body takes as long as whoever sends that: it is counted, and not timed. */
  readonly hasBody?: boolean;
  /** Sends it, and resolves or rejects with the head of its answer. */
  send(): Promise<T>;
  /** What an answer means. */
  outcomeOf(answer: T): Outcome;
  /** What a rejection means: an answer too, `silence`, or something that says nothing about the other cache. */
  outcomeOfError(error: unknown): Outcome | 'silence' | undefined;
}

/** Requests to another cache: how many there were, how they have gone, and how long the heads of their answers took. */
export class RequestTally {
  // From the start, so that whoever watches a count sees its first change too.
  readonly #counts: Record<Operation, Partial<Record<Outcome, number>>> = {
    get: { ok: 0, missing: 0, failed: 0 },
    put: { ok: 0, failed: 0 },
    delete: { ok: 0, missing: 0, failed: 0 },
  };
  readonly #latency = new Histogram();

  /** Makes a request and counts it. Resolves and rejects as it does. */
  async run<T>(request: TalliedRequest<T>): Promise<T> {
    const startedAt = performance.now();
    const answered = (outcome: Outcome): void => {
      this.#count(request.operation, outcome);
      if (request.hasBody !== true) this.#latency.add(performance.now() - startedAt);
    };
    let answer: T;
    try {
      answer = await request.send();
    } catch (error) {
      const outcome = request.outcomeOfError(error);
      if (outcome === 'silence') this.#count(request.operation, 'failed');
      else if (outcome !== undefined) answered(outcome);
      throw error;
    }
    answered(request.outcomeOf(answer));
    return answer;
  }

  /** What is known of the requests so far. */
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

/** Whether an error says that the other cache has failed; clients that leave, or send too little, are no failure of it. */
export function isUpstreamError(error: unknown): boolean {
  return errnoCode(error)?.startsWith('ERR_HOTBLOB_UPSTREAM') === true;
}
