import type { ArtifactPages } from '../residency.js';
import { byId, element, setText, table } from './dom.js';
import { bytesText, countText, secondsText, shareText } from './format.js';

/** The largest side of a page in the picture, in pixels. */
const MAX_SQUARE = 14;
const MAX_HEIGHT = 320;

/** Shows one artifact: which of its pages are in the page cache, and its last responses. */
export async function showArtifact(key: string): Promise<void> {
  const dialog = byId<HTMLDialogElement>('artifact');
  setText('artifact-key', key);
  setText('artifact-summary', 'Looking …');
  byId<HTMLCanvasElement>('artifact-pages').height = 0;
  byId('artifact-responses').replaceChildren();
  if (!dialog.open) dialog.showModal();
  const response = await fetch(`artifact.json?key=${encodeURIComponent(key)}`).catch(() => undefined);
  if (!response?.ok) {
    setText('artifact-summary', 'It is not there any more.');
    return;
  }
  draw((await response.json()) as ArtifactPages); // as the server makes it
}

function draw({ size, pageBytes, runs, responses }: ArtifactPages): void {
  if (runs === null) setText('artifact-summary', `${bytesText(size)}; nobody can tell how much is in the page cache.`);
  else drawPages(size, pageBytes, runs);
  const rows = responses.map((each) => [
    new Date(each.time).toLocaleTimeString(),
    `${each.method} ${each.status}${each.complete ? '' : ', cut off'}`,
    bytesText(each.bytes),
    each.source ?? '–',
    each.firstByteMilliseconds === null ? '–' : secondsText(each.firstByteMilliseconds / 1000),
    secondsText(each.milliseconds / 1000),
  ]);
  const list = byId('artifact-responses');
  list.tabIndex = 0;
  list.replaceChildren(
    rows.length === 0
      ? element('p', 'None since somebody first looked at this page.')
      : table('Last responses', ['Time', 'Response', 'Bytes', 'Source', 'First byte', 'All'], rows),
  );
}

function drawPages(size: number, pageBytes: number, runs: readonly (readonly [0 | 1, number])[]): void {
  const all = runs.reduce((sum, [, pages]) => sum + pages, 0);
  const resident = runs.reduce((sum, [isResident, pages]) => sum + isResident * pages, 0);
  const text = `${bytesText(size)}: ${countText(resident)} of ${countText(all)} pages of ${bytesText(pageBytes)} are in the page cache, ${shareText(all === 0 ? 1 : resident / all)}`;
  setText('artifact-summary', text);
  const canvas = byId<HTMLCanvasElement>('artifact-pages');
  canvas.setAttribute('aria-label', text);
  const context = canvas.getContext('2d');
  if (context === null || all === 0) return;
  const width = byId('artifact-summary').clientWidth;
  const square = Math.max(1, Math.min(MAX_SQUARE, Math.floor(Math.sqrt((width * MAX_HEIGHT) / all))));
  const columns = Math.max(1, Math.floor(width / square));
  // A picture has at most so many rows; of a larger artifact each square stands for several pages.
  const rows = Math.min(Math.ceil(all / columns), MAX_HEIGHT / square);
  const perSquare = Math.max(1, all / (rows * columns));
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
    const end = Math.ceil((page + pages) / perSquare);
    for (let index = Math.floor(page / perSquare); index < end; index++) {
      context.fillRect((index % columns) * square, Math.floor(index / columns) * square, square - gap, square - gap);
    }
    page += pages;
  }
}
