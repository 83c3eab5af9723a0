import { isErrorStatus } from '../../handler/error-status.js';
import { printable } from '../../util/printable.js';
import { Chart, type Line } from './chart.js';
import { byId } from './dom.js';
import { bytesText, rateText, secondsText, shareText } from './format.js';
import {
  firstByteIn,
  hitRateIn,
  type Interval,
  intervalOf,
  SOURCES,
  type Split,
  sentIn,
  topTraffic,
  trafficOf,
} from './rates.js';
import type { Point } from './timeline.js';

const bytesPerSecond = (value: number): string => `${bytesText(value)}/s`;
const perSecond = (value: number): string => `${rateText(value)}/s`;
const NONE: readonly Line[] = [{ label: 'none', colour: 'quiet' }];

const downloads = new Chart('chart-downloads', { text: bytesPerSecond, stacked: true, binary: true, top: 1024 * 1024 });
const transfer = new Chart('chart-transfer', { text: bytesPerSecond, binary: true, top: 1024 * 1024 });
const traffic = new Chart('chart-traffic', { text: bytesPerSecond, stacked: true, binary: true, top: 1024 * 1024 });
const responses = new Chart('chart-responses', { text: perSecond, stacked: true, top: 1 });
const errors = new Chart('chart-errors', { text: perSecond, stacked: true, top: 1 });
const firstByte = new Chart('chart-first-byte', { text: secondsText, logFrom: 0.0001, top: 0.01 });
const hits = new Chart('chart-hits', { text: shareText, top: 1 });
const memory = new Chart('chart-memory', { text: bytesText, binary: true });
const delay = new Chart('chart-delay', { text: secondsText, top: 0.01 });
const evictions = new Chart('chart-evictions', { text: perSecond, top: 1 });

const SOURCE_LINES: readonly Line[] = SOURCES.map((label) => ({ label, colour: label }));
const FIXED: Readonly<Record<'transfer' | 'firstByte' | 'hits' | 'memory' | 'delay', readonly Line[]>> = {
  transfer: [
    { label: 'downloads', colour: 'accent' },
    { label: 'uploads', colour: 'cold', dashed: true },
  ],
  firstByte: [
    { label: 'median', colour: 'accent' },
    { label: '99%', colour: 'cold', dashed: true },
  ],
  hits: [{ label: 'hits', colour: 'accent' }],
  memory: [
    { label: 'used', colour: 'accent' },
    { label: 'constrained from', colour: 'warn', dashed: true },
    { label: 'critical from', colour: 'bad', dashed: true },
  ],
  delay: [{ label: '99%', colour: 'accent' }],
};

const EVICTIONS: readonly (Line & { readonly name: string; readonly counter: string })[] = [
  { name: 'evicted', counter: 'evicted', label: 'artifacts evicted', colour: 'accent' },
  { name: 'upstream/', counter: 'upstream/failed', label: 'failed upstream requests', colour: 'cold', dashed: true },
];

/** Fills all charts. A value belongs to the time from the point before to its own. */
export function showCharts(points: readonly Point[], bounds: readonly number[], split: Split): void {
  const intervals = points.slice(1).map((point, index) => intervalOf([points[index] ?? point, point]));
  const times = points.slice(1).map(({ time }) => time / 1000);
  const column = <T>(read: (interval: Interval) => T) => intervals.map(read);
  const current = (name: string, scale = 1) =>
    points.slice(1).map(({ columns }) => (columns[name] === undefined ? null : columns[name] * scale));
  downloads.update(
    times,
    SOURCE_LINES,
    SOURCES.map((source) => column((interval) => interval.rate(`sent/${source}`))),
  );
  transfer.update(times, FIXED.transfer, [
    column((interval) => sentIn(interval) / interval.seconds),
    column((interval) => interval.rate('received')),
  ]);
  showTraffic(points, times, intervals, split);
  showErrors(times, intervals);
  const latencies = column((interval) => firstByteIn(interval, bounds));
  firstByte.update(times, FIXED.firstByte, [
    latencies.map((latency) => latency?.median ?? null),
    latencies.map((latency) => latency?.slow ?? null),
  ]);
  hits.update(times, FIXED.hits, [column((interval) => hitRateIn(interval) ?? null)]);
  memory.update(times, FIXED.memory, [current('memory/used'), current('memory/soft'), current('memory/hard')]);
  delay.update(times, FIXED.delay, [current('now/delay', 1e-6)]);
  // Only some stores evict, and only some have an upstream.
  const known = EVICTIONS.filter(({ name }) => intervals.at(-1)?.names(name).length !== 0);
  byId('chart-evictions').hidden = known.length === 0;
  evictions.update(
    times,
    known,
    known.map(({ counter }) => column((interval) => interval.rate(counter))),
  );
}

function showTraffic(
  points: readonly Point[],
  times: readonly number[],
  intervals: readonly Interval[],
  split: Split,
): void {
  // Sorted by name, so that a colour does not move while the order of the traffic changes.
  const names = topTraffic(intervalOf(points), split)
    .map(({ name }) => name)
    .sort();
  const lines = names.map((name, index): Line => ({ label: printable(name), colour: `series-${index}` }));
  const parts = names.map((name) =>
    intervals.map((interval) => ({ seconds: interval.seconds, ...trafficOf(interval, split, name) })),
  );
  const orNone = lines.length === 0 ? NONE : lines;
  traffic.update(
    times,
    orNone,
    parts.map((each) => each.map(({ bytes, seconds }) => bytes / seconds)),
  );
  responses.update(
    times,
    orNone,
    parts.map((each) => each.map((part) => part.responses / part.seconds)),
  );
}

function showErrors(times: readonly number[], intervals: readonly Interval[]): void {
  const all = intervals.at(-1)?.names('status/') ?? [];
  const names = all
    .filter((name) => isErrorStatus(Number(name.slice('status/'.length))))
    .filter((name) => intervals.some((interval) => interval.of(name) > 0))
    .sort()
    .slice(0, 10);
  const lines = names.map((name, index): Line => {
    const status = name.slice('status/'.length);
    return { label: status === '0' ? 'no status' : status, colour: `series-${index}` };
  });
  errors.update(
    times,
    lines.length === 0 ? NONE : lines,
    names.map((name) => intervals.map((interval) => interval.rate(name))),
  );
}
