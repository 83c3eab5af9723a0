import type { StoreStats } from '../contract/store.js';
import type { HandlerStats } from '../handler/stats.js';
import type { TrafficCount } from '../handler/traffic.js';
import type { ServerStats } from '../server/stats.js';

/** Statistics at one moment. */
export interface HistorySample {
  readonly handler: HandlerStats;
  readonly server?: ServerStats | undefined;
  readonly store?: StoreStats | undefined;
  readonly processes?: readonly { readonly eventLoopDelayMs: number }[] | undefined;
}

/** Values that are kept of a sample, by the name of their column. All are integers. */
export type Columns = Readonly<Record<string, number>>;

/**
 * Beginnings of the names of the columns that are current values. The others count from the start of the server, and have no value
 * before the first event. Of a current value, a long interval keeps the largest.
 */
const CURRENT = ['now/', 'memory/'];

export function isCurrent(name: string): boolean {
  return CURRENT.some((start) => name.startsWith(start));
}

/** Beginning of the names of the columns of a namespace, whose number depends on the clients. */
export const NAMESPACE_COLUMNS = 'namespace/';

const BREAKER_STATES = ['closed', 'half-open', 'open'];

/** Returns the values that are kept of a sample. */
export function columnsOf({ handler, server, store = {}, processes = [] }: HistorySample): Columns {
  const columns = new Map<string, number>();
  const add = (name: string, value: number): void => void columns.set(name, (columns.get(name) ?? 0) + value);
  add('hits', handler.hits);
  add('misses', handler.misses);
  add('received', handler.receivedBytes);
  for (const [source, { bytes }] of Object.entries(handler.sent)) add(`sent/${source}`, bytes);
  for (const { status, failure, count } of handler.responseCounts) add(`status/${failure ?? status}`, count);
  for (const { firstByte } of handler.latency) {
    for (const [bucket, count] of firstByte.counts.entries()) if (count > 0) add(`first-byte/${bucket}`, count);
  }
  for (const traffic of handler.traffic) addTraffic(traffic, add);
  add('now/active', handler.active);
  const { usedBytes, softBytes, hardBytes } = handler.memory;
  if (usedBytes !== undefined) add('memory/used', usedBytes);
  if (softBytes !== undefined) add('memory/soft', softBytes);
  if (hardBytes !== undefined) add('memory/hard', hardBytes);
  if (server !== undefined)
    add(
      'now/connections',
      Object.values(server.connections).reduce((sum, each) => sum + each, 0),
    );
  if (store.evicted !== undefined) add('evicted', store.evicted);
  if (store.remote !== undefined) add('now/breaker', BREAKER_STATES.indexOf(store.remote));
  for (const { outcome, count } of store.requests ?? []) add(`upstream/${outcome}`, count);
  if (processes.length > 0) {
    add('now/processes', processes.length);
    add('now/delay', Math.round(1000 * Math.max(...processes.map(({ eventLoopDelayMs }) => eventLoopDelayMs))));
  }
  return Object.fromEntries(columns);
}

function addTraffic(traffic: TrafficCount, add: (name: string, value: number) => void): void {
  const { protocol, namespace, responses, errors, sentBytes, receivedBytes } = traffic;
  add(`protocol/${protocol}/responses`, responses);
  add(`protocol/${protocol}/errors`, errors);
  add(`protocol/${protocol}/sent`, sentBytes);
  add(`protocol/${protocol}/received`, receivedBytes);
  if (namespace === undefined) return;
  const name = `${NAMESPACE_COLUMNS}${protocol}/${namespace}`;
  add(`${name}/responses`, responses);
  add(`${name}/errors`, errors);
  add(`${name}/bytes`, sentBytes + receivedBytes);
}
