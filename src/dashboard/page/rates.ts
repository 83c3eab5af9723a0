import { isErrorStatus } from '../../handler/error-status.js';
import { NAMESPACE_COLUMNS } from '../../history/columns.js';
import { increase, type Point } from './timeline.js';

/** Sources in stacking order, cheapest first. */
export const SOURCES = ['mapped', 'copied', 'bytes', 'read', 'stream'] as const;

/** Time between points, and how much the counters have increased. */
export interface Interval {
  readonly seconds: number;
  /** Returns the increase of a counter. */
  of(name: string): number;
  /** Returns the increase of a counter per second. */
  rate(name: string): number;
  /** Returns the names of the counters that begin with `start`. */
  names(start: string): string[];
}

/** @param points at least one, oldest first */
export function intervalOf(points: readonly Point[]): Interval {
  const [first, last] = [points[0], points.at(-1)];
  const seconds = Math.max(0.001, ((last?.time ?? 0) - (first?.time ?? 0)) / 1000);
  const of = (name: string): number => increase(points, name);
  return {
    seconds,
    of,
    rate: (name) => of(name) / seconds,
    names: (start) => Object.keys(last?.columns ?? {}).filter((name) => name.startsWith(start)),
  };
}

export function sentIn(interval: Interval): number {
  return SOURCES.reduce((sum, source) => sum + interval.of(`sent/${source}`), 0);
}

export function responsesIn(interval: Interval): number {
  return interval.names('status/').reduce((sum, name) => sum + interval.of(name), 0);
}

export function errorsIn(interval: Interval): number {
  return interval
    .names('status/')
    .filter((name) => isErrorStatus(Number(name.slice('status/'.length))))
    .reduce((sum, name) => sum + interval.of(name), 0);
}

/** Returns hits per lookup; `undefined` without lookups. */
export function hitRateIn(interval: Interval): number | undefined {
  const lookups = interval.of('hits') + interval.of('misses');
  return lookups > 0 ? interval.of('hits') / lookups : undefined;
}

/**
 * Returns the median and the 99th percentile of the time to the first byte, in seconds; `undefined` without downloads.
 *
 * @param bounds upper bounds of the histogram buckets, in seconds
 */
export function firstByteIn(
  interval: Interval,
  bounds: readonly number[],
): { readonly median: number; readonly slow: number } | undefined {
  const counts = Array.from({ length: bounds.length + 1 }, (_, bucket) => interval.of(`first-byte/${bucket}`));
  const median = quantile(counts, bounds, 0.5);
  const slow = quantile(counts, bounds, 0.99);
  return median === undefined || slow === undefined ? undefined : { median, slow };
}

/**
 * Estimates a quantile from the buckets of a histogram. Like Prometheus, it interpolates linearly within a bucket, and
 * returns the last bound for values above it.
 */
function quantile(counts: readonly number[], bounds: readonly number[], share: number): number | undefined {
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total <= 0) return undefined;
  let left = total * share;
  for (const [bucket, count] of counts.entries()) {
    const from = bucket === 0 ? 0 : (bounds[bucket - 1] ?? 0);
    const to = bounds[bucket];
    if (to === undefined) return from;
    if (count > 0 && left <= count) return from + ((to - from) * left) / count;
    left -= count;
  }
  return bounds.at(-1);
}

/** Protocol, or namespace of a protocol, with its traffic in an interval. */
export interface TrafficRow {
  readonly name: string;
  readonly responses: number;
  readonly errors: number;
  readonly bytes: number;
}

/** What the traffic is split by. */
export type Split = 'protocol' | 'namespace';

/** Returns the increases of the traffic of a protocol or namespace. */
export function trafficOf(interval: Interval, split: Split, name: string): TrafficRow {
  const start = split === 'protocol' ? `protocol/${name}` : `${NAMESPACE_COLUMNS}${name}`;
  const bytes =
    split === 'protocol'
      ? interval.of(`${start}/sent`) + interval.of(`${start}/received`)
      : interval.of(`${start}/bytes`);
  return { name, responses: interval.of(`${start}/responses`), errors: interval.of(`${start}/errors`), bytes };
}

const TOP = 10;

/** Returns the ten protocols or namespaces with the most traffic: bytes, and then responses. */
export function topTraffic(interval: Interval, split: Split): TrafficRow[] {
  const start = split === 'protocol' ? 'protocol/' : NAMESPACE_COLUMNS;
  const end = '/responses';
  return interval
    .names(start)
    .filter((name) => name.endsWith(end))
    .map((name) => trafficOf(interval, split, name.slice(start.length, -end.length)))
    .filter(({ responses }) => responses > 0)
    .sort((a, b) => b.bytes - a.bytes || b.responses - a.responses)
    .slice(0, TOP);
}
