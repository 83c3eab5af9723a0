import type { StatsDocument } from '../serve/status-pages.js';

export type { StatsDocument } from '../serve/status-pages.js';

type Shape = 'number' | 'string' | 'list' | { readonly [name: string]: Shape };

const COUNT = { windows: 'number', bytes: 'number' } as const;
const HTTP = { http1: 'number', http2: 'number' } as const;

/** Members of the statistics that `hotblob stats` reads, and their types. */
const SHAPE = {
  version: 'string',
  uptimeSeconds: 'number',
  handler: {
    responses: {},
    responseCounts: 'list',
    active: 'number',
    hits: 'number',
    misses: 'number',
    latency: 'list',
    sent: { bytes: COUNT, mapped: COUNT, copied: COUNT, read: COUNT, stream: COUNT },
    unmapped: {},
    openFiles: 'number',
    maxOpenFiles: 'number',
    mappings: 'number',
    mappedBytes: 'number',
    maxMappedBytes: 'number',
    pooledBytes: 'number',
    idlePooledBytes: 'number',
    maxPooledBytes: 'number',
    waitingForBuffers: 'number',
    pressure: 'string',
    memory: {},
  },
  server: {
    connections: { ...HTTP, unknown: 'number' },
    maxConnections: 'number',
    refused: 'number',
    openStreams: 'number',
    resets: 'number',
    terminated: {},
  },
  store: {},
} as const satisfies Shape;

/** Members of the measurements of a process that `hotblob stats` reads. Only a server with several processes sends them. */
const PROCESS_SHAPE = {
  pid: 'number',
  uptimeSeconds: 'number',
  responses: 'number',
  active: 'number',
  connections: 'number',
  eventLoopDelayMs: 'number',
  residentBytes: 'number',
} as const satisfies Shape;

/** Returns whether a JSON value has the members that `hotblob stats` reads. Other members are ignored. */
export function isStatsDocument(value: unknown): value is StatsDocument {
  if (!matchesShape(value, SHAPE)) return false;
  const { processes = [], note = '' } = value as { processes?: unknown; note?: unknown }; // an object: it has members
  return (
    typeof note === 'string' && Array.isArray(processes) && processes.every((each) => matchesShape(each, PROCESS_SHAPE))
  );
}

function matchesShape(value: unknown, shape: Shape): boolean {
  if (shape === 'list') return Array.isArray(value);
  if (typeof shape === 'string') return typeof value === shape;
  if (typeof value !== 'object' || value === null) return false;
  const members = new Map(Object.entries(value));
  return Object.entries(shape).every(([name, part]) => matchesShape(members.get(name), part));
}
