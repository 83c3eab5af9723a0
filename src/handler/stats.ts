import type { MemoryPressureProvider } from '../memory/pressure.js';
import type { OperationKind, Protocol } from '../protocols/protocol.js';
import { type Count, mainSource, type SourceName, type Totals, type UnmappedReason } from '../send/tally.js';
import { Histogram, type HistogramSnapshot } from '../util/histogram.js';
import type { ResponseRecord } from './response-record.js';

const KIB = 1024;
const MIB = 1024 * KIB;

/** What a handler has done since its start, and what is in use now. */
export interface HandlerStats {
  /** Responses by status; 0 for those that ended before there was one. */
  readonly responses: Readonly<Record<number, number>>;
  /** The same responses, by all that they are told apart by. */
  readonly responseCounts: readonly ResponseCount[];
  /** Responses under way. */
  readonly active: number;
  /** Lookups that found an artifact: GET and HEAD, sent or only described. */
  readonly hits: number;
  /** Lookups that found none, also those that were left to whoever comes next. */
  readonly misses: number;
  /** How long downloads took that have left to their end, by how much of their artifact was sent. */
  readonly latency: readonly SizeClassLatency[];
  /** Windows and bytes that have left the process, by source. */
  readonly sent: Readonly<Record<SourceName, Readonly<Count>>>;
  /** Why responses, or single windows of them, were not mapped. */
  readonly unmapped: Readonly<Partial<Record<UnmappedReason, number>>>;
  /** The binding that maps; undefined where nothing is mapped. */
  readonly mapper: 'mmap-io' | 'libc' | undefined;
  /** Whether bytes are copied from the page cache without waiting for a disk (preadv2 with RWF_NOWAIT). */
  readonly copiesResident: boolean;
  /** Descriptors open, or about to be. */
  readonly openFiles: number;
  /** How many there may be. */
  readonly maxOpenFiles: number;
  /** Mappings alive. */
  readonly mappings: number;
  /** Bytes of mappings that are being sent. */
  readonly mappedBytes: number;
  /** How many there may be, while memory is as it is. */
  readonly maxMappedBytes: number;
  /** Bytes of buffers that are being filled or sent. */
  readonly pooledBytes: number;
  /** Bytes of buffers that wait for their next use. */
  readonly idlePooledBytes: number;
  /** How many both may be together. */
  readonly maxPooledBytes: number;
  /** Responses that wait for a buffer. */
  readonly waitingForBuffers: number;
  /** How short memory is now. */
  readonly pressure: 'normal' | 'constrained' | 'critical';
  /** What says so. */
  readonly memory: MemoryStats;
}

/** Something that counts: a handler, a sender of routes, a server. */
export interface Counting<Stats> {
  /** What it has counted so far, and what is in use now. */
  stats(): Stats;
}

/** Responses that were alike. */
export interface ResponseCount {
  /** The name of the protocol; `none` for what no protocol has recognised, and for what a host's own route sent. */
  readonly protocol: string;
  /** What was asked for; `send` for what a host's own route sent, `none` for what has not been recognised. */
  readonly operation: OperationKind | 'send' | 'none';
  /** What was answered; 0 where the response ended before one was chosen. */
  readonly status: number;
  /** Where most of the body came from; `none` where no byte of an artifact has left. */
  readonly source: SourceName | 'none';
  /** How many. */
  readonly count: number;
}

/** Times of downloads that sent about as much. */
export interface SizeClassLatency {
  /** More than the class before sends at most, and at most so many bytes; Infinity for the last one. */
  readonly maxBytes: number;
  /** From the request to the headers, which leave with the first window. */
  readonly firstByte: HistogramSnapshot;
  /** From the request to the last byte that the kernel has taken. */
  readonly duration: HistogramSnapshot;
}

/** What is known of the memory that this process may use; undefined where a provider does not tell. */
export interface MemoryStats {
  /** What counts against the limit, in bytes. */
  readonly usedBytes: number | undefined;
  /** In bytes. */
  readonly limitBytes: number | undefined;
  /** Where `constrained` begins, in bytes. */
  readonly softBytes: number | undefined;
  /** Where `critical` begins, in bytes. */
  readonly hardBytes: number | undefined;
  /** Bytes between the soft and the hard watermark, 64 MiB to 512 MiB. */
  readonly headroomBytes: number;
  /** Where the figures come from. */
  readonly sensor: string | undefined;
}

/** What divides downloads by what they send, in bytes. */
const SIZE_CLASSES = [64 * KIB, MIB, 16 * MIB, Number.POSITIVE_INFINITY] as const;

interface Alike {
  readonly protocol: Protocol | undefined;
  readonly operation: ResponseCount['operation'];
  readonly status: number;
  readonly source: SourceName | undefined;
  count: number;
}

/** The counters of one handler. */
export class Stats implements Totals {
  readonly sent = { bytes: none(), mapped: none(), copied: none(), read: none(), stream: none() };
  readonly unmapped = new Map<UnmappedReason, number>();
  active = 0;
  hits = 0;
  misses = 0;
  readonly #responses = new Map<string, Alike>();
  #latest: Alike = { protocol: undefined, operation: 'none', status: 0, source: undefined, count: 0 };
  readonly #latency = SIZE_CLASSES.map((maxBytes) => ({
    maxBytes,
    firstByte: new Histogram(),
    duration: new Histogram(),
  }));

  /** Counts a response that is over. */
  answered(record: ResponseRecord): void {
    const source = mainSource(record.bytes);
    const { protocol, operation, status } = record;
    let alike = this.#latest;
    // Most responses are like the one before.
    if (
      alike.protocol !== protocol ||
      alike.operation !== operation ||
      alike.status !== status ||
      alike.source !== source
    ) {
      alike = this.#alike(protocol, operation, status, source);
      this.#latest = alike;
    }
    alike.count++;
    if (source !== undefined && record.complete) this.#time(record);
  }

  snapshot(): Pick<
    HandlerStats,
    'responses' | 'responseCounts' | 'active' | 'hits' | 'misses' | 'latency' | 'sent' | 'unmapped'
  > {
    const responseCounts = Array.from(this.#responses.values(), ({ protocol, source, ...rest }) => ({
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
      latency: this.#latency.map(({ maxBytes, firstByte, duration }) => ({
        maxBytes,
        firstByte: firstByte.snapshot(),
        duration: duration.snapshot(),
      })),
      sent: structuredClone(this.sent),
      unmapped: Object.fromEntries(this.unmapped),
    };
  }

  #alike(
    protocol: Protocol | undefined,
    operation: ResponseCount['operation'],
    status: number,
    source: SourceName | undefined,
  ): Alike {
    const name = `${protocol?.name} ${operation} ${status} ${source}`;
    let alike = this.#responses.get(name);
    if (alike === undefined) {
      alike = { protocol, operation, status, source, count: 0 };
      this.#responses.set(name, alike);
    }
    return alike;
  }

  #time({ bytes, startedAt, begunAt }: ResponseRecord): void {
    const sent = bytes.bytes + bytes.mapped + bytes.copied + bytes.read + bytes.stream;
    for (const { maxBytes, firstByte, duration } of this.#latency) {
      if (sent > maxBytes) continue;
      firstByte.add(begunAt - startedAt);
      duration.add(performance.now() - startedAt);
      return;
    }
  }
}

/** Returns the figures of a provider, with `undefined` for those that it does not report. */
export function memoryStats(memory: MemoryPressureProvider): MemoryStats {
  const { usedBytes, limitBytes, softBytes, hardBytes, headroomBytes, sensor } = memory;
  return { usedBytes, limitBytes, softBytes, hardBytes, headroomBytes, sensor };
}

function none(): Count {
  return { windows: 0, bytes: 0 };
}
