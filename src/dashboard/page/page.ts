import './page.css';
import type { ResidencyMap } from '../residency.js';
import { showArtifact } from './artifact.js';
import { Chart } from './chart.js';
import { byId, element, setPairs, setText } from './dom.js';
import { bytesText, countText, rateText, secondsText, shareText } from './format.js';
import { MapOfArtifacts } from './residency-map.js';
import { type Rates, ratesBetween, type Sample, SOURCES } from './sample.js';

const HISTORY_SECONDS = 300;
/** What the tiles say is the mean of so many seconds: single ones jump. */
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
const map = new MapOfArtifacts((key) => void showArtifact(key));

function connect(): void {
  const events = new EventSource('events');
  events.addEventListener('open', () => say('Live', false));
  events.addEventListener('error', () => {
    say(
      events.readyState === EventSource.CLOSED ? 'The server does not answer; trying again …' : 'Reconnecting …',
      true,
    );
    if (events.readyState === EventSource.CLOSED) setTimeout(connect, 5000);
  });
  events.addEventListener('message', ({ data }: MessageEvent<string>) => {
    const sample = JSON.parse(data) as Sample & { bounds?: readonly number[] }; // as the server makes it
    bounds = sample.bounds ?? bounds;
    add(sample);
  });
}

function say(text: string, isLost: boolean): void {
  setText('status', text);
  byId('status').classList.toggle('lost', isLost);
}

function add(sample: Sample): void {
  // A server that has begun anew counts from nothing.
  const isAnew = latest !== undefined && sample.handler.hits < latest.handler.hits;
  if (isAnew) history.length = 0;
  if (latest !== undefined && !isAnew) {
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
  showUse(sample);
}

function showTiles({ handler }: Sample, rates: Rates): void {
  setText('throughput', `${bytesText(rates.allBytes)}/s`);
  const sources = SOURCES.filter((source) => rates.bytes[source] > rates.allBytes / 1000);
  const parts = sources.map((source) => `${source} ${shareText(rates.bytes[source] / rates.allBytes)}`);
  setText('throughput-sources', parts.join(', ') || 'nothing is sent');
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

function showUse({ handler, server, store }: Sample): void {
  byId('bounds').replaceChildren(
    bound('Buffers', handler.pooledBytes, handler.maxPooledBytes, bytesText),
    bound('Mapped', handler.mappedBytes, handler.maxMappedBytes, bytesText),
    bound('Open files', handler.openFiles, handler.maxOpenFiles, countText),
    element('p', handler.waitingForBuffers > 0 ? `${countText(handler.waitingForBuffers)} wait for a buffer` : ''),
  );
  setPairs(
    'connections',
    server === undefined
      ? [['not measured', '']]
      : [
          ['HTTP/1.1', countText(server.connections.http1)],
          ['HTTP/2', countText(server.connections.http2)],
          ['Streams', countText(server.openStreams)],
          ['Resets so far', countText(server.resets)],
          ['Asked to go so far', countText(server.retired.http1 + server.retired.http2)],
          ['Cut off so far', countText(Object.values(server.cutOff).reduce((sum, count) => sum + count, 0))],
        ],
  );
  setPairs('store', storePairs(store ?? {}));
  const reasons = Object.entries(handler.unmapped).toSorted(([, a], [, b]) => b - a);
  setPairs('unmapped', reasons.length > 0 ? reasons.map(([why, count]) => [why, countText(count)]) : [['–', '']]);
}

function storePairs(store: NonNullable<Sample['store']>): [string, string][] {
  const { artifacts, bytes, maxBytes, evicted, remote, queued, requests, flights } = store;
  const pairs: [string, string | undefined][] = [
    ['Artifacts', countOrNot(artifacts ?? total?.artifacts)],
    ['Bytes', bytesOrNot(bytes ?? total?.bytes)],
    ['Limit', bytesOrNot(maxBytes)],
    ['Evicted so far', countOrNot(evicted)],
    ['Cache behind it', remote === undefined ? undefined : REMOTE_STATES[remote]],
    ['Coming in', countOrNot(flights)],
    ['Waiting to go out', countOrNot(queued)],
    ['Failed requests to it', countOrNot(requests && failuresIn(requests))],
  ];
  const known = pairs.filter((pair): pair is [string, string] => pair[1] !== undefined);
  return known.length > 0 ? known : [['not measured', '']];
}

function countOrNot(count: number | undefined): string | undefined {
  return count === undefined ? undefined : countText(count);
}

function bytesOrNot(bytes: number | undefined): string | undefined {
  return bytes === undefined ? undefined : bytesText(bytes);
}

const REMOTE_STATES = { closed: 'is asked', open: 'left alone', 'half-open': 'is tried' } as const;

function failuresIn(requests: NonNullable<NonNullable<Sample['store']>['requests']>): number {
  return requests.filter(({ outcome }) => outcome === 'failed').reduce((sum, { count }) => sum + count, 0);
}

function bound(name: string, used: number, most: number, text: (value: number) => string): HTMLElement {
  const made = element('div', '', 'bound');
  const label = element('div');
  label.append(element('span', name), element('span', `${text(used)} of ${text(most)}`));
  const meter = element('meter');
  meter.max = most;
  meter.high = most * 0.8;
  meter.value = used;
  meter.setAttribute('aria-label', `${name}: ${text(used)} of ${text(most)}`);
  made.append(label, meter);
  return made;
}

async function refreshMap(): Promise<void> {
  try {
    if (document.hidden) return;
    const response = await fetch('residency.json');
    if (response.status === 404) map.explain('This store cannot be looked at as a whole.');
    else if (response.ok) {
      const found = (await response.json()) as ResidencyMap; // as the server makes it
      total = found.total;
      map.update(found);
    }
  } catch {
    // The events say that the server does not answer.
  } finally {
    setTimeout(() => void refreshMap(), MAP_INTERVAL_MS);
  }
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden && latest !== undefined) show(latest);
});
connect();
void refreshMap();
