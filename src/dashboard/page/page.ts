import './page.css';
import { formatDuration } from '../../util/units.js';
import type { ResidencyMap } from '../residency.js';
import { showArtifact } from './artifact.js';
import { Chart } from './chart.js';
import { byId, element, setPairs, setText, table } from './dom.js';
import { bytesText, countText, rateText, secondsText, shareText } from './format.js';
import { ResidencyTreemap } from './residency-treemap.js';
import { type Rates, ratesBetween, type Sample, SOURCES } from './sample.js';

const HISTORY_SECONDS = 300;
/** Tiles show the average of this time, because the values of single seconds fluctuate. */
const TILE_SECONDS = 5;
const MAP_INTERVAL_MS = 5000;

interface Point {
  readonly sample: Sample;
  readonly rates: Rates;
}

const history: Point[] = [];
let bounds: readonly number[] = [];
let latest: Sample | undefined;
let total: ResidencyMap['total'] | undefined;

const colours = { mapped: 'mapped', copied: 'copied', bytes: 'bytes', read: 'read', stream: 'stream' } as const;
const throughput = new Chart('chart-throughput', {
  lines: SOURCES.map((label) => ({ label, colour: colours[label] })),
  text: (value) => `${bytesText(value)}/s`,
  stacked: true,
  binary: true,
  top: 1024 * 1024,
});
const firstByte = new Chart('chart-first-byte', {
  lines: [
    { label: 'median', colour: 'accent' },
    { label: '99%', colour: 'mapped', dashed: true },
  ],
  text: secondsText,
  logFrom: 0.0001,
  top: 0.01,
});
const hits = new Chart('chart-hits', { lines: [{ label: 'hits', colour: 'bytes' }], text: shareText, top: 1 });
const memory = new Chart('chart-memory', {
  lines: [
    { label: 'used', colour: 'accent' },
    { label: 'constrained from', colour: 'warn', dashed: true },
    { label: 'critical from', colour: 'bad', dashed: true },
  ],
  text: bytesText,
  binary: true,
});
const map = new ResidencyTreemap((key) => void showArtifact(key));

function connect(): void {
  const events = new EventSource('events');
  events.addEventListener('open', () => setStatus('Live', false));
  events.addEventListener('error', () => {
    const isClosed = events.readyState === EventSource.CLOSED;
    setStatus(isClosed ? 'No response from the server, retrying …' : 'Reconnecting …', true);
    if (isClosed) setTimeout(connect, 5000);
  });
  events.addEventListener('message', ({ data }: MessageEvent<string>) => {
    const sample = JSON.parse(data) as Sample & { bounds?: readonly number[] }; // sent by the dashboard of the same package
    bounds = sample.bounds ?? bounds;
    add(sample);
  });
}

function setStatus(text: string, isLost: boolean): void {
  setText('status', text);
  byId('status').classList.toggle('lost', isLost);
}

function add(sample: Sample): void {
  // The counters of a restarted server start at 0.
  const isRestarted = latest !== undefined && sample.handler.hits < latest.handler.hits;
  if (isRestarted) history.length = 0;
  if (latest !== undefined && !isRestarted) {
    history.push({ sample, rates: ratesBetween(latest, sample, bounds) });
    if (history.length > HISTORY_SECONDS) history.shift();
  }
  latest = sample;
  if (!document.hidden) show(sample);
}

function show(sample: Sample): void {
  const from = history.at(-TILE_SECONDS - 1)?.sample ?? history[0]?.sample;
  if (from !== undefined && from !== sample) showTiles(sample, ratesBetween(from, sample, bounds));
  showCharts();
  showPanels(sample);
}

function showTiles({ handler }: Sample, rates: Rates): void {
  setText('throughput', `${bytesText(rates.allBytes)}/s`);
  const sources = SOURCES.filter((source) => rates.bytes[source] > rates.allBytes / 1000);
  const parts = sources.map((source) => `${source} ${shareText(rates.bytes[source] / rates.allBytes)}`);
  setText('throughput-sources', parts.join(', ') || 'idle');
  setText('responses', `${rateText(rates.responses)}/s`);
  setText('active', countText(handler.active));
  setText('hit-rate', rates.hitRate === undefined ? '–' : shareText(rates.hitRate));
  setText('lookups', `of ${rateText(rates.lookups)} lookups/s`);
  setText('first-byte', rates.firstByte === undefined ? '–' : secondsText(rates.firstByte.median));
  setText('first-byte-slow', rates.firstByte === undefined ? '' : `99% within ${secondsText(rates.firstByte.slow)}`);
  setText('pressure', handler.pressure);
  byId('pressure').className = handler.pressure;
  const { usedBytes, limitBytes, sensor } = handler.memory;
  const isKnown = usedBytes !== undefined && limitBytes !== undefined && limitBytes > 0;
  setText('memory', isKnown ? `${bytesText(usedBytes)} of ${bytesText(limitBytes)} (${sensor})` : 'not measured');
}

function showCharts(): void {
  const times = history.map(({ sample }) => sample.time / 1000);
  const column = <T>(read: (point: Point) => T) => history.map(read);
  throughput.update(
    times,
    SOURCES.map((source) => column(({ rates }) => rates.bytes[source])),
  );
  firstByte.update(times, [
    column(({ rates }) => rates.firstByte?.median ?? null),
    column(({ rates }) => rates.firstByte?.slow ?? null),
  ]);
  hits.update(times, [column(({ rates }) => rates.hitRate ?? null)]);
  memory.update(
    times,
    (['usedBytes', 'softBytes', 'hardBytes'] as const).map((name) =>
      column(({ sample }) => sample.handler.memory[name] ?? null),
    ),
  );
}

function showPanels({ handler, server, store, processes }: Sample): void {
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
  setPairs('store', storePairs(store ?? {}));
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

function storePairs(store: NonNullable<Sample['store']>): [string, string][] {
  const { artifacts, bytes, maxBytes, evicted, remote, queued, requests, flights } = store;
  const pairs: [string, string | undefined][] = [
    ['Artifacts', countOrUndefined(artifacts ?? total?.artifacts)],
    ['Size', bytesOrUndefined(bytes ?? total?.bytes)],
    ['Limit', bytesOrUndefined(maxBytes)],
    ['Evicted', countOrUndefined(evicted)],
    ['Circuit breaker', remote],
    ['Downloads in flight', countOrUndefined(flights)],
    ['Queued uploads', countOrUndefined(queued)],
    ['Failed requests', countOrUndefined(requests && failuresIn(requests))],
  ];
  const known = pairs.filter((pair): pair is [string, string] => pair[1] !== undefined);
  return known.length > 0 ? known : [['not available', '']];
}

function countOrUndefined(count: number | undefined): string | undefined {
  return count === undefined ? undefined : countText(count);
}

function bytesOrUndefined(bytes: number | undefined): string | undefined {
  return bytes === undefined ? undefined : bytesText(bytes);
}

function failuresIn(requests: NonNullable<NonNullable<Sample['store']>['requests']>): number {
  return requests.filter(({ outcome }) => outcome === 'failed').reduce((sum, { count }) => sum + count, 0);
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

async function refreshMap(): Promise<void> {
  try {
    if (document.hidden) return;
    const response = await fetch('residency.json');
    if (response.status === 404) map.showMessage('This store cannot be listed.');
    else if (response.ok) {
      const residency = (await response.json()) as ResidencyMap; // sent by the dashboard of the same package
      total = residency.total;
      map.update(residency);
    }
  } catch {
    // The error handler of the event stream shows that the server does not respond.
  } finally {
    setTimeout(() => void refreshMap(), MAP_INTERVAL_MS);
  }
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && latest !== undefined) show(latest);
});
connect();
void refreshMap();
