import { printable } from '../../util/printable.js';
import type { Cell, ResidencyMap } from '../residency.js';
import { byId, element, setText, table } from './dom.js';
import { bytesText, countText, shareText } from './format.js';
import { type Rectangle, squarify } from './treemap.js';

/** Smallest cell that shows the name of its artifact, in pixels. */
const NAMED_WIDTH = 100;
const NAMED_HEIGHT = 24;
/** Smallest area of a cell as a part of the total, so that small artifacts are visible. */
const MIN_SHARE = 1 / 20_000;
const ROWS_IN_TABLE = 200;
/** Number of horizontal bands of about the same size. The first contains the most downloaded artifacts. */
const BANDS = 3;

/** Treemap of the artifacts of a store. The area of a cell shows the size, its fill the resident part. */
export class ResidencyTreemap {
  readonly #root = byId('map');
  readonly #open: (key: string) => void;
  #map: ResidencyMap | undefined;
  #places: Rectangle[] = [];
  #buttons = new Map<string, HTMLButtonElement>();
  #focused = 0;

  /** @param open called with the key of an artifact when the user selects it */
  constructor(open: (key: string) => void) {
    this.#open = open;
    this.#root.addEventListener('keydown', (event) => this.#move(event));
    new ResizeObserver(() => this.#draw()).observe(this.#root);
    byId<HTMLDetailsElement>('map-table').addEventListener('toggle', () => this.#fillTable());
  }

  /** Shows a message instead of the map. */
  showMessage(message: string): void {
    this.#map = undefined;
    this.#buttons.clear();
    setText('map-summary', '');
    this.#root.replaceChildren(element('p', message));
  }

  update(map: ResidencyMap): void {
    this.#map = map;
    const { total, cells, rest } = map;
    const known = cells.filter(({ resident }) => resident !== null);
    const knownBytes = known.reduce((sum, { size }) => sum + size, 0);
    const share = knownBytes > 0 ? `${shareText(total.resident / knownBytes)} of ` : '';
    const shown = rest.artifacts > 0 ? `, ${countText(cells.length)} of them shown` : '';
    setText('map-summary', `${share}${bytesText(total.bytes)} in ${countText(total.artifacts)} artifacts${shown}`);
    if (cells.length === 0) this.#showEmpty();
    else this.#draw();
  }

  #showEmpty(): void {
    this.#buttons.clear();
    if (this.#root.querySelector('code') !== null) return;
    // The page is at /_hotblob/, below the path at which a proxy mounts the server.
    const url = new URL('../KEY', location.href.replace(/[?#].*/, '')).href;
    const text = element('p', 'The store is empty. A build tool with write access fills it, or this command:');
    text.append(element('br'), element('code', `curl --upload-file FILE ${url}`));
    this.#root.replaceChildren(text);
    this.#root.classList.add('empty');
  }

  #draw(): void {
    if (this.#map === undefined || this.#map.cells.length === 0) return;
    this.#root.classList.remove('empty');
    const bytes = this.#map.cells.reduce((sum, { size }) => sum + size, 0);
    const { clientWidth: width, clientHeight: height } = this.#root;
    const weightOf = ({ size }: Cell): number => Math.max(size, bytes * MIN_SHARE, 1);
    const bands = splitIntoBands(this.#map.cells, weightOf);
    const cells = bands.flat();
    this.#places = layOutBands(
      bands.map((band) => band.map(weightOf)),
      width,
      height,
    );
    const before = this.#buttons;
    this.#buttons = new Map();
    this.#focused = Math.min(this.#focused, cells.length - 1);
    const buttons = cells.map((cell, index) => {
      const button = before.get(cell.key) ?? this.#createButton(cell.key);
      this.#buttons.set(cell.key, button);
      this.#updateButton(button, cell, this.#places[index] ?? { x: 0, y: 0, width: 0, height: 0 });
      button.tabIndex = index === this.#focused ? 0 : -1;
      return button;
    });
    const isSame =
      buttons.length === this.#root.children.length && buttons.every((b, i) => this.#root.children[i] === b);
    // An element that is inserted again loses the focus.
    const active = document.activeElement;
    if (!isSame) this.#root.replaceChildren(...buttons);
    if (active instanceof HTMLElement && this.#root.contains(active)) active.focus();
  }

  #createButton(key: string): HTMLButtonElement {
    const button = element('button');
    button.type = 'button';
    button.append(element('span', '', 'fill'), nameOf(printable(key)));
    button.addEventListener('click', () => this.#open(key));
    button.addEventListener('focus', () => this.#focus([...this.#buttons.keys()].indexOf(key)));
    return button;
  }

  #updateButton(button: HTMLButtonElement, cell: Cell, place: Rectangle): void {
    const { style } = button;
    style.left = `${place.x}px`;
    style.top = `${place.y}px`;
    style.width = `${place.width}px`;
    style.height = `${place.height}px`;
    const share = cell.resident === null ? undefined : cell.size === 0 ? 1 : cell.resident / cell.size;
    button.classList.toggle('unknown', share === undefined);
    const [fill, name] = button.children as unknown as HTMLElement[]; // see #createButton()
    if (fill !== undefined) fill.style.height = `${(share ?? 0) * 100}%`;
    if (name !== undefined) name.hidden = place.width < NAMED_WIDTH || place.height < NAMED_HEIGHT;
    const text = describe(cell);
    if (button.title !== text) {
      button.title = text;
      button.setAttribute('aria-label', text);
    }
    button.dataset['resident'] = share === undefined ? '' : share.toFixed(3);
    button.dataset['key'] = cell.key;
  }

  #focus(index: number): void {
    if (index < 0) return;
    const buttons = [...this.#buttons.values()];
    const before = buttons[this.#focused];
    if (before !== undefined) before.tabIndex = -1;
    this.#focused = index;
    const now = buttons[index];
    if (now !== undefined) now.tabIndex = 0;
  }

  /** Moves the focus to the nearest cell in the direction of an arrow key; Home and End move to the first and the last cell. */
  #move(event: KeyboardEvent): void {
    const last = this.#places.length - 1;
    const target =
      event.key === 'Home' ? 0 : event.key === 'End' ? last : nearest(this.#places, this.#focused, event.key);
    if (target === undefined) return;
    event.preventDefault();
    this.#focus(target);
    [...this.#buttons.values()][target]?.focus();
  }

  #fillTable(): void {
    const details = byId<HTMLDetailsElement>('map-table');
    const scroll = details.querySelector('.scroll');
    if (!(scroll instanceof HTMLElement)) return;
    scroll.tabIndex = details.open ? 0 : -1;
    const cells = details.open ? (this.#map?.cells ?? []).slice(0, ROWS_IN_TABLE) : [];
    const rows = cells.map((cell) => [
      printable(cell.key),
      bytesText(cell.size),
      cell.resident === null ? 'unknown' : shareText(cell.size === 0 ? 1 : cell.resident / cell.size),
      countText(cell.downloads),
    ]);
    const headers = ['Artifact', 'Size', 'In the page cache', 'Downloads'];
    scroll.replaceChildren(table('Artifacts by number of downloads', headers, rows));
  }
}

/** Number of characters at the end of a key that are always shown. */
const END_LENGTH = 10;

/** Creates the name of a cell. If the key is too long, its middle is omitted: keys differ mostly at their end. */
function nameOf(key: string): HTMLElement {
  const name = element('span', '', 'name');
  const characters = [...key];
  const middle = Math.max(0, characters.length - END_LENGTH);
  name.append(
    element('span', characters.slice(0, middle).join('')),
    element('span', characters.slice(middle).join('')),
  );
  return name;
}

/**
 * Splits the cells, which are ordered by downloads, into bands of about the same weight. Cells within a band are sorted by size,
 * because `squarify` requires descending weights.
 */
function splitIntoBands(cells: readonly Cell[], weightOf: (cell: Cell) => number): Cell[][] {
  const total = cells.reduce((sum, cell) => sum + weightOf(cell), 0);
  const bands = Array.from({ length: BANDS }, (): Cell[] => []);
  let before = 0;
  for (const cell of cells) {
    const band = Math.min(BANDS - 1, Math.floor((before / total) * BANDS));
    bands[band]?.push(cell);
    before += weightOf(cell);
  }
  return bands.filter((band) => band.length > 0).map((band) => band.toSorted((a, b) => b.size - a.size));
}

/** Lays out the bands from top to bottom. The height of a band is proportional to its weight. */
function layOutBands(bands: readonly (readonly number[])[], width: number, height: number): Rectangle[] {
  const weights = bands.map((band) => band.reduce((sum, weight) => sum + weight, 0));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let y = 0;
  return bands.flatMap((band, index) => {
    const space = { x: 0, y, width, height: (height * (weights[index] ?? 0)) / total };
    y += space.height;
    return squarify(band, space);
  });
}

function describe({ key, size, resident, downloads }: Cell): string {
  const share =
    resident === null
      ? 'unknown how much is in the page cache'
      : `${shareText(size === 0 ? 1 : resident / size)} in the page cache`;
  return `${printable(key)}: ${bytesText(size)}, ${share}, ${countText(downloads)} ${downloads === 1 ? 'download' : 'downloads'}`;
}

/** Returns the index of the nearest cell in the direction of an arrow key. */
function nearest(places: readonly Rectangle[], from: number, arrow: string): number | undefined {
  const direction = DIRECTIONS[arrow];
  const start = places[from];
  if (direction === undefined || start === undefined) return undefined;
  const centre = ({ x, y, width, height }: Rectangle) => ({ x: x + width / 2, y: y + height / 2 });
  const own = centre(start);
  let best: number | undefined;
  let minDistance = Number.POSITIVE_INFINITY;
  for (const [index, place] of places.entries()) {
    const other = centre(place);
    const ahead = (other.x - own.x) * direction.x + (other.y - own.y) * direction.y;
    const aside = Math.abs((other.x - own.x) * direction.y) + Math.abs((other.y - own.y) * direction.x);
    if (index === from || ahead <= 0.5) continue;
    // Prefers cells straight ahead to cells off to the side.
    const distance = ahead + 3 * aside;
    if (distance < minDistance) {
      minDistance = distance;
      best = index;
    }
  }
  return best;
}

const DIRECTIONS: Readonly<Record<string, { readonly x: number; readonly y: number }>> = {
  ArrowLeft: { x: -1, y: 0 },
  ArrowRight: { x: 1, y: 0 },
  ArrowUp: { x: 0, y: -1 },
  ArrowDown: { x: 0, y: 1 },
};
