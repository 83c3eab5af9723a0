import './page.css';
import { printable } from '../../util/printable.js';
import { formatDuration } from '../../util/units.js';
import type { ResidencyMap } from '../residency.js';
import type { Sample } from '../statistics.js';
import { showArtifact } from './artifact.js';
import { showCharts } from './charts.js';
import { byId, element, setText, table } from './dom.js';
import { bytesText, countText, momentText, rateText, secondsText, shareText } from './format.js';
import { showPanels } from './panels.js';
import {
  errorsIn,
  firstByteIn,
  hitRateIn,
  type Interval,
  intervalOf,
  responsesIn,
  SOURCES,
  type Split,
  sentIn,
  topTraffic,
} from './rates.js';
import { ResidencyTreemap } from './residency-treemap.js';
import { pointOf, Timeline } from './timeline.js';

/** Tiles show the average of this time, because the values of single seconds fluctuate. */
const TILE_MS = 5000;
const MAP_INTERVAL_MS = 5000;

/** Message of the event stream. Only the first one has `bounds` and `about`. */
interface Message extends Sample {
  readonly bounds?: readonly number[];
  readonly about?: Readonly<Record<string, string>>;
}

const timeline = new Timeline(600);
let bounds: readonly number[] = [];
let about: Readonly<Record<string, string>> = {};
let latest: Sample | undefined;
let total: ResidencyMap['total'] | undefined;
const map = new ResidencyTreemap((key) => void showArtifact(key, () => void loadMap()));

function connect(): void {
  const events = new EventSource('events');
  events.addEventListener('open', () => void timeline.load(timeline.seconds).then(show));
  events.addEventListener('error', () => {
    const isClosed = events.readyState === EventSource.CLOSED;
    const since = latest === undefined ? '' : ` since ${momentText(latest.time)}: the values are from then`;
    setStatus(`No response from the server${since}. ${isClosed ? 'Retrying …' : 'Reconnecting …'}`, true);
    if (isClosed) setTimeout(connect, 5000);
  });
  events.addEventListener('message', ({ data }: MessageEvent<string>) => {
    const message = JSON.parse(data) as Message; // sent by the dashboard of the same package
    bounds = message.bounds ?? bounds;
    about = message.about ?? about;
    latest = message;
    timeline.add(pointOf(message));
    setStatus(message.note === undefined ? 'Live' : `Live, but ${message.note}`, false);
    if (!document.hidden) show();
  });
}

function setStatus(text: string, isLost: boolean): void {
  setText('status', text);
  document.body.classList.toggle('lost', isLost);
}

function show(): void {
  if (latest === undefined) return;
  showAbout(latest);
  const { points } = timeline;
  const start = (points.at(-1)?.time ?? 0) - TILE_MS;
  const recent = points.slice(
    Math.max(
      0,
      points.findLastIndex(({ time }) => time <= start),
    ),
  );
  if (recent.length > 1) showTiles(latest, intervalOf(recent));
  const split = byId<HTMLSelectElement>('split').value as Split; // the values of its options
  showCharts(points, bounds, split);
  showTraffic(intervalOf(points), split);
  showPanels(latest, total);
}

function showAbout({ uptimeSeconds }: Sample): void {
  const pairs = [...Object.entries(about), ['up', formatDuration(uptimeSeconds)] as const];
  byId('about').replaceChildren(
    ...pairs.map(([name, value]) => {
      const pair = element('div');
      pair.append(element('dt', printable(name)), element('dd', printable(value)));
      return pair;
    }),
  );
}

function showTiles({ handler }: Sample, interval: Interval): void {
  const bytes = sentIn(interval);
  setText('throughput', `${bytesText(bytes / interval.seconds)}/s`);
  const sources = SOURCES.filter((source) => interval.of(`sent/${source}`) > bytes / 1000);
  const parts = sources.map((source) => `${source} ${shareText(interval.of(`sent/${source}`) / bytes)}`);
  setText('throughput-sources', parts.join(', ') || 'idle');
  setText('uploads', `${bytesText(interval.rate('received'))}/s`);
  setText('responses', `${rateText(responsesIn(interval) / interval.seconds)}/s`);
  setText('active', countText(handler.active));
  const errors = errorsIn(interval);
  setText('errors', `${rateText(errors / interval.seconds)}/s`);
  byId('errors').className = errors > 0 ? 'bad' : '';
  const hitRate = hitRateIn(interval);
  setText('hit-rate', hitRate === undefined ? '–' : shareText(hitRate));
  setText('lookups', `of ${rateText(interval.rate('hits') + interval.rate('misses'))} lookups/s`);
  const firstByte = firstByteIn(interval, bounds);
  setText('first-byte', firstByte === undefined ? '–' : secondsText(firstByte.median));
  setText('first-byte-slow', firstByte === undefined ? '' : `99% within ${secondsText(firstByte.slow)}`);
  setText('pressure', handler.pressure);
  byId('pressure').className = handler.pressure;
  const { usedBytes, limitBytes, sensor } = handler.memory;
  const isKnown = usedBytes !== undefined && limitBytes !== undefined && limitBytes > 0;
  setText('memory', isKnown ? `${bytesText(usedBytes)} of ${bytesText(limitBytes)} (${sensor})` : 'not measured');
}

function showTraffic(interval: Interval, split: Split): void {
  const rows = topTraffic(interval, split).map(({ name, responses, errors, bytes }) => [
    printable(name),
    countText(responses),
    countText(errors),
    bytesText(bytes),
  ]);
  const title = split === 'protocol' ? 'Protocol' : 'Protocol and namespace';
  byId('traffic').replaceChildren(
    rows.length === 0
      ? element('p', split === 'protocol' ? 'None.' : 'None. Requests that name no namespace are counted by protocol.')
      : table('Traffic', [title, 'Responses', 'Errors', 'Bytes sent and received'], rows),
  );
}

async function loadMap(): Promise<void> {
  const response = await fetch('residency.json').catch(() => undefined);
  // Without a response, the error handler of the event stream shows that the server is gone.
  if (response?.status === 404) map.showMessage('This store cannot be listed.');
  if (!response?.ok) return;
  const residency = (await response.json()) as ResidencyMap; // sent by the dashboard of the same package
  total = residency.total;
  map.update(residency);
  placeMap();
}

async function refreshMap(): Promise<void> {
  if (!document.hidden) await loadMap();
  setTimeout(() => void refreshMap(), MAP_INTERVAL_MS);
}

function placeMap(): void {
  const before = byId(narrow.matches || total?.artifacts === 0 ? 'now' : 'processes-section');
  const section = byId('map-section');
  if (before.nextElementSibling !== section) before.after(section);
}

for (const input of document.querySelectorAll<HTMLInputElement>('input[name="window"]')) {
  input.addEventListener('change', () => void timeline.load(Number(input.value)).then(show));
}
byId('split').addEventListener('change', show);
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) show();
});

// On a phone, the map comes second, and so does the command that fills an empty store. The order in the document changes, so that the focus follows what the reader sees.
const narrow = matchMedia('(max-width: 40rem)');
narrow.addEventListener('change', placeMap);
placeMap();

// Tables that are wider than a phone are scrolled with the keyboard, too.
for (const id of ['traffic', 'processes']) byId(id).tabIndex = 0;

connect();
void refreshMap();
