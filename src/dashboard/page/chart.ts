import uPlot from 'uplot';
import { byId, element, table } from './dom.js';

const HEIGHT = 170;
const ROWS_IN_TABLE = 60;
const POWERS_OF_TWO = Array.from({ length: 50 }, (_, power) => 2 ** power);

/** A line, or a layer, of a chart. */
export interface Line {
  readonly label: string;
  /** The custom property of the stylesheet that has its colour. */
  readonly colour: string;
  readonly dashed?: boolean;
}

/** How a chart is drawn. */
export interface ChartOptions {
  readonly lines: readonly Line[];
  readonly text: (value: number) => string;
  /** Layers upon each other, with their sum at the top. */
  readonly stacked?: boolean;
  /** What the axis reaches up to at least. */
  readonly top?: number;
  /** Whether the steps of the axis are powers of two. */
  readonly binary?: boolean;
  /** Makes the axis one of powers of ten, from here on. */
  readonly logFrom?: number;
}

/** Values of a line, the oldest first; null where there is none. */
export type Column = readonly (number | null)[];

/** A chart over time in a figure of the page, with its values as a table for those who cannot see it. */
export class Chart {
  readonly #figure: HTMLElement;
  readonly #options: ChartOptions;
  readonly #details = element('details');
  readonly #canvas = element('div');
  #plot: uPlot | undefined;
  #times: readonly number[] = [];
  #columns: readonly Column[] = [];

  constructor(id: string, options: ChartOptions) {
    this.#figure = byId(id);
    this.#options = options;
    const caption = this.#figure.querySelector('figcaption')?.textContent ?? '';
    this.#canvas.setAttribute('role', 'img');
    this.#canvas.setAttribute('aria-label', `${caption}, as a chart. The figures are below.`);
    this.#details.append(element('summary', 'As a table'));
    this.#details.addEventListener('toggle', () => this.#fillTable(caption));
    this.#figure.append(this.#canvas, this.#details);
    new ResizeObserver(() => this.#resize()).observe(this.#figure);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#draw());
    this.#draw();
  }

  /** @param times in seconds since 1970 */
  update(times: readonly number[], columns: readonly Column[]): void {
    this.#times = times;
    this.#columns = columns;
    this.#plot?.setData(this.#data());
  }

  #data(): uPlot.AlignedData {
    // uPlot's type wants arrays that may be written to, and writes to none.
    if (!this.#options.stacked) return [this.#times, ...this.#columns] as unknown as uPlot.AlignedData;
    const sums = this.#times.map(() => 0);
    const layers = this.#columns.map((column) =>
      column.map((value, index) => {
        sums[index] = (sums[index] ?? 0) + (value ?? 0);
        return sums[index] ?? 0;
      }),
    );
    return [this.#times, ...layers] as unknown as uPlot.AlignedData;
  }

  /** Anew, because colours are given once. */
  #draw(): void {
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string): string => style.getPropertyValue(`--${name}`).trim();
    const { lines, text, stacked, binary, logFrom, top = 0 } = this.#options;
    const grid = { stroke: colour('line'), width: 1 };
    const axis = { stroke: colour('quiet'), grid, ticks: grid, font: '12px system-ui, sans-serif' };
    this.#plot?.destroy();
    this.#plot = new uPlot(
      {
        width: this.#width(),
        height: HEIGHT,
        cursor: { drag: { x: false, y: false } },
        legend: { markers: { width: 2, stroke: (_plot, index) => colour(lines[index - 1]?.colour ?? 'quiet') } },
        scales: {
          y:
            logFrom === undefined
              ? { range: (_plot, _least, most) => [0, Math.max(top, (most ?? 0) * 1.08) || 1] }
              : { distr: 3, range: (_plot, _least, most) => [logFrom, powerOfTenFrom(Math.max(top, most ?? 0))] },
        },
        axes: [
          axis,
          {
            ...axis,
            ...(binary ? { incrs: POWERS_OF_TWO } : {}),
            ...(logFrom === undefined
              ? {}
              : {
                  // All of them: by itself it would leave some out.
                  filter: (_plot: uPlot, splits: number[]) => splits,
                  splits: (_plot: uPlot, _axis: number, least: number, most: number) => powersOfTen(least, most),
                }),
            size: 78,
            values: (_plot, values) => values.map((value) => text(value)),
          },
        ],
        series: [
          { label: 'Time', value: (_plot, time: number | null) => (time === null ? 'now' : timeText(time)) },
          ...lines.map((line, index) => ({
            label: line.label,
            stroke: colour(line.colour),
            // Layers without anything in them would hide the others by their lines.
            width: stacked ? 0 : 1.5,
            points: { show: false },
            ...(line.dashed ? { dash: [5, 4] } : {}),
            ...(stacked && index === 0 ? { fill: `${colour(line.colour)}99` } : {}),
            value: (_plot: uPlot, _value: number | null, _series: number, at: number | null) =>
              this.#valueAt(index, at),
          })),
        ],
        // A layer is coloured down to the one below it.
        bands: stacked
          ? lines.slice(1).map((line, index) => ({ series: [index + 2, index + 1], fill: `${colour(line.colour)}99` }))
          : [],
      },
      this.#data(),
      this.#canvas,
    );
  }

  /** What the legend says: the value itself, where layers are drawn as sums; the latest, where nobody points at one. */
  #valueAt(line: number, at: number | null): string {
    const column = this.#columns[line];
    const value = at === null ? column?.at(-1) : column?.[at];
    return value === undefined || value === null ? '–' : this.#options.text(value);
  }

  #width(): number {
    const { paddingLeft, paddingRight } = getComputedStyle(this.#figure);
    return Math.max(200, this.#figure.clientWidth - Number.parseFloat(paddingLeft) - Number.parseFloat(paddingRight));
  }

  #resize(): void {
    const width = this.#width();
    if (this.#plot !== undefined && this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
  }

  #fillTable(caption: string): void {
    this.#details.querySelector('.scroll')?.remove();
    if (!this.#details.open) return;
    const { lines, text } = this.#options;
    const first = Math.max(0, this.#times.length - ROWS_IN_TABLE);
    const rows = this.#times.slice(first).map((time, index) => [
      timeText(time),
      ...lines.map((_line, line) => {
        const value = this.#columns[line]?.[first + index];
        return value === undefined || value === null ? '–' : text(value);
      }),
    ]);
    const scroll = element('div', '', 'scroll');
    scroll.tabIndex = 0;
    scroll.append(table(caption, ['Time', ...lines.map(({ label }) => label)], rows.toReversed()));
    this.#details.append(scroll);
  }
}

function powerOfTenFrom(value: number): number {
  return 10 ** Math.ceil(Math.log10(value));
}

function powersOfTen(least: number, most: number): number[] {
  const powers: number[] = [];
  for (let power = Math.round(Math.log10(least)); power <= Math.round(Math.log10(most)); power++)
    powers.push(10 ** power);
  return powers;
}

function timeText(seconds: number): string {
  return new Date(seconds * 1000).toLocaleTimeString();
}
