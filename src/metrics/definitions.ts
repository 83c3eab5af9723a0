import type { StoreStats } from '../contract/store.js';
import type { HandlerStats } from '../handler/stats.js';
import type { ServerStats } from '../server/stats.js';
import { histogramSamples, type Labels, maybe, type Sample, samplesOf, stateSamples } from './sample.js';

/** A metric, and how its values are read from what is counted. */
export interface Definition<Stats> {
  /** By the practice of Prometheus: base units, `_total` for what only grows. */
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge' | 'histogram';
  samples(stats: Stats, labels: Labels): Sample[];
}

const LEVELS = ['normal', 'constrained', 'critical'];
const BREAKER_STATES = ['closed', 'half-open', 'open'];
const KIB = 1024;
const MIB = 1024 * KIB;

/** Of handlers, and of senders of routes. */
export const HANDLER_METRICS: readonly Definition<HandlerStats>[] = [
  {
    name: 'hotblob_responses_total',
    help: 'Responses by protocol, operation, status and where most of the body came from.',
    type: 'counter',
    samples: ({ responseCounts }, labels) =>
      responseCounts.map(({ protocol, operation, status, source, count }) => ({
        labels: { ...labels, protocol, operation, status: String(status), source },
        value: count,
      })),
  },
  {
    name: 'hotblob_active_responses',
    help: 'Responses under way.',
    type: 'gauge',
    samples: ({ active }, labels) => [{ labels, value: active }],
  },
  {
    name: 'hotblob_lookups_total',
    help: 'Lookups of artifacts by whether there was one.',
    type: 'counter',
    samples: ({ hits, misses }, labels) => samplesOf('result', { hit: hits, miss: misses }, labels),
  },
  {
    name: 'hotblob_sent_bytes_total',
    help: 'Bytes of artifacts that have left the process, by source.',
    type: 'counter',
    samples: ({ sent }, labels) =>
      Object.entries(sent).map(([source, { bytes }]) => ({ labels: { ...labels, source }, value: bytes })),
  },
  {
    name: 'hotblob_sent_windows_total',
    help: 'Windows of artifacts that have left the process, by source.',
    type: 'counter',
    samples: ({ sent }, labels) =>
      Object.entries(sent).map(([source, { windows }]) => ({ labels: { ...labels, source }, value: windows })),
  },
  {
    name: 'hotblob_unmapped_total',
    help: 'Responses, or windows of them, that were not mapped, by reason.',
    type: 'counter',
    samples: ({ unmapped }, labels) => samplesOf('reason', unmapped, labels),
  },
  {
    name: 'hotblob_first_byte_seconds',
    help: 'From the request to the headers of complete downloads, by the largest size of their class.',
    type: 'histogram',
    samples: ({ latency }, labels) =>
      latency.flatMap(({ maxBytes, firstByte }) =>
        histogramSamples('hotblob_first_byte_seconds', firstByte, { ...labels, size: sizeName(maxBytes) }),
      ),
  },
  {
    name: 'hotblob_download_duration_seconds',
    help: 'From the request to the last byte of complete downloads, by the largest size of their class.',
    type: 'histogram',
    samples: ({ latency }, labels) =>
      latency.flatMap(({ maxBytes, duration }) =>
        histogramSamples('hotblob_download_duration_seconds', duration, { ...labels, size: sizeName(maxBytes) }),
      ),
  },
  gauge('hotblob_open_files', 'Descriptors open.', ({ openFiles }) => openFiles),
  gauge('hotblob_open_files_limit', 'Descriptors that may be open.', ({ maxOpenFiles }) => maxOpenFiles),
  gauge('hotblob_mappings', 'Mappings alive.', ({ mappings }) => mappings),
  gauge('hotblob_mapped_bytes', 'Bytes of mappings that are being sent.', ({ mappedBytes }) => mappedBytes),
  gauge('hotblob_mapped_limit_bytes', 'How many there may be.', ({ maxMappedBytes }) => maxMappedBytes),
  gauge('hotblob_pool_lent_bytes', 'Bytes of buffers being filled or sent.', ({ pooledBytes }) => pooledBytes),
  gauge('hotblob_pool_idle_bytes', 'Bytes of buffers that wait.', ({ idlePooledBytes }) => idlePooledBytes),
  gauge('hotblob_pool_limit_bytes', 'Bytes that both may be together.', ({ maxPooledBytes }) => maxPooledBytes),
  gauge('hotblob_pool_waiting', 'Responses that wait for a buffer.', ({ waitingForBuffers }) => waitingForBuffers),
  {
    name: 'hotblob_memory_pressure',
    help: 'How short memory is: 1 for the level that holds.',
    type: 'gauge',
    samples: ({ pressure }, labels) => stateSamples('level', LEVELS, pressure, labels),
  },
  gauge('hotblob_memory_used_bytes', 'What counts against the memory limit.', ({ memory }) => memory.usedBytes),
  gauge('hotblob_memory_limit_bytes', 'The memory limit.', ({ memory }) => memory.limitBytes),
  gauge('hotblob_memory_soft_bytes', 'Where constrained begins.', ({ memory }) => memory.softBytes),
  gauge('hotblob_memory_hard_bytes', 'Where critical begins.', ({ memory }) => memory.hardBytes),
  gauge('hotblob_memory_headroom_bytes', 'Soft to hard watermark.', ({ memory }) => memory.headroomBytes),
];

/** Of servers made by `createServer`. */
export const SERVER_METRICS: readonly Definition<ServerStats>[] = [
  {
    name: 'hotblob_connections',
    help: 'Connections open, by what they speak.',
    type: 'gauge',
    samples: ({ connections }, labels) => samplesOf('protocol', connections, labels),
  },
  {
    name: 'hotblob_connections_total',
    help: 'Connections so far, by what they spoke.',
    type: 'counter',
    samples: ({ accepted }, labels) => samplesOf('protocol', accepted, labels),
  },
  {
    name: 'hotblob_connections_retired_total',
    help: 'Connections whose client was asked to go, by GOAWAY or Connection: close.',
    type: 'counter',
    samples: ({ retired }, labels) => samplesOf('protocol', retired, labels),
  },
  gauge('hotblob_http2_streams', 'Streams open.', ({ openStreams }) => openStreams),
  counter('hotblob_http2_streams_total', 'Streams so far.', ({ streams }) => streams),
  counter('hotblob_http2_resets_total', 'Streams that ended in a reset.', ({ resets }) => resets),
  {
    name: 'hotblob_cut_off_total',
    help: 'Connections and streams that were cut off, by reason.',
    type: 'counter',
    samples: ({ cutOff }, labels) => samplesOf('reason', cutOff, labels),
  },
];

/** Of stores; each exports what it knows. */
export const STORE_METRICS: readonly Definition<StoreStats>[] = [
  gauge('hotblob_store_artifacts', 'Artifacts kept.', ({ artifacts }) => artifacts),
  gauge('hotblob_store_bytes', 'Bytes that count against the limit.', ({ bytes }) => bytes),
  gauge('hotblob_store_limit_bytes', 'What the store may hold.', ({ maxBytes }) => maxBytes),
  counter('hotblob_store_evicted_total', 'Artifacts that have made room for others.', ({ evicted }) => evicted),
  {
    name: 'hotblob_store_remote',
    help: 'Whether the store behind this one is asked (closed), left alone (open) or tried again: 1 for what holds.',
    type: 'gauge',
    samples: ({ remote }, labels) =>
      remote === undefined ? [] : stateSamples('state', BREAKER_STATES, remote, labels),
  },
  gauge('hotblob_store_flights', 'Artifacts that come in from the store behind.', ({ flights }) => flights),
  gauge('hotblob_store_remembered_misses', 'Misses that are remembered.', (stats) => stats.rememberedMisses),
  gauge('hotblob_store_queued', 'Keys that wait for the store behind.', ({ queued }) => queued),
  counter('hotblob_store_dropped_total', 'Keys that it will not get.', ({ dropped }) => dropped),
  {
    name: 'hotblob_upstream_requests_total',
    help: 'Requests to another cache, by operation and outcome.',
    type: 'counter',
    samples: ({ requests = [] }, labels) =>
      requests.map(({ operation, outcome, count }) => ({ labels: { ...labels, operation, outcome }, value: count })),
  },
  {
    name: 'hotblob_upstream_latency_seconds',
    help: 'From a request to another cache to the head of its answer.',
    type: 'histogram',
    samples: ({ latency }, labels) =>
      latency === undefined ? [] : histogramSamples('hotblob_upstream_latency_seconds', latency, labels),
  },
];

function gauge<Stats>(name: string, help: string, read: (stats: Stats) => number | undefined): Definition<Stats> {
  return { name, help, type: 'gauge', samples: (stats, labels) => maybe(read(stats), labels) };
}

function counter<Stats>(name: string, help: string, read: (stats: Stats) => number | undefined): Definition<Stats> {
  return { ...gauge(name, help, read), type: 'counter' };
}

function sizeName(maxBytes: number): string {
  if (maxBytes === Number.POSITIVE_INFINITY) return '+Inf';
  return maxBytes < MIB ? `${maxBytes / KIB}KiB` : `${maxBytes / MIB}MiB`;
}
