/** Upper bounds of the buckets, in seconds, each included; what is slower is in one more. */
export const LATENCY_BOUNDS_SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
] as const;

/** How long things took. */
export interface HistogramSnapshot {
  /** In each bucket of {@link LATENCY_BOUNDS_SECONDS}, and behind them; not added up. */
  readonly counts: readonly number[];
  /** All of them together, in seconds. */
  readonly sum: number;
}

/** Counts times by how long they were. */
export class Histogram {
  readonly #counts = new Float64Array(LATENCY_BOUNDS_SECONDS.length + 1);
  #sum = 0;

  /** Counts one, in milliseconds. */
  add(milliseconds: number): void {
    const seconds = milliseconds / 1000;
    let bucket = 0;
    // Most are in one of the first buckets, so that looking from the start is the shortest way.
    while (bucket < LATENCY_BOUNDS_SECONDS.length && seconds > (LATENCY_BOUNDS_SECONDS[bucket] ?? 0)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sum += seconds;
  }

  snapshot(): HistogramSnapshot {
    return { counts: [...this.#counts], sum: this.#sum };
  }
}
