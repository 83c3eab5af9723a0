import type { ProcessStats } from '../cluster/sum-stats.js';
import type { StoreStats } from '../contract/store.js';
import type { HandlerStats } from '../handler/stats.js';
import type { ServerStats } from '../server/stats.js';
import { histogramSamples, type Labels, optionalSample, type Sample, samplesOf, stateSamples } from './sample.js';

/** Definition of a metric. `samples` derives its values from statistics. */
export interface Definition<Stats> {
  /** Name that follows the Prometheus conventions: base units, `_total` for counters. */
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  samples(stats: Stats, labels: Labels): Sample[];
}

const LEVELS = ['normal', 'constrained', 'critical'];
const BREAKER_STATES = ['closed', 'half-open', 'open'];
const KIB = 1024;
const MIB = 1024 * KIB;

/** Metrics of handlers and senders. */
export const HANDLER_METRICS: readonly Definition<HandlerStats>[] = [
  {
    name: 'hotblob_responses_total',
    help: 'Responses by protocol, operation, status and main source of the body.',
    type: 'counter',
    samples: ({ responseCounts }, labels) =>
      responseCounts.map(({ protocol, operation, status, source, count }) => ({
        labels: { ...labels, protocol, operation, status: String(status), source },
        value: count,
      })),
  },
  {
    name: 'hotblob_failures_total',
    help: 'Valid requests that the server failed to perform, by protocol, operation, status of the failure and status sent.',
    type: 'counter',
    samples: ({ responseCounts }, labels) =>
      responseCounts.flatMap(({ protocol, operation, failure, status, count: value }) => {
        if (failure === undefined) return [];
        return [{ labels: { ...labels, protocol, operation, status: String(failure), sent: String(status) }, value }];
      }),
  },
  {
    name: 'hotblob_active_responses',
    help: 'Responses in flight.',
    type: 'gauge',
    samples: ({ active }, labels) => [{ labels, value: active }],
  },
  {
    name: 'hotblob_lookups_total',
    help: 'Lookups of artifacts by result: hit or miss.',
    type: 'counter',
    samples: ({ hits, misses }, labels) => samplesOf('result', { hit: hits, miss: misses }, labels),
  },
  {
    name: 'hotblob_sent_bytes_total',
    help: 'Bytes of artifacts sent, by source.',
    type: 'counter',
    samples: ({ sent }, labels) =>
      Object.entries(sent).map(([source, { bytes }]) => ({ labels: { ...labels, source }, value: bytes })),
  },
  {
    name: 'hotblob_received_bytes_total',
    help: 'Bytes of request bodies that the handler has read: uploads, also those that failed.',
    type: 'counter',
    samples: ({ receivedBytes }, labels) => [{ labels, value: receivedBytes }],
  },
  {
    name: 'hotblob_sent_windows_total',
    help: 'Windows of artifacts sent, by source.',
    type: 'counter',
    samples: ({ sent }, labels) =>
      Object.entries(sent).map(([source, { windows }]) => ({ labels: { ...labels, source }, value: windows })),
  },
  {
    name: 'hotblob_unmapped_total',
    help: 'Responses and windows that were not sent from a mapping, by reason.',
    type: 'counter',
    samples: ({ unmapped }, labels) => samplesOf('reason', unmapped, labels),
  },
  {
    name: 'hotblob_first_byte_seconds',
    help: 'Time from the request to the response headers, for complete downloads, by size class (upper limit).',
    type: 'histogram',
    samples: ({ latency }, labels) =>
      latency.flatMap(({ maxBytes, firstByte }) =>
        histogramSamples('hotblob_first_byte_seconds', firstByte, { ...labels, size: formatSizeClass(maxBytes) }),
      ),
  },
  {
    name: 'hotblob_download_duration_seconds',
    help: 'Time from the request to the last byte, for complete downloads, by size class (upper limit).',
    type: 'histogram',
    samples: ({ latency }, labels) =>
      latency.flatMap(({ maxBytes, duration }) =>
        histogramSamples('hotblob_download_duration_seconds', duration, { ...labels, size: formatSizeClass(maxBytes) }),
      ),
  },
  gauge('hotblob_open_files', 'File descriptors open for artifacts.', ({ openFiles }) => openFiles),
  gauge(
    'hotblob_open_files_limit',
    'Maximum number of file descriptors open for artifacts.',
    ({ maxOpenFiles }) => maxOpenFiles,
  ),
  gauge('hotblob_mappings', 'Active mappings.', ({ mappings }) => mappings),
  gauge('hotblob_mapped_bytes', 'Mapped bytes in flight.', ({ mappedBytes }) => mappedBytes),
  gauge(
    'hotblob_mapped_limit_bytes',
    'Maximum number of mapped bytes in flight.',
    ({ maxMappedBytes }) => maxMappedBytes,
  ),
  gauge('hotblob_pool_lent_bytes', 'Bytes of pooled buffers in use.', ({ pooledBytes }) => pooledBytes),
  gauge('hotblob_pool_idle_bytes', 'Bytes of idle pooled buffers.', ({ idlePooledBytes }) => idlePooledBytes),
  gauge(
    'hotblob_pool_limit_bytes',
    'Maximum size of the buffer pool in bytes.',
    ({ maxPooledBytes }) => maxPooledBytes,
  ),
  gauge('hotblob_pool_waiting', 'Responses waiting for a buffer.', ({ waitingForBuffers }) => waitingForBuffers),
  {
    name: 'hotblob_memory_pressure',
    help: 'Memory pressure: 1 for the current level, 0 for the others.',
    type: 'gauge',
    samples: ({ pressure }, labels) => stateSamples('level', LEVELS, pressure, labels),
  },
  gauge(
    'hotblob_memory_used_bytes',
    'Memory in use that counts against the limit, in bytes.',
    ({ memory }) => memory.usedBytes,
  ),
  gauge('hotblob_memory_limit_bytes', 'Memory limit in bytes.', ({ memory }) => memory.limitBytes),
  gauge(
    'hotblob_memory_soft_bytes',
    'Memory in use from which pressure is constrained, in bytes.',
    ({ memory }) => memory.softBytes,
  ),
  gauge(
    'hotblob_memory_hard_bytes',
    'Memory in use from which pressure is critical, in bytes.',
    ({ memory }) => memory.hardBytes,
  ),
  gauge(
    'hotblob_memory_headroom_bytes',
    'Bytes between the watermarks of the smallest memory limit, at least 64 MiB and at most 512 MiB.',
    ({ memory }) => memory.headroomBytes,
  ),
];

/** Metrics of servers made by `createServer`. */
export const SERVER_METRICS: readonly Definition<ServerStats>[] = [
  {
    name: 'hotblob_connections',
    help: 'Open connections by protocol.',
    type: 'gauge',
    samples: ({ connections }, labels) => samplesOf('protocol', connections, labels),
  },
  {
    name: 'hotblob_connections_total',
    help: 'Accepted connections by protocol.',
    type: 'counter',
    samples: ({ accepted }, labels) => samplesOf('protocol', accepted, labels),
  },
  {
    name: 'hotblob_connections_retired_total',
    help: 'Connections drained with GOAWAY or Connection: close, by protocol.',
    type: 'counter',
    samples: ({ drained }, labels) => samplesOf('protocol', drained, labels),
  },
  gauge('hotblob_connections_limit', 'Maximum number of open connections.', ({ maxConnections }) => maxConnections),
  counter(
    'hotblob_connections_refused_total',
    'New connections closed because maxConnections was reached and no other connection was idle.',
    ({ refused }) => refused,
  ),
  gauge('hotblob_http2_streams', 'Open HTTP/2 streams.', ({ openStreams }) => openStreams),
  counter('hotblob_http2_streams_total', 'HTTP/2 streams opened.', ({ streams }) => streams),
  counter('hotblob_http2_resets_total', 'HTTP/2 streams that ended with a reset.', ({ resets }) => resets),
  {
    name: 'hotblob_cut_off_total',
    help: 'Connections and streams that the server aborted, by reason.',
    type: 'counter',
    samples: ({ terminated }, labels) => samplesOf('reason', terminated, labels),
  },
];

/** Metrics of stores. If `stats` of a store does not return a value, the store does not have the metric. */
export const STORE_METRICS: readonly Definition<StoreStats>[] = [
  gauge('hotblob_store_artifacts', 'Artifacts in the store.', ({ artifacts }) => artifacts),
  gauge('hotblob_store_bytes', 'Bytes in the store that count against its limit.', ({ bytes }) => bytes),
  gauge('hotblob_store_limit_bytes', 'Maximum size of the store in bytes.', ({ maxBytes }) => maxBytes),
  counter('hotblob_store_evicted_total', 'Artifacts evicted, also those that expired.', ({ evicted }) => evicted),
  counter('hotblob_store_expired_total', 'Artifacts that were not used for too long.', ({ expired }) => expired),
  counter('hotblob_store_corrupt_total', 'Corrupt artifacts found.', ({ corrupt }) => corrupt),
  {
    name: 'hotblob_store_remote',
    help: 'Circuit breaker of the remote store: 1 for the current state, 0 for the others.',
    type: 'gauge',
    samples: ({ remote }, labels) =>
      remote === undefined ? [] : stateSamples('state', BREAKER_STATES, remote, labels),
  },
  gauge('hotblob_store_flights', 'Downloads from the remote store in flight.', ({ flights }) => flights),
  gauge('hotblob_store_remembered_misses', 'Cached misses of the remote store.', (stats) => stats.rememberedMisses),
  gauge('hotblob_store_queued', 'Keys in the replication queue.', ({ queued }) => queued),
  counter('hotblob_store_dropped_total', 'Keys dropped from the replication queue.', ({ dropped }) => dropped),
  counter(
    'hotblob_store_unreplicated_total',
    'Uploads that only the local store got.',
    ({ unreplicated }) => unreplicated,
  ),
  {
    name: 'hotblob_upstream_requests_total',
    help: 'Requests to the upstream by operation and outcome.',
    type: 'counter',
    samples: ({ requests = [] }, labels) =>
      requests.map(({ operation, outcome, count }) => ({ labels: { ...labels, operation, outcome }, value: count })),
  },
  {
    name: 'hotblob_upstream_latency_seconds',
    help: 'Time from a request to the upstream to its response headers.',
    type: 'histogram',
    samples: ({ latency }, labels) =>
      latency === undefined ? [] : histogramSamples('hotblob_upstream_latency_seconds', latency, labels),
  },
];

/** Metrics of each process, if there are several. Their time series end with the process. */
export const PROCESS_METRICS: readonly Definition<readonly ProcessStats[]>[] = [
  perProcess('hotblob_process_cpu_seconds_total', 'counter', 'Processor time in seconds.', (each) => each.cpuSeconds),
  perProcess('hotblob_process_responses_total', 'counter', 'Responses of all handlers.', ({ responses }) => responses),
  perProcess('hotblob_process_uptime_seconds', 'gauge', 'Time since the start.', (each) => each.uptimeSeconds),
  perProcess('hotblob_process_connections', 'gauge', 'Open connections.', ({ connections }) => connections),
  perProcess('hotblob_process_resident_bytes', 'gauge', 'Resident memory in bytes.', (each) => each.residentBytes),
  perProcess('hotblob_process_heap_bytes', 'gauge', 'Memory of JavaScript objects.', ({ heapBytes }) => heapBytes),
  perProcess(
    'hotblob_process_event_loop_delay_seconds',
    'gauge',
    'Delay of the event loop that 99% of its iterations did not exceed in the last second.',
    ({ eventLoopDelayMs }) => eventLoopDelayMs / 1000,
  ),
];

function perProcess(
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  read: (stats: ProcessStats) => number,
): Definition<readonly ProcessStats[]> {
  const samples: Definition<readonly ProcessStats[]>['samples'] = (processes, labels) =>
    processes.map((each) => ({ labels: { ...labels, pid: String(each.pid) }, value: read(each) }));
  return { name, help: `${help.slice(0, -1)}, by process.`, type, samples };
}

function gauge<Stats>(name: string, help: string, read: (stats: Stats) => number | undefined): Definition<Stats> {
  return { name, help, type: 'gauge', samples: (stats, labels) => optionalSample(read(stats), labels) };
}

function counter<Stats>(name: string, help: string, read: (stats: Stats) => number | undefined): Definition<Stats> {
  return { ...gauge(name, help, read), type: 'counter' };
}

function formatSizeClass(maxBytes: number): string {
  if (maxBytes === Number.POSITIVE_INFINITY) return '+Inf';
  return maxBytes < MIB ? `${maxBytes / KIB}KiB` : `${maxBytes / MIB}MiB`;
}
