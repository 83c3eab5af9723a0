import { type HistogramSnapshot, LATENCY_BOUNDS_SECONDS } from '../../util/histogram.js';
import { printable } from '../../util/printable.js';
import { formatBytes, formatCount, formatCountOf, formatDuration, formatShare } from '../../util/units.js';
import type { Style } from '../terminal.js';
import type { StatsDocument } from './stats-document.js';

type Paint = (style: Style, text: string) => string;
type Line = readonly [name: string, text: string];
type Handler = StatsDocument['handler'];

/** Number of clients that are shown. */
const MAX_WRITERS = 10;

/** Statistics of the previous refresh. */
export interface PreviousStats {
  readonly document: StatsDocument;
  /** Time since the previous refresh, in seconds. */
  readonly seconds: number;
}

const STYLES: Readonly<Record<string, Style>> = { normal: 'green', constrained: 'yellow', critical: 'red' };

/**
 * Formats the statistics of a server as text, one line per topic. If `previous` is given, one line shows the rates
 * since the previous refresh.
 */
export function formatStats(document: StatsDocument, previous: PreviousStats | undefined, paint: Paint): string {
  const { version, uptimeSeconds, handler, server, store, processes = [], note } = document;
  const lines: Line[] = [
    ['hotblob', `${printable(version)}, up ${formatDuration(uptimeSeconds)}`],
    ...(previous === undefined ? [] : [ratesLine(document, previous)]),
    ['lookups', formatLookups(handler)],
    ['responses', formatResponses(handler)],
    ...failureLines(handler),
    ['sent', formatSent(bytesBySource(handler))],
    ...receivedLines(handler),
    ...writerLines(handler),
    ...latencyLines(handler),
    ['not mapped', formatCounts(handler.unmapped)],
    ['memory', formatMemory(handler, paint)],
    ['buffers', formatBuffers(handler)],
    ['mappings', formatMappings(handler)],
    ['open files', `${formatCount(handler.openFiles)} of at most ${formatCount(handler.maxOpenFiles)}`],
    ['connections', formatConnections(server)],
    ['terminated', formatCounts(server.terminated)],
    ['store', formatStore(store)],
    ...remoteLines(store),
    ...processes.map(processLine),
    ...(note === undefined ? [] : [['note', printable(note)] as const]),
  ];
  const width = Math.max(...lines.map(([name]) => name.length));
  return lines.map(([name, text]) => `${paint('dim', name.padEnd(width))}  ${text}\n`).join('');
}

function processLine(stats: NonNullable<StatsDocument['processes']>[number]): Line {
  const { pid, uptimeSeconds, responses, active, connections, eventLoopDelayMs, residentBytes } = stats;
  const parts = [
    `up ${formatDuration(uptimeSeconds)}`,
    `${formatCountOf(responses, 'response')}, ${formatCount(active)} in flight`,
    formatCountOf(connections, 'connection'),
    `event-loop delay ${eventLoopDelayMs} ms`,
    `${formatBytes(residentBytes)} resident`,
  ];
  return [`process ${pid}`, parts.join(', ')];
}

/** Formats the rates since the previous refresh. */
function ratesLine({ handler, uptimeSeconds }: StatsDocument, { document, seconds }: PreviousStats): Line {
  const before = document.handler;
  const bytesBefore = bytesBySource(before);
  const sources = bytesBySource(handler).map(([name, bytes], index): [string, number] => [
    name,
    bytes - (bytesBefore[index]?.[1] ?? 0),
  ]);
  const responses = sumOf(handler.responses) - sumOf(before.responses);
  // The counters of a new process start at 0, so there is no difference to show.
  if (uptimeSeconds < document.uptimeSeconds || responses < 0) return ['now', 'server restarted'];
  const bytes = sources.reduce((sum, [, each]) => sum + each, 0);
  const received = handler.receivedBytes - before.receivedBytes; // NaN with a server of an older version
  const hits = handler.hits - before.hits;
  const lookups = hits + handler.misses - before.misses;
  const parts = [
    `${formatCount(Math.round(responses / seconds))} responses/s`,
    `${formatBytes(bytes / seconds)}/s${bytes === 0 ? '' : ` (${formatShares(sources, bytes)})`}`,
    ...(received > 0 ? [`${formatBytes(received / seconds)}/s received`] : []),
    ...(lookups === 0 ? [] : [`${formatShare(hits / lookups)} hits`]),
  ];
  return ['now', parts.join(', ')];
}

function formatLookups({ hits, misses }: Handler): string {
  const lookups = hits + misses;
  return lookups === 0 ? 'none' : `${formatCount(lookups)}, ${formatShare(hits / lookups)} hits`;
}

function formatResponses({ responses: byStatus, active }: Handler): string {
  const counts = Object.entries(byStatus).map(([status, count]) => {
    return `${formatCount(count)} ${status === '0' ? 'without status' : `with ${printable(status)}`}`;
  });
  return [`${formatCount(sumOf(byStatus))}`, ...counts, `${formatCount(active)} in flight`].join(', ');
}

/** Formats the requests that the server failed to perform, if there are any. */
function failureLines({ responseCounts }: Handler): Line[] {
  const counts = new Map<string, number>();
  for (const { failure, status, count } of responseCounts) {
    // A server of an older version does not report failures.
    if (failure === undefined) continue;
    const text = failure === status ? `with ${failure}` : `with ${failure} (sent as ${status})`;
    counts.set(text, (counts.get(text) ?? 0) + count);
  }
  if (counts.size === 0) return [];
  return [['failures', Array.from(counts, ([text, count]) => `${formatCount(count)} ${printable(text)}`).join(', ')]];
}

/** Formats the bytes of uploads, if there are any. A server of an older version does not report them. */
function receivedLines({ receivedBytes = 0 }: Partial<Handler>): Line[] {
  return receivedBytes === 0 ? [] : [['received', formatBytes(receivedBytes)]];
}

/** Formats the clients with the most uploads, if the access policy names clients. */
function writerLines({ writers = [] }: Partial<Handler>): Line[] {
  if (writers.length === 0) return [];
  const most = [...writers].sort((a, b) => b.count - a.count).slice(0, MAX_WRITERS);
  const parts = most.map(
    ({ subject, scope, count }) => `${formatCount(count)} by ${printable(subject)} (scope ${printable(scope)})`,
  );
  const others = writers.length - most.length;
  return [['uploads', [...parts, ...(others === 0 ? [] : [`${formatCountOf(others, 'other client')}`])].join(', ')]];
}

function bytesBySource({ sent: { mapped, copied, read, bytes, stream } }: Handler): [string, number][] {
  return [
    ['mapped', mapped.bytes],
    ['copied', copied.bytes],
    ['read', read.bytes],
    ['from memory', bytes.bytes],
    ['from streams', stream.bytes],
  ];
}

function formatSent(sources: readonly [string, number][]): string {
  const bytes = sources.reduce((sum, [, each]) => sum + each, 0);
  return bytes === 0 ? 'nothing' : `${formatBytes(bytes)}: ${formatShares(sources, bytes)}`;
}

function formatShares(sources: readonly [string, number][], total: number): string {
  const used = sources.filter(([, bytes]) => bytes > 0);
  return used.map(([name, bytes]) => `${formatShare(bytes / total)} ${name}`).join(', ');
}

function latencyLines({ latency }: Handler): Line[] {
  return latency.flatMap(({ maxBytes, firstByte, duration }, index): Line[] => {
    const count = firstByte.counts.reduce((sum, each) => sum + each, 0);
    if (count === 0) return [];
    const before = latency[index - 1]?.maxBytes ?? 0;
    // JSON has no infinity, so the limit of the last size class is null.
    const isLast = maxBytes === null || !Number.isFinite(maxBytes);
    const name = isLast ? `over ${formatBytes(before)}` : `up to ${formatBytes(maxBytes)}`;
    return [[name, `first byte ${formatQuantiles(firstByte)}; last byte ${formatQuantiles(duration)}`]];
  });
}

function formatQuantiles(histogram: HistogramSnapshot): string {
  return `${formatQuantile(histogram, 0.5)} (50%), ${formatQuantile(histogram, 0.99)} (99%)`;
}

/** Formats the upper bound of the bucket that contains the quantile. */
function formatQuantile({ counts: buckets }: HistogramSnapshot, quantile: number): string {
  const rank = quantile * buckets.reduce((sum, each) => sum + each, 0);
  let cumulative = 0;
  const index = buckets.findIndex((count) => {
    cumulative += count;
    return cumulative >= rank;
  });
  const bound = LATENCY_BOUNDS_SECONDS[index];
  if (bound === undefined) return `> ${formatSeconds(LATENCY_BOUNDS_SECONDS.at(-1) ?? 0)}`;
  return `<= ${formatSeconds(bound)}`;
}

function formatSeconds(seconds: number): string {
  return seconds < 1 ? `${Number((seconds * 1000).toFixed(1))} ms` : `${seconds} s`;
}

function formatMemory({ pressure, memory }: Handler, paint: Paint): string {
  const { usedBytes, limitBytes, softBytes, sensor } = memory;
  const style = STYLES[pressure];
  const level = style === undefined ? printable(pressure) : paint(style, pressure);
  if (usedBytes === undefined || limitBytes === undefined || sensor === 'none') return level;
  const watermark = softBytes === undefined ? '' : `, constrained from ${formatBytes(softBytes)}`;
  const source = sensor === undefined ? '' : ` (${printable(sensor)})`;
  return `${level}, ${formatBytes(usedBytes)} of ${formatBytes(limitBytes)} in use${watermark}${source}`;
}

function formatBuffers({ pooledBytes, idlePooledBytes, maxPooledBytes, waitingForBuffers }: Handler): string {
  const use = `${formatBytes(pooledBytes)} in use and ${formatBytes(idlePooledBytes)} idle of at most ${formatBytes(maxPooledBytes)}`;
  return waitingForBuffers === 0 ? use : `${use}; ${formatCountOf(waitingForBuffers, 'response')} waiting`;
}

function formatMappings({ mapper, mappings, mappedBytes, maxMappedBytes }: Handler): string {
  if (mapper === undefined) return 'none';
  const bytes = `${formatBytes(mappedBytes)} in flight of at most ${formatBytes(maxMappedBytes)}`;
  return `${formatCount(mappings)} by ${printable(mapper)}; ${bytes}`;
}

function formatConnections(server: StatsDocument['server']): string {
  const { connections, maxConnections, refused, openStreams, resets } = server;
  const { http1, http2, unknown } = connections;
  const parts = [
    `${formatCount(http1)} HTTP/1.1`,
    `${formatCount(http2)} HTTP/2 with ${formatCountOf(openStreams, 'stream')}`,
    ...(unknown === 0 ? [] : [`${formatCount(unknown)} with unknown protocol`]),
    `at most ${formatCount(maxConnections)}`,
    ...(refused === 0 ? [] : [`${formatCount(refused)} refused`]),
    ...(resets === 0 ? [] : [`${formatCountOf(resets, 'stream')} reset`]),
  ];
  return parts.join(', ');
}

function formatStore({ artifacts, bytes, maxBytes, evicted, expired }: StatsDocument['store']): string {
  const parts = [
    ...(artifacts === undefined ? [] : [`${formatCountOf(artifacts, 'artifact')}`]),
    ...(bytes === undefined
      ? []
      : [`${formatBytes(bytes)}${maxBytes === undefined ? '' : ` of at most ${formatBytes(maxBytes)}`}`]),
    ...(evicted === undefined ? [] : [`${formatCount(evicted)} evicted${expiredText(expired)}`]),
  ];
  return parts.length === 0 ? 'no statistics' : parts.join(', ');
}

function expiredText(expired: number | undefined): string {
  return expired === undefined ? '' : ` (${formatCount(expired)} expired)`;
}

/** Formats the statistics of an upstream, if there is one. */
function remoteLines({
  remote,
  flights,
  queued,
  dropped,
  unreplicated,
  requests = [],
  latency,
}: StatsDocument['store']): Line[] {
  if (remote === undefined && requests.length === 0) return [];
  const hasLatency = latency?.counts.some((count) => count > 0);
  const parts = [
    ...(remote === undefined ? [] : [`circuit breaker ${printable(remote)}`]),
    ...requests.map(({ operation, outcome, count }) => `${formatCount(count)} ${printable(`${operation} ${outcome}`)}`),
    ...(flights ? [`${formatCountOf(flights, 'download')} in flight`] : []),
    ...(queued ? [`${formatCountOf(queued, 'upload')} queued`] : []),
    ...(dropped ? [`${formatCountOf(dropped, 'upload')} dropped`] : []),
    ...(unreplicated ? [`${formatCountOf(unreplicated, 'upload')} only in the local store`] : []),
    ...(latency !== undefined && hasLatency ? [`response headers ${formatQuantiles(latency)}`] : []),
  ];
  return [['upstream', parts.join(', ')]];
}

function formatCounts(byName: Readonly<Record<string, number | undefined>>): string {
  const nonZero = Object.entries(byName).filter(([, count]) => count !== undefined && count > 0);
  if (nonZero.length === 0) return 'none';
  return nonZero.map(([name, count = 0]) => `${formatCount(count)} ${printable(name)}`).join(', ');
}

function sumOf(byName: Readonly<Record<string, number>>): number {
  return Object.values(byName).reduce((sum, count) => sum + count, 0);
}
