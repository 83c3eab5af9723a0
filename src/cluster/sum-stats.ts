import type { StoreStats } from '../contract/store.js';
import type { HandlerStats, MemoryStats, ResponseCount, SizeClassLatency } from '../handler/stats.js';
import type { TrafficCount } from '../handler/traffic.js';
import type { ServerStats } from '../server/stats.js';
import { definedOnly } from '../util/defined-only.js';
import type { HistogramSnapshot } from '../util/histogram.js';
import { mapValues } from '../util/map-values.js';

/** Measurements of one process. */
export interface ProcessStats {
  /** Process id. */
  readonly pid: number;
  /** Time since the start of the process. */
  readonly uptimeSeconds: number;
  /** Number of responses of all handlers. */
  readonly responses: number;
  /** Number of responses in flight. */
  readonly active: number;
  /** Number of open connections. */
  readonly connections: number;
  /** Processor time in seconds. */
  readonly cpuSeconds: number;
  /** 99th percentile of the event loop delay in the last second, in milliseconds. */
  readonly eventLoopDelayMs: number;
  /** Resident memory in bytes. It includes mapped pages of artifacts. */
  readonly residentBytes: number;
  /** Memory of JavaScript objects in bytes. */
  readonly heapBytes: number;
}

/** Statistics by the names that the application gave to its handlers, servers and stores. */
export interface NamedStats {
  /** Statistics of handlers and senders. */
  readonly handlers: Readonly<Record<string, HandlerStats>>;
  /** Statistics of servers. */
  readonly servers: Readonly<Record<string, ServerStats>>;
  /** Statistics of stores. */
  readonly stores: Readonly<Record<string, StoreStats>>;
}

/** Statistics of one process at one moment. */
export interface Snapshot extends NamedStats {
  readonly process: ProcessStats;
}

/** Statistics of all processes. */
export interface ClusterTotals extends NamedStats {
  /** Time since the start of the parent. */
  readonly uptimeSeconds: number;
  /** The processes that are alive. */
  readonly processes: readonly ProcessStats[];
  /** Line that says which values are missing or old; undefined if none are. */
  readonly note: string | undefined;
}

/**
 * Returns the sum of the statistics of several processes. Counters, limits and resources in use are added. For values that
 * all processes share, such as the memory of the host and the size of the store, the largest value is used.
 */
export function sumStats(stats: readonly NamedStats[]): NamedStats {
  return {
    handlers: sumNamed(
      stats.map(({ handlers }) => handlers),
      addHandlers,
    ),
    servers: sumNamed(
      stats.map(({ servers }) => servers),
      addNumbers,
    ),
    stores: sumNamed(
      stats.map(({ stores }) => stores),
      addStores,
    ),
  };
}

/** Returns the counters of a process that has ended. All other values are such that a sum with them does not change. */
export function countersOf({ handlers, servers, stores }: NamedStats): NamedStats {
  return {
    handlers: mapValues(handlers, (stats) => ({ ...stats, ...NOTHING_IN_USE })),
    servers: mapValues(servers, (stats) => ({
      ...stats,
      connections: { unknown: 0, http1: 0, http2: 0 },
      maxConnections: 0,
      openStreams: 0,
    })),
    stores: mapValues(stores, ({ evicted, expired, corrupt, dropped, unreplicated, requests, latency }) => ({
      evicted,
      expired,
      corrupt,
      dropped,
      unreplicated,
      requests,
      latency,
    })),
  };
}

const NOTHING_IN_USE = {
  active: 0,
  mapper: undefined,
  copiesResident: false,
  openFiles: 0,
  maxOpenFiles: 0,
  mappings: 0,
  mappedBytes: 0,
  maxMappedBytes: 0,
  pooledBytes: 0,
  idlePooledBytes: 0,
  maxPooledBytes: 0,
  waitingForBuffers: 0,
  pressure: 'normal',
  memory: {
    usedBytes: undefined,
    limitBytes: undefined,
    softBytes: undefined,
    hardBytes: undefined,
    headroomBytes: 0,
    sensor: undefined,
  },
} as const satisfies Partial<HandlerStats>;

function addHandlers(a: HandlerStats, b: HandlerStats): HandlerStats {
  return {
    responses: addNumbers(a.responses, b.responses),
    responseCounts: addGroups(a.responseCounts, b.responseCounts, responseKey),
    active: a.active + b.active,
    hits: a.hits + b.hits,
    misses: a.misses + b.misses,
    writers: addGroups(a.writers, b.writers, ({ scope, subject }) => `${scope} ${subject}`),
    traffic: addTraffic(a.traffic, b.traffic),
    receivedBytes: a.receivedBytes + b.receivedBytes,
    latency: addLatencies(a.latency, b.latency),
    sent: addNumbers(a.sent, b.sent),
    unmapped: addNumbers(a.unmapped, b.unmapped),
    mapper: a.mapper ?? b.mapper,
    copiesResident: a.copiesResident || b.copiesResident,
    openFiles: a.openFiles + b.openFiles,
    maxOpenFiles: a.maxOpenFiles + b.maxOpenFiles,
    mappings: a.mappings + b.mappings,
    mappedBytes: a.mappedBytes + b.mappedBytes,
    maxMappedBytes: a.maxMappedBytes + b.maxMappedBytes,
    pooledBytes: a.pooledBytes + b.pooledBytes,
    idlePooledBytes: a.idlePooledBytes + b.idlePooledBytes,
    maxPooledBytes: a.maxPooledBytes + b.maxPooledBytes,
    waitingForBuffers: a.waitingForBuffers + b.waitingForBuffers,
    pressure: worst(LEVELS, a.pressure, b.pressure),
    memory: mergeMemory(a.memory, b.memory),
  };
}

/** Returns the larger values: all processes of a host measure the same memory, at slightly different times. */
function mergeMemory(a: MemoryStats, b: MemoryStats): MemoryStats {
  return {
    usedBytes: largest(a.usedBytes, b.usedBytes),
    limitBytes: largest(a.limitBytes, b.limitBytes),
    softBytes: largest(a.softBytes, b.softBytes),
    hardBytes: largest(a.hardBytes, b.hardBytes),
    headroomBytes: Math.max(a.headroomBytes, b.headroomBytes),
    sensor: a.sensor ?? b.sensor,
  };
}

function addStores(a: StoreStats, b: StoreStats): StoreStats {
  const sum: { readonly [Name in keyof Required<StoreStats>]: StoreStats[Name] } = {
    artifacts: largest(a.artifacts, b.artifacts),
    bytes: largest(a.bytes, b.bytes),
    maxBytes: largest(a.maxBytes, b.maxBytes),
    evicted: added(a.evicted, b.evicted),
    expired: added(a.expired, b.expired),
    corrupt: added(a.corrupt, b.corrupt),
    remote: a.remote && b.remote ? worst(BREAKER_STATES, a.remote, b.remote) : (a.remote ?? b.remote),
    flights: added(a.flights, b.flights),
    rememberedMisses: added(a.rememberedMisses, b.rememberedMisses),
    queued: added(a.queued, b.queued),
    dropped: added(a.dropped, b.dropped),
    unreplicated: added(a.unreplicated, b.unreplicated),
    requests:
      a.requests && b.requests
        ? addGroups(a.requests, b.requests, ({ operation, outcome }) => `${operation} ${outcome}`)
        : (a.requests ?? b.requests),
    latency: a.latency && b.latency ? addHistograms(a.latency, b.latency) : (a.latency ?? b.latency),
  };
  return definedOnly(sum);
}

const LEVELS = ['normal', 'constrained', 'critical'] as const;
const BREAKER_STATES = ['closed', 'half-open', 'open'] as const;

function worst<Name extends string>(names: readonly Name[], a: Name, b: Name): Name {
  return names.indexOf(a) >= names.indexOf(b) ? a : b;
}

function responseKey({ protocol, operation, status, failure, source }: ResponseCount): string {
  return `${protocol} ${operation} ${status} ${failure} ${source}`;
}

/** Adds the counts of groups that have the same key. */
function addGroups<Group extends { readonly count: number }>(
  a: readonly Group[],
  b: readonly Group[],
  keyOf: (group: Group) => string,
): Group[] {
  const groups = new Map(a.map((group) => [keyOf(group), group]));
  for (const group of b) {
    const count = (groups.get(keyOf(group))?.count ?? 0) + group.count;
    groups.set(keyOf(group), { ...group, count });
  }
  return [...groups.values()];
}

function addTraffic(a: readonly TrafficCount[], b: readonly TrafficCount[]): TrafficCount[] {
  const keyOf = ({ protocol, namespace }: TrafficCount): string =>
    `${protocol} ${namespace === undefined ? '' : `/${namespace}`}`;
  const sums = new Map(a.map((each) => [keyOf(each), each]));
  for (const each of b) {
    const other = sums.get(keyOf(each));
    sums.set(keyOf(each), other === undefined ? each : { ...each, ...addNumbers(numbersOf(other), numbersOf(each)) });
  }
  return [...sums.values()];
}

function numbersOf({ responses, errors, sentBytes, receivedBytes }: TrafficCount) {
  return { responses, errors, sentBytes, receivedBytes };
}

function addLatencies(a: readonly SizeClassLatency[], b: readonly SizeClassLatency[]): SizeClassLatency[] {
  const others = new Map(b.map((each) => [each.maxBytes, each]));
  return a.map((each) => {
    const other = others.get(each.maxBytes);
    if (other === undefined) return each;
    return {
      maxBytes: each.maxBytes,
      firstByte: addHistograms(each.firstByte, other.firstByte),
      duration: addHistograms(each.duration, other.duration),
    };
  });
}

function addHistograms(a: HistogramSnapshot, b: HistogramSnapshot): HistogramSnapshot {
  return { counts: a.counts.map((count, index) => count + (b.counts[index] ?? 0)), sum: a.sum + b.sum };
}

/** Adds objects whose members are numbers or nested objects of numbers. A missing member counts as 0. */
function addNumbers<T extends object>(a: T, b: T): T {
  const sum = { ...a } as Record<string, unknown>;
  for (const [name, value] of Object.entries(b)) {
    const other = sum[name];
    if (other === undefined) sum[name] = value;
    else if (typeof value === 'number') sum[name] = Number(other) + value;
    else sum[name] = addNumbers(other as object, value as object); // both have the type of the member
  }
  return sum as T; // has the members of both
}

function added(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : a + (b ?? 0);
}

function largest(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined ? (a ?? b) : Math.max(a, b);
}

function sumNamed<Stats>(
  all: readonly Readonly<Record<string, Stats>>[],
  add: (a: Stats, b: Stats) => Stats,
): Record<string, Stats> {
  const sums = new Map<string, Stats>();
  for (const [name, stats] of all.flatMap((each) => Object.entries(each))) {
    const sum = sums.get(name);
    sums.set(name, sum === undefined ? stats : add(sum, stats));
  }
  return Object.fromEntries(sums);
}
