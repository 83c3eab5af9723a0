import { formatDuration } from '../../util/units.js';
import type { ResidencyMap } from '../residency.js';
import type { Sample } from '../statistics.js';
import { byId, element, setPairs, table } from './dom.js';
import { bytesText, countText, secondsText } from './format.js';

/** Shows the use of resources. `total` is the total of the residency map. */
export function showPanels(
  { handler, server, store, processes }: Sample,
  total: ResidencyMap['total'] | undefined,
): void {
  showProcesses(processes);
  byId('bounds').replaceChildren(
    limitMeter('Buffer pool', handler.pooledBytes, handler.maxPooledBytes, bytesText),
    limitMeter('Mapped bytes', handler.mappedBytes, handler.maxMappedBytes, bytesText),
    limitMeter('Open files', handler.openFiles, handler.maxOpenFiles, countText),
    ...(server === undefined
      ? []
      : [limitMeter('Connections', sumOf(server.connections), server.maxConnections, countText)]),
    element('p', handler.waitingForBuffers > 0 ? `${countText(handler.waitingForBuffers)} waiting for a buffer` : ''),
  );
  setPairs(
    'connections',
    server === undefined
      ? [['not available', '']]
      : [
          ['HTTP/1.1', countText(server.connections.http1)],
          ['HTTP/2', countText(server.connections.http2)],
          ['Open streams', countText(server.openStreams)],
          ['Streams reset', countText(server.resets)],
          ['Drained', countText(server.drained.http1 + server.drained.http2)],
          ['Terminated', countText(sumOf(server.terminated))],
          ['Refused', countText(server.refused)],
        ],
  );
  setPairs('store', storePairs(store ?? {}, total));
  const reasons = Object.entries(handler.unmapped).toSorted(([, a], [, b]) => b - a);
  setPairs('unmapped', reasons.length > 0 ? reasons.map(([reason, count]) => [reason, countText(count)]) : [['–', '']]);
}

function showProcesses(processes: Sample['processes'] = []): void {
  byId('processes-section').hidden = processes.length === 0;
  const headers = ['Process', 'Up', 'Responses', 'In flight', 'Connections', 'Event-loop delay', 'Memory'];
  const rows = processes.map((each) => [
    String(each.pid),
    formatDuration(each.uptimeSeconds),
    countText(each.responses),
    countText(each.active),
    countText(each.connections),
    secondsText(each.eventLoopDelayMs / 1000),
    bytesText(each.residentBytes),
  ]);
  byId('processes').replaceChildren(table('Measurements of each process', headers, rows));
}

function sumOf(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

type Store = NonNullable<Sample['store']>;

function storePairs(store: Store, total: ResidencyMap['total'] | undefined): [string, string][] {
  const {
    artifacts,
    bytes,
    maxBytes,
    evicted,
    expired,
    corrupt,
    remote,
    queued,
    dropped,
    requests = [],
    flights,
  } = store;
  const count = (value: number | undefined): string | undefined => (value === undefined ? undefined : countText(value));
  const size = (value: number | undefined): string | undefined => (value === undefined ? undefined : bytesText(value));
  const pairs: [string, string | undefined][] = [
    ['Artifacts', count(artifacts ?? total?.artifacts)],
    ['Size', size(bytes ?? total?.bytes)],
    ['Limit', size(maxBytes)],
    ['Evicted', count(evicted)],
    ['Expired', count(expired)],
    ['Corrupt', corrupt === 0 ? undefined : count(corrupt)],
    ['Upstream: circuit breaker', remote],
    ...(['ok', 'missing', 'failed'] as const).map((outcome): [string, string | undefined] => [
      `Upstream: ${outcome}`,
      requests.length === 0 ? undefined : countText(requestsWith(requests, outcome)),
    ]),
    ['Downloads in flight', count(flights)],
    ['Queued uploads', count(queued)],
    ['Dropped uploads', dropped === 0 ? undefined : count(dropped)],
  ];
  const known = pairs.filter((pair): pair is [string, string] => pair[1] !== undefined);
  return known.length > 0 ? known : [['not available', '']];
}

function requestsWith(requests: NonNullable<Store['requests']>, wanted: string): number {
  return requests.filter(({ outcome }) => outcome === wanted).reduce((sum, { count }) => sum + count, 0);
}

function limitMeter(name: string, used: number, max: number, text: (value: number) => string): HTMLElement {
  const container = element('div', '', 'bound');
  const label = element('div');
  label.append(element('span', name), element('span', `${text(used)} of ${text(max)}`));
  const meter = element('meter');
  meter.max = max;
  meter.high = max * 0.8;
  meter.value = used;
  meter.setAttribute('aria-label', `${name}: ${text(used)} of ${text(max)}`);
  container.append(label, meter);
  return container;
}
