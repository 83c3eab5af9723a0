import { printable } from '../../util/printable.js';
import type { ArtifactPages } from '../residency.js';
import { byId, element, setText, table } from './dom.js';
import { bytesText, countText, secondsText, shareText } from './format.js';

/** Largest side of the square of a page, in CSS pixels. */
const MAX_SQUARE = 14;
/** Largest height of the drawing, in CSS pixels. */
const MAX_HEIGHT = 320;

/** Opens the dialog for an artifact: its resident pages and its last responses. */
export async function showArtifact(key: string): Promise<void> {
  const dialog = byId<HTMLDialogElement>('artifact');
  setText('artifact-key', printable(key));
  setText('artifact-summary', 'Loading …');
  byId<HTMLCanvasElement>('artifact-pages').height = 0;
  byId('artifact-responses').replaceChildren();
  if (!dialog.open) dialog.showModal();
  const response = await fetch(`artifact.json?key=${encodeURIComponent(key)}`).catch(() => undefined);
  if (!response?.ok) {
    setText('artifact-summary', 'The artifact cannot be loaded. It may have been evicted.');
    return;
  }
  draw((await response.json()) as ArtifactPages); // sent by the dashboard of the same package
}

function draw({ size, pageBytes, runs, responses }: ArtifactPages): void {
  if (runs === null) setText('artifact-summary', `${bytesText(size)}; unknown how much is in the page cache`);
  else drawPages(size, pageBytes, runs);
  const rows = responses.map((each) => [
    new Date(each.time).toLocaleTimeString(),
    `${each.method} ${each.status}${each.complete ? '' : ', incomplete'}`,
    bytesText(each.bytes),
    each.source ?? '–',
    each.firstByteMilliseconds === null ? '–' : secondsText(each.firstByteMilliseconds / 1000),
    secondsText(each.milliseconds / 1000),
  ]);
  const list = byId('artifact-responses');
  list.tabIndex = 0;
  list.replaceChildren(
    rows.length === 0
      ? element('p', 'None since this dashboard was first opened.')
      : table('Last responses', ['Time', 'Response', 'Bytes', 'Source', 'First byte', 'Last byte'], rows),
  );
}

function drawPages(size: number, pageBytes: number, runs: readonly (readonly [0 | 1, number])[]): void {
  const total = runs.reduce((sum, [, pages]) => sum + pages, 0);
  const resident = runs.reduce((sum, [isResident, pages]) => sum + isResident * pages, 0);
  const text = `${bytesText(size)}: ${countText(resident)} of ${countText(total)} pages of ${bytesText(pageBytes)} are in the page cache (${shareText(total === 0 ? 1 : resident / total)})`;
  setText('artifact-summary', text);
  const canvas = byId<HTMLCanvasElement>('artifact-pages');
  canvas.setAttribute('aria-label', text);
  const context = canvas.getContext('2d');
  if (context === null || total === 0) return;
  const width = byId('artifact-summary').clientWidth;
  const square = Math.max(1, Math.min(MAX_SQUARE, Math.floor(Math.sqrt((width * MAX_HEIGHT) / total))));
  const columns = Math.max(1, Math.floor(width / square));
  // If the pages do not fit into MAX_HEIGHT, each square represents several pages.
  const rows = Math.min(Math.ceil(total / columns), MAX_HEIGHT / square);
  const pagesPerSquare = Math.max(1, total / (rows * columns));
  const gap = square > 4 ? 1 : 0;
  const scale = devicePixelRatio;
  canvas.width = columns * square * scale;
  canvas.height = Math.ceil(rows) * square * scale;
  canvas.style.width = `${columns * square}px`;
  canvas.style.height = `${Math.ceil(rows) * square}px`;
  context.scale(scale, scale);
  const style = getComputedStyle(document.documentElement);
  const [cold, hot] = [style.getPropertyValue('--cold'), style.getPropertyValue('--hot')];
  let page = 0;
  for (const [isResident, pages] of runs) {
    context.fillStyle = isResident ? hot : cold;
    const end = Math.ceil((page + pages) / pagesPerSquare);
    for (let index = Math.floor(page / pagesPerSquare); index < end; index++) {
      context.fillRect((index % columns) * square, Math.floor(index / columns) * square, square - gap, square - gap);
    }
    page += pages;
  }
}
