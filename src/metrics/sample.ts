import { type HistogramSnapshot, LATENCY_BOUNDS_SECONDS } from '../util/histogram.js';

/** What tells series of one metric apart. */
export type Labels = Readonly<Record<string, string>>;

/** One value of a metric. */
export interface Sample {
  readonly labels: Labels;
  readonly value: number;
  /** Where it is not the metric's own: a histogram has several. */
  readonly metricName?: string;
}

/** A value for each name of a record. */
export function samplesOf(label: string, values: Readonly<Record<string, number>>, labels: Labels): Sample[] {
  return Object.entries(values).map(([name, value]) => ({ labels: { ...labels, [label]: name }, value }));
}

/** 1 for the state that holds, 0 for the others, so that each can be drawn and asked for. */
export function stateSamples(label: string, states: readonly string[], current: string, labels: Labels): Sample[] {
  return states.map((state) => ({ labels: { ...labels, [label]: state }, value: state === current ? 1 : 0 }));
}

/** A value that may not be known. */
export function maybe(value: number | undefined, labels: Labels): Sample[] {
  return value === undefined ? [] : [{ labels, value }];
}

/** The buckets of a histogram, added up as Prometheus wants them, its sum and its count. */
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
