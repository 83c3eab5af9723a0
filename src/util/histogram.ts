/** Inclusive upper bounds of the histogram buckets, in seconds. One more bucket counts the slower values. */
export const LATENCY_BOUNDS_SECONDS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
] as const;

/** Distribution of durations at one moment. */
export interface HistogramSnapshot {
  /**
   * Number of values in each bucket, not cumulative. There is one bucket for each of {@link LATENCY_BOUNDS_SECONDS},
   * and a last one for slower values.
   */
  readonly counts: readonly number[];
  /** Sum of all values in seconds. */
  readonly sum: number;
}

/** Counts durations in the buckets of {@link LATENCY_BOUNDS_SECONDS}. */
export class Histogram {
  readonly #counts = new Float64Array(LATENCY_BOUNDS_SECONDS.length + 1);
  #sum = 0;

  add(milliseconds: number): void {
    const seconds = milliseconds / 1000;
    let bucket = 0;
    // Linear search: most values are in one of the first buckets.
    while (bucket < LATENCY_BOUNDS_SECONDS.length && seconds > (LATENCY_BOUNDS_SECONDS[bucket] ?? 0)) bucket++;
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
    this.#sum += seconds;
  }

  snapshot(): HistogramSnapshot {
    return { counts: [...this.#counts], sum: this.#sum };
  }
}
