import { type HistogramSnapshot, LATENCY_BOUNDS_SECONDS } from '../util/histogram.js';

/** Labels of a Prometheus time series. */
export type Labels = Readonly<Record<string, string>>;

/** Value of a Prometheus time series at the time of a scrape. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** Name of the time series. Default: the name of the metric. A histogram has time series with several names. */
  readonly metricName?: string;
}

/** Returns a sample for each member of a record. The name of the member becomes the value of `label`. */
export function samplesOf(label: string, values: Readonly<Record<string, number>>, labels: Labels): Sample[] {
  return Object.entries(values).map(([name, value]) => ({ labels: { ...labels, [label]: name }, value }));
}

/** Returns a sample for each state: 1 for the current state and 0 for the others. */
export function stateSamples(label: string, states: readonly string[], current: string, labels: Labels): Sample[] {
  return states.map((state) => ({ labels: { ...labels, [label]: state }, value: state === current ? 1 : 0 }));
}

export function optionalSample(value: number | undefined, labels: Labels): Sample[] {
  return value === undefined ? [] : [{ labels, value }];
}

/** Returns the cumulative buckets, the sum and the count of a histogram. */
export function histogramSamples(name: string, { counts, sum }: HistogramSnapshot, labels: Labels): Sample[] {
  let count = 0;
  const buckets = counts.map((inBucket, index) => {
    count += inBucket;
    const le = String(LATENCY_BOUNDS_SECONDS[index] ?? '+Inf');
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: count };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: count },
  ];
}
