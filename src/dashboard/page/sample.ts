import type { ProcessStats } from '../../cluster/sum-stats.js';
import type { StoreStats } from '../../contract/store.js';
import type { HandlerStats } from '../../handler/stats.js';
import type { ServerStats } from '../../server/stats.js';

/** Message that the server sends every second. */
export interface Sample {
  /** Time of the sample, in milliseconds since the Unix epoch. */
  readonly time: number;
  readonly handler: HandlerStats;
  readonly server?: ServerStats;
  readonly store?: StoreStats;
  /** Measurements of each process, if there are several. */
  readonly processes?: readonly ProcessStats[];
}

export type SourceName = keyof HandlerStats['sent'];

/** Sources in stacking order, cheapest first. */
export const SOURCES = ['mapped', 'copied', 'bytes', 'read', 'stream'] as const satisfies readonly SourceName[];

/** Rates per second between two samples. */
export interface Rates {
  readonly bytes: Readonly<Record<SourceName, number>>;
  readonly allBytes: number;
  readonly responses: number;
  readonly lookups: number;
  /** Hits per lookup; `undefined` without lookups. */
  readonly hitRate: number | undefined;
  /** Median and 99th percentile in seconds; `undefined` without downloads. */
  readonly firstByte: { readonly median: number; readonly slow: number } | undefined;
}

/** @param bounds upper bounds of the histogram buckets, in seconds */
export function ratesBetween(before: Sample, after: Sample, bounds: readonly number[]): Rates {
  const seconds = Math.max(0.001, (after.time - before.time) / 1000);
  const bytes = { mapped: 0, copied: 0, bytes: 0, read: 0, stream: 0 };
  let allBytes = 0;
  for (const source of SOURCES) {
    bytes[source] = (after.handler.sent[source].bytes - before.handler.sent[source].bytes) / seconds;
    allBytes += bytes[source];
  }
  const hits = after.handler.hits - before.handler.hits;
  const lookups = hits + after.handler.misses - before.handler.misses;
  return {
    bytes,
    allBytes,
    responses: (responsesIn(after) - responsesIn(before)) / seconds,
    lookups: lookups / seconds,
    hitRate: lookups > 0 ? hits / lookups : undefined,
    firstByte: firstByteBetween(before, after, bounds),
  };
}

function responsesIn({ handler }: Sample): number {
  return Object.values(handler.responses).reduce((sum, count) => sum + count, 0);
}

function firstByteBetween(before: Sample, after: Sample, bounds: readonly number[]): Rates['firstByte'] {
  const counts = new Array<number>(bounds.length + 1).fill(0);
  for (const [index, { firstByte }] of after.handler.latency.entries()) {
    const earlier = before.handler.latency[index]?.firstByte.counts;
    for (const [bucket, count] of firstByte.counts.entries()) {
      counts[bucket] = (counts[bucket] ?? 0) + count - (earlier?.[bucket] ?? 0);
    }
  }
  const median = quantile(counts, bounds, 0.5);
  const slow = quantile(counts, bounds, 0.99);
  return median === undefined || slow === undefined ? undefined : { median, slow };
}

/**
 * Estimates a quantile from the buckets of a histogram. Like Prometheus, it interpolates linearly within a bucket, and
 * returns the last bound for values above it.
 */
export function quantile(counts: readonly number[], bounds: readonly number[], share: number): number | undefined {
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
