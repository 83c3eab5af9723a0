import type { MemoryPressureProvider } from '../memory/pressure.js';
import type { OperationKind, Protocol } from '../protocols/protocol.js';
import {
  type BytesBySource,
  type Count,
  mainSource,
  type SourceName,
  type Totals,
  totalBytes,
  type UnmappedReason,
} from '../send/tally.js';
import { Histogram, type HistogramSnapshot } from '../util/histogram.js';
import { Traffic, type TrafficCount, type TrafficRecord } from './traffic.js';
import { type WriterCount, Writers } from './writers.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Statistics of a handler or sender: counters since its creation, and its current use of resources. */
export interface HandlerStats {
  /** Number of responses by status code. The key 0 counts the responses that ended before their status was known. */
  readonly responses: Readonly<Record<number, number>>;
  /** Number of responses by protocol, operation, status code and source. */
  readonly responseCounts: readonly ResponseCount[];
  /** Number of responses in flight. */
  readonly active: number;
  /** Number of lookups for GET and HEAD that found an artifact. */
  readonly hits: number;
  /**
   * Number of lookups for GET and HEAD that found no artifact, including requests that were then passed to the host.
   */
  readonly misses: number;
  /** Number of successful uploads by client, for clients that the access policy names (`subject`). */
  readonly writers: readonly WriterCount[];
  /** Number of responses and bytes by protocol and namespace. */
  readonly traffic: readonly TrafficCount[];
  /** Number of bytes of request bodies that the handler has read: uploads, also those that failed. */
  readonly receivedBytes: number;
  /** Duration of complete downloads, by the number of bytes sent. */
  readonly latency: readonly SizeClassLatency[];
  /** Number of windows and bytes that have left the process, by source. */
  readonly sent: Readonly<Record<SourceName, Readonly<Count>>>;
  /** Number of responses and windows that were not mapped, by reason. */
  readonly unmapped: Readonly<Partial<Record<UnmappedReason, number>>>;
  /** Native binding that maps files; undefined if none is available. */
  readonly mapper: 'mmap-io' | 'libc' | undefined;
  /** Whether resident pages are copied without waiting for a disk (preadv2(2) with RWF_NOWAIT). */
  readonly copiesResident: boolean;
  /** Number of open descriptors, including descriptors that are being opened, and one for each upload in flight. */
  readonly openFiles: number;
  /** Limit on `openFiles`. */
  readonly maxOpenFiles: number;
  /** Number of mappings. */
  readonly mappings: number;
  /** Number of mapped bytes in flight. */
  readonly mappedBytes: number;
  /** Limit on `mappedBytes` under the current memory pressure. */
  readonly maxMappedBytes: number;
  /** Total size of the pooled buffers and small bodies in use, in bytes. */
  readonly pooledBytes: number;
  /** Total size of the pooled buffers and small bodies that are kept for reuse, in bytes. */
  readonly idlePooledBytes: number;
  /** Limit on the sum of `pooledBytes` and `idlePooledBytes`. */
  readonly maxPooledBytes: number;
  /** Number of responses that wait for a buffer. */
  readonly waitingForBuffers: number;
  /** Memory pressure level. */
  readonly pressure: 'normal' | 'constrained' | 'critical';
  /** Measurements from which the memory pressure level is derived. */
  readonly memory: MemoryStats;
}

/** Object with statistics: a handler, a sender or a server. */
export interface StatsSource<Stats> {
  /** Returns the current statistics, without I/O, or a promise if they are those of several processes. */
  stats(): Stats | Promise<Stats>;
  /** Handler, sender or server of this process whose statistics these include. Default: the source itself. */
  readonly origin?: object | undefined;
}

/** Number of responses with the same protocol, operation, status codes and source. */
export interface ResponseCount {
  /** Name of the protocol. `none` if no protocol matched, or if a route of the host sent the artifact. */
  readonly protocol: string;
  /** Requested operation. `send`: a route of the host sent the artifact. `none`: no protocol matched. */
  readonly operation: OperationKind | 'send' | 'none';
  /** HTTP status code; 0 if the response ended before its status was known. */
  readonly status: number;
  /** HTTP status code of the failure, as in `ResponseReport`. */
  readonly failure: number | undefined;
  /** Source from which most bytes of the body came; `none` if no bytes of an artifact were sent. */
  readonly source: SourceName | 'none';
  /** Number of responses. */
  readonly count: number;
}

/** Duration of complete downloads of one size class. */
export interface SizeClassLatency {
  /** Maximum number of bytes that a download of this class has sent; Infinity for the last class. */
  readonly maxBytes: number;
  /** Time from the request to the response headers. */
  readonly firstByte: HistogramSnapshot;
  /** Time from the request until the kernel has accepted the last byte. */
  readonly duration: HistogramSnapshot;
}

/** Measurements of the memory pressure provider. A field is undefined if the provider does not report it. */
export interface MemoryStats {
  /** Number of bytes in use that count towards the limit. */
  readonly usedBytes: number | undefined;
  /** Memory limit in bytes. */
  readonly limitBytes: number | undefined;
  /** Value of `usedBytes` from which the level is `constrained`. */
  readonly softBytes: number | undefined;
  /** Value of `usedBytes` from which the level is `critical`. */
  readonly hardBytes: number | undefined;
  /** Value of {@link MemoryPressureProvider.headroomBytes}. */
  readonly headroomBytes: number;
  /** Source of the measurements, such as a cgroup. */
  readonly sensor: string | undefined;
}

/** Upper bounds of the size classes of downloads, in bytes sent. */
const SIZE_CLASSES = [64 * KIB, MIB, 16 * MIB, Number.POSITIVE_INFINITY] as const;

/** Response that has ended. {@link Counters} counts it. */
export interface EndedResponse extends TrafficRecord {
  readonly operation: ResponseCount['operation'];
  readonly complete: boolean;
  readonly subject: string | undefined;
  readonly scope: string;
  /** Number of bytes sent, by source. */
  readonly tally: { readonly bytes: Readonly<BytesBySource> };
  /** Time of the request, by `performance.now()`. */
  readonly startedAt: number;
  /** Time at which the headers of an artifact were sent, by `performance.now()`. */
  readonly headersAt: number;
}

interface ResponseGroup {
  readonly protocol: Protocol | undefined;
  readonly operation: ResponseCount['operation'];
  readonly status: number;
  readonly failure: number | undefined;
  readonly source: SourceName | undefined;
  count: number;
}

/** Counters of one handler or sender. */
export class Counters implements Totals {
  readonly sent = { bytes: noCount(), mapped: noCount(), copied: noCount(), read: noCount(), stream: noCount() };
  readonly unmapped = new Map<UnmappedReason, number>();
  active = 0;
  hits = 0;
  misses = 0;
  receivedBytes = 0;
  readonly #writers = new Writers();
  readonly #traffic = new Traffic();
  readonly #groups = new Map<string, ResponseGroup>();
  #lastGroup: ResponseGroup = {
    protocol: undefined,
    operation: 'none',
    status: 0,
    failure: undefined,
    source: undefined,
    count: 0,
  };
  readonly #latency = SIZE_CLASSES.map((maxBytes) => ({
    maxBytes,
    firstByte: new Histogram(),
    duration: new Histogram(),
  }));

  /** Counts a response that has ended. */
  countResponse(record: EndedResponse): void {
    const source = mainSource(record.tally.bytes);
    const { protocol, operation, status, failure } = record;
    let group = this.#lastGroup;
    // Most responses belong to the same group as the previous response. For these, the key of the map does not have to
    // be built.
    if (
      group.protocol !== protocol ||
      group.operation !== operation ||
      group.status !== status ||
      group.failure !== failure ||
      group.source !== source
    ) {
      group = this.#group(record, source);
      this.#lastGroup = group;
    }
    group.count++;
    this.#traffic.count(record, totalBytes(record.tally.bytes));
    if (operation === 'upload' && status < 300 && record.subject !== undefined) {
      this.#writers.count(record.subject, record.scope);
    }
    if (source !== undefined && record.complete) this.#addLatency(record);
  }

  snapshot(): Pick<
    HandlerStats,
    | 'responses'
    | 'responseCounts'
    | 'active'
    | 'hits'
    | 'misses'
    | 'writers'
    | 'traffic'
    | 'receivedBytes'
    | 'latency'
    | 'sent'
    | 'unmapped'
  > {
    const responseCounts = Array.from(this.#groups.values(), ({ protocol, source, ...rest }) => ({
      protocol: protocol?.name ?? 'none',
      source: source ?? ('none' as const),
      ...rest,
    }));
    const responses: Record<number, number> = {};
    for (const { status, count } of responseCounts) responses[status] = (responses[status] ?? 0) + count;
    return {
      responses,
      responseCounts,
      active: this.active,
      hits: this.hits,
      misses: this.misses,
      writers: this.#writers.snapshot(),
      traffic: this.#traffic.snapshot(),
      receivedBytes: this.receivedBytes,
      latency: this.#latency.map(({ maxBytes, firstByte, duration }) => ({
        maxBytes,
        firstByte: firstByte.snapshot(),
        duration: duration.snapshot(),
      })),
      sent: structuredClone(this.sent),
      unmapped: Object.fromEntries(this.unmapped),
    };
  }

  #group({ protocol, operation, status, failure }: EndedResponse, source: SourceName | undefined): ResponseGroup {
    const key = `${protocol?.name} ${operation} ${status} ${failure} ${source}`;
    let group = this.#groups.get(key);
    if (group === undefined) {
      group = { protocol, operation, status, failure, source, count: 0 };
      this.#groups.set(key, group);
    }
    return group;
  }

  #addLatency({ tally, startedAt, headersAt }: EndedResponse): void {
    const sent = totalBytes(tally.bytes);
    for (const { maxBytes, firstByte, duration } of this.#latency) {
      if (sent > maxBytes) continue;
      firstByte.add(headersAt - startedAt);
      duration.add(performance.now() - startedAt);
      return;
    }
  }
}

/** Returns the measurements of a provider. A field that the provider does not report is `undefined`. */
export function memoryStats(memory: MemoryPressureProvider): MemoryStats {
  const { usedBytes, limitBytes, softBytes, hardBytes, headroomBytes, sensor } = memory;
  return { usedBytes, limitBytes, softBytes, hardBytes, headroomBytes, sensor };
}

function noCount(): Count {
  return { windows: 0, bytes: 0 };
}
