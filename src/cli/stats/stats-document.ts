import type { StatsDocument } from '../serve/status-pages.js';

export type { StatsDocument } from '../serve/status-pages.js';

type Shape = 'number' | 'string' | 'list' | { readonly [name: string]: Shape };

const COUNT = { windows: 'number', bytes: 'number' } as const;
const HTTP = { http1: 'number', http2: 'number' } as const;

/** What every version tells. */
const SHAPE = {
  version: 'string',
  uptimeSeconds: 'number',
  handler: {
    responses: {},
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
  server: { connections: { ...HTTP, unknown: 'number' }, openStreams: 'number', resets: 'number', cutOff: {} },
  store: {},
} as const satisfies Shape;

/** Whether a server has answered with what is known about `GET /_hotblob/stats`. What it tells besides is let be. */
export function isStatsDocument(value: unknown): value is StatsDocument {
  return fits(value, SHAPE);
}

function fits(value: unknown, shape: Shape): boolean {
  if (shape === 'list') return Array.isArray(value);
  if (typeof shape === 'string') return typeof value === shape;
  if (typeof value !== 'object' || value === null) return false;
  const found = new Map(Object.entries(value));
  return Object.entries(shape).every(([name, part]) => fits(found.get(name), part));
}
