import { type HistogramSnapshot, LATENCY_BOUNDS_SECONDS } from '../../util/histogram.js';
import { formatBytes, formatCount, formatCountOf, formatDuration, formatShare } from '../../util/units.js';
import { printable, type Style } from '../terminal.js';
import type { StatsDocument } from './stats-document.js';

type Paint = (style: Style, text: string) => string;
type Line = readonly [name: string, text: string];
type Handler = StatsDocument['handler'];

/** What a server has said before, and when. */
export interface Earlier {
  readonly document: StatsDocument;
  /** Between the two, in seconds. */
  readonly seconds: number;
}

const STYLES: Readonly<Record<string, Style>> = { normal: 'green', constrained: 'yellow', critical: 'red' };

/** What a server says about itself, for people: a line for each thing; with `earlier` one for what has happened since. */
export function describeStats(document: StatsDocument, earlier: Earlier | undefined, paint: Paint): string {
  const { version, uptimeSeconds, handler, server, store } = document;
  const lines: Line[] = [
    ['hotblob', `${printable(version)}, up ${formatDuration(uptimeSeconds)}`],
    ...(earlier === undefined ? [] : [now(document, earlier)]),
    ['lookups', lookups(handler)],
    ['responses', responses(handler)],
    ['sent', sent(bySource(handler))],
    ...latencies(handler),
    ['not mapped', counts(handler.unmapped)],
    ['memory', memory(handler, paint)],
    ['buffers', buffers(handler)],
    ['mappings', mappings(handler)],
    ['files', `${formatCount(handler.openFiles)} open, ${formatCount(handler.maxOpenFiles)} at most`],
    ['connections', connections(server)],
    ['cut off', counts(server.cutOff)],
    ['store', kept(store)],
    ...remote(store),
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.map(([name, text]) => `${paint('dim', name.padEnd(width))}  ${text}\n`).join('');
}

/** What has happened since, by the second. */
function now({ handler, uptimeSeconds }: StatsDocument, { document, seconds }: Earlier): Line {
  const before = document.handler;
  const was = bySource(before);
  const sources = bySource(handler).map(([name, bytes], index): [string, number] => [
    name,
    bytes - (was[index]?.[1] ?? 0),
  ]);
  const answered = total(handler.responses) - total(before.responses);
  // Another process answers there by now: what it has counted is not since then.
  if (uptimeSeconds < document.uptimeSeconds || answered < 0) return ['now', 'it has been started anew'];
  const bytes = sources.reduce((sum, [, each]) => sum + each, 0);
  const hits = handler.hits - before.hits;
  const found = hits + handler.misses - before.misses;
  const parts = [
    `${formatCount(Math.round(answered / seconds))} responses/s`,
    `${formatBytes(bytes / seconds)}/s${bytes === 0 ? '' : ` (${shares(sources, bytes)})`}`,
    ...(found === 0 ? [] : [`${formatShare(hits / found)} hits`]),
  ];
  return ['now', parts.join(', ')];
}

function lookups({ hits, misses }: Handler): string {
  const all = hits + misses;
  return all === 0 ? 'none' : `${formatCount(all)}, ${formatShare(hits / all)} hits`;
}

function responses({ responses: byStatus, active }: Handler): string {
  const each = Object.entries(byStatus).map(([status, count]) => {
    return `${formatCount(count)} ${status === '0' ? 'given up' : `of ${printable(status)}`}`;
  });
  return [`${formatCount(total(byStatus))}`, ...each, `${formatCount(active)} under way`].join(', ');
}

function bySource({ sent: { mapped, copied, read, bytes, stream } }: Handler): [string, number][] {
  return [
    ['mapped', mapped.bytes],
    ['copied', copied.bytes],
    ['read', read.bytes],
    ['from memory', bytes.bytes],
    ['streamed', stream.bytes],
  ];
}

function sent(sources: readonly [string, number][]): string {
  const bytes = sources.reduce((sum, [, each]) => sum + each, 0);
  return bytes === 0 ? 'nothing' : `${formatBytes(bytes)}: ${shares(sources, bytes)}`;
}

function shares(sources: readonly [string, number][], all: number): string {
  const some = sources.filter(([, bytes]) => bytes > 0);
  return some.map(([name, bytes]) => `${formatShare(bytes / all)} ${name}`).join(', ');
}

function latencies({ latency }: Handler): Line[] {
  return latency.flatMap(({ maxBytes, firstByte, duration }, index): Line[] => {
    const count = firstByte.counts.reduce((sum, each) => sum + each, 0);
    if (count === 0) return [];
    const before = latency[index - 1]?.maxBytes ?? 0;
    // JSON has no infinity.
    const isLast = maxBytes === null || !Number.isFinite(maxBytes);
    const name = isLast ? `over ${formatBytes(before)}` : `to ${formatBytes(maxBytes)}`;
    return [[name, `first byte ${quantiles(firstByte)}; all ${quantiles(duration)}`]];
  });
}

function quantiles(histogram: HistogramSnapshot): string {
  return `${quantile(histogram, 0.5)} (50%), ${quantile(histogram, 0.99)} (99%)`;
}

/** A bound that so many are within. */
function quantile({ counts: buckets }: HistogramSnapshot, share: number): string {
  const wanted = share * buckets.reduce((sum, each) => sum + each, 0);
  let seen = 0;
  const index = buckets.findIndex((count) => {
    seen += count;
    return seen >= wanted;
  });
  const bound = LATENCY_BOUNDS_SECONDS[index];
  if (bound === undefined) return `> ${milliseconds(LATENCY_BOUNDS_SECONDS.at(-1) ?? 0)}`;
  return `<= ${milliseconds(bound)}`;
}

function milliseconds(seconds: number): string {
  return seconds < 1 ? `${Number((seconds * 1000).toFixed(1))} ms` : `${seconds} s`;
}

function memory({ pressure, memory: { usedBytes, limitBytes, softBytes, sensor } }: Handler, paint: Paint): string {
  const style = STYLES[pressure];
  const level = style === undefined ? printable(pressure) : paint(style, pressure);
  if (usedBytes === undefined || limitBytes === undefined || sensor === 'none') return level;
  const short = softBytes === undefined ? '' : `, constrained from ${formatBytes(softBytes)}`;
  const where = sensor === undefined ? '' : ` (${printable(sensor)})`;
  return `${level}, ${formatBytes(usedBytes)} of ${formatBytes(limitBytes)} in use${short}${where}`;
}

function buffers({ pooledBytes, idlePooledBytes, maxPooledBytes, waitingForBuffers }: Handler): string {
  const use = `${formatBytes(pooledBytes)} in use, ${formatBytes(idlePooledBytes)} idle, ${formatBytes(maxPooledBytes)} at most`;
  return waitingForBuffers === 0 ? use : `${use}; ${formatCountOf(waitingForBuffers, 'response')} waiting`;
}

function mappings({ mapper, mappings: alive, mappedBytes, maxMappedBytes }: Handler): string {
  if (mapper === undefined) return 'none';
  return `${formatCount(alive)} by ${printable(mapper)}; ${formatBytes(mappedBytes)} being sent, ${formatBytes(maxMappedBytes)} at most`;
}

function connections({ connections: { http1, http2, unknown }, openStreams, resets }: StatsDocument['server']): string {
  const parts = [
    `${formatCount(http1)} HTTP/1.1`,
    `${formatCount(http2)} HTTP/2 with ${formatCountOf(openStreams, 'stream')}`,
    ...(unknown === 0 ? [] : [`${formatCount(unknown)} undecided`]),
    ...(resets === 0 ? [] : [`${formatCountOf(resets, 'reset')} so far`]),
  ];
  return parts.join(', ');
}

function kept({ artifacts, bytes, maxBytes, evicted }: StatsDocument['store']): string {
  const parts = [
    ...(artifacts === undefined ? [] : [`${formatCountOf(artifacts, 'artifact')}`]),
    ...(bytes === undefined
      ? []
      : [`${formatBytes(bytes)}${maxBytes === undefined ? '' : ` of ${formatBytes(maxBytes)}`}`]),
    ...(evicted === undefined ? [] : [`${formatCount(evicted)} evicted`]),
  ];
  return parts.length === 0 ? 'does not count what it holds' : parts.join(', ');
}

/** Of a store in front of another one. */
function remote({ remote: state, flights, queued, dropped, requests = [], latency }: StatsDocument['store']): Line[] {
  if (state === undefined && requests.length === 0) return [];
  const parts = [
    ...(state === undefined ? [] : [REMOTE[state] ?? printable(state)]),
    ...requests.map(({ operation, outcome, count }) => `${formatCount(count)} ${printable(`${operation} ${outcome}`)}`),
    ...(flights ? [`${formatCount(flights)} coming in`] : []),
    ...(queued ? [`${formatCountOf(queued, 'upload')} waiting`] : []),
    ...(dropped ? [`${formatCountOf(dropped, 'upload')} given up`] : []),
    ...(latency === undefined || latency.counts.every((count) => count === 0) ? [] : [`answers ${quantiles(latency)}`]),
  ];
  return [['remote', parts.join(', ')]];
}

const REMOTE: Readonly<Record<string, string>> = { closed: 'asked', open: 'left alone', 'half-open': 'tried again' };

function counts(byName: Readonly<Record<string, number | undefined>>): string {
  const some = Object.entries(byName).filter(([, count]) => count !== undefined && count > 0);
  if (some.length === 0) return 'none';
  return some.map(([name, count = 0]) => `${formatCount(count)} ${printable(name)}`).join(', ');
}

function total(byName: Readonly<Record<string, number>>): number {
  return Object.values(byName).reduce((sum, count) => sum + count, 0);
}
