import { printable } from '../../util/printable.js';
import type { ArtifactDetails } from '../residency.js';
import { byId, element, setPairs, setText, table } from './dom.js';
import { bytesText, countText, momentText, secondsText, shareText } from './format.js';

/** Largest side of the square of a page, in CSS pixels. */
const MAX_SQUARE = 14;
/** Largest height of the drawing, in CSS pixels. */
const MAX_HEIGHT = 240;

/** Details, and whether this client may remove the artifact. */
type Details = ArtifactDetails & { readonly isRemovable: boolean };

/**
 * Opens the dialog for an artifact: facts about it, its resident pages and its last responses.
 *
 * @param onRemoved called when the user has removed an artifact
 */
export async function showArtifact(key: string, onRemoved: () => void): Promise<void> {
  const dialog = byId<HTMLDialogElement>('artifact');
  setText('artifact-key', printable(key));
  setText('artifact-summary', 'Loading …');
  setText('artifact-removed', '');
  setPairs('artifact-facts', []);
  byId<HTMLCanvasElement>('artifact-pages').height = 0;
  byId('artifact-responses').replaceChildren();
  byId('artifact-removal').hidden = true;
  if (!dialog.open) dialog.showModal();
  const response = await fetch(`artifact.json?key=${encodeURIComponent(key)}`).catch(() => undefined);
  if (!response?.ok) {
    setText('artifact-summary', 'The artifact cannot be loaded. It may have been evicted.');
    return;
  }
  const details = (await response.json()) as Details; // sent by the dashboard of the same package
  showFacts(details);
  showPages(details);
  showResponses(details);
  showRemoval(details, onRemoved);
}

function showFacts({ scope, protocol, namespace, writer, storedAt, usedAt }: Details): void {
  setPairs('artifact-facts', [
    ['Scope', printable(scope)],
    ['Protocol', printable(namespace === null ? protocol : `${protocol}, namespace ${namespace}`)],
    ['Written by', writer === null ? 'unknown' : printable(writer)],
    ['Stored', storedAt === null ? 'unknown' : momentText(storedAt)],
    ['Last used', usedAt === null || usedAt === storedAt ? 'unknown' : momentText(usedAt)],
  ]);
}

function showPages({ size, pageBytes, runs }: Details): void {
  if (runs === null) setText('artifact-summary', `${bytesText(size)}; unknown how much is in the page cache`);
  else drawPages(size, pageBytes, runs);
}

function showResponses({ responses }: Details): void {
  const rows = responses.map((each) => [
    momentText(each.time),
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

function showRemoval({ key, isRemovable }: Details, onRemoved: () => void): void {
  byId('artifact-removal').hidden = !isRemovable;
  const button = byId<HTMLButtonElement>('artifact-remove');
  button.disabled = false;
  button.textContent = 'Remove this artifact';
  let isConfirmed = false;
  button.onclick = async () => {
    if (!isConfirmed) {
      isConfirmed = true;
      button.textContent = 'Remove it for all clients?';
      return;
    }
    button.disabled = true;
    const response = await fetch(`remove?key=${encodeURIComponent(key)}`, { method: 'POST' }).catch(() => undefined);
    const isGone = response?.ok || response?.status === 404;
    setText('artifact-removed', isGone ? 'Removed.' : `Not removed: ${response?.statusText || 'no response'}.`);
    button.disabled = isGone ?? false;
    if (isGone) onRemoved();
  };
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
  const [cold, cached] = [style.getPropertyValue('--cold'), style.getPropertyValue('--cached')];
  let page = 0;
  for (const [isResident, pages] of runs) {
    context.fillStyle = isResident ? cached : cold;
    const end = Math.ceil((page + pages) / pagesPerSquare);
    for (let index = Math.floor(page / pagesPerSquare); index < end; index++) {
      context.fillRect((index % columns) * square, Math.floor(index / columns) * square, square - gap, square - gap);
    }
    page += pages;
  }
}
